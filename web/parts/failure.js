/* Error pages. */

import { ApiError } from "../api.js";
import { element } from "../dom.js";

/** The page of an error, with a button that calls `retry`. */
export function failure(error, { retry } = {}) {
  if (error.status === 404) return failure.notFound(error.message);
  if (!(error instanceof ApiError)) console.error(error);
  const isApiError = error instanceof ApiError;
  const text = isApiError ? error.message : "This page failed. Reload it; if that does not help, report the error.";
  return element(
    "section.failure",
    { role: "alert" },
    element("h1", {}, isApiError && error.isUnavailable ? "Service unavailable" : "Request failed"),
    element("p", {}, text),
    retry && element("button", { type: "button", onclick: retry }, "Try again"),
  );
}

failure.notFound = (text = "This page does not exist.") =>
  element(
    "section.failure",
    {},
    element("h1", {}, "Not found"),
    element("p", {}, text),
    element("p", {}, element("a", { href: "/" }, "Go to the home page")),
  );

export function forbidden() {
  return element(
    "section.failure",
    {},
    element("h1", {}, "Permission denied"),
    element("p", {}, "Your role has no access to this page. Ask an admin for another role."),
  );
}
