/* What is shown in place of a page that can't be. */

import { ApiError } from "../api.js";
import { element } from "../dom.js";

/** For any error; `retry` is called by a button, if trying again may help. */
export function failure(error, { retry } = {}) {
  if (error.status === 404) return failure.notFound(error.message);
  if (!(error instanceof ApiError)) console.error(error);
  const isOurs = error instanceof ApiError;
  const text = isOurs ? error.message : "Something went wrong on this page. Reload it; if that does not help, it is our fault.";
  return element(
    "section.failure",
    { role: "alert" },
    element("h1", {}, isOurs && error.isUnavailable ? "No answer" : "That did not work"),
    element("p", {}, text),
    retry && element("button", { type: "button", onclick: retry }, "Try again"),
  );
}

failure.notFound = (text = "There is no page at this address.") =>
  element(
    "section.failure",
    {},
    element("h1", {}, "Not found"),
    element("p", {}, text),
    element("p", {}, element("a", { href: "/" }, "To the beginning")),
  );

export function forbidden() {
  return element(
    "section.failure",
    {},
    element("h1", {}, "Not for your role"),
    element("p", {}, "Your account may not see this page. An admin can give you another role."),
  );
}
