/* Forms for API requests: errors of a field appear at the field. */

import { ApiError } from "../api.js";
import { append, element, replaceChildren } from "../dom.js";

let count = 0;

/**
 * A labelled field: `field("Password", { name: "password", type: "password", hint: "At least 8 characters." })`.
 *
 * `name` is the field of the request's JSON. `control` replaces the input, for example by a select; other properties are
 * attributes of the input.
 */
export function field(label, { name, hint, control, ...attributes }) {
  const id = `field-${(count += 1)}`;
  const described = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const input = control ?? element("input", { type: "text", ...attributes });
  for (const [key, value] of Object.entries({ id, name, "aria-describedby": described })) input.setAttribute(key, value);
  return element(
    "div.field",
    { dataset: { field: name } },
    element("label", { for: id }, label),
    hint && element("p.hint", { id: `${id}-hint` }, hint),
    input,
    element("p.error", { id: `${id}-error` }),
  );
}

/** A checkbox, followed by its label. */
export function checkbox(label, { name, ...attributes }) {
  return element("label.checkbox", {}, element("input", { type: "checkbox", name, ...attributes }), label);
}

/**
 * A form: `form([field(…)], { action: "Log in", onsubmit: async (values, signal) => … })`.
 *
 * `values` are strings, and booleans for checkboxes. The form can't be submitted again while `onsubmit` runs. An
 * `ApiError` is shown at the fields that its pointers name, and the first of them gets the focus; errors of other fields
 * are shown above the button. A string that `onsubmit` returns is shown there as success.
 */
export function form(children, { action, onsubmit, signal, quiet = false, ...attributes }) {
  const message = element("p.message", { role: "status" });
  const button = element("button", { type: "submit", class: quiet ? "" : "primary" }, action);
  const created = element("form", { novalidate: true, ...attributes }, children, message, button);
  let isBusy = false;
  created.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    button.setAttribute("aria-disabled", "true");
    clear(created, message);
    try {
      const done = await onsubmit(valuesOf(created), signal);
      if (typeof done === "string") showMessage(message, done, "done");
    } catch (error) {
      if (!signal?.aborted) showErrors(created, message, error);
    } finally {
      isBusy = false;
      button.removeAttribute("aria-disabled");
    }
  });
  return created;
}

/** The values of a form that differ from `before`. */
export const changesOf = (values, before) =>
  Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== before[name]));

function valuesOf(created) {
  const named = [...created.elements].filter((control) => control.name);
  return Object.fromEntries(
    named.map((control) => [control.name, control.type === "checkbox" ? control.checked : control.value]),
  );
}

function clear(created, message) {
  replaceChildren(message);
  message.className = "message";
  for (const each of created.querySelectorAll(".field")) {
    replaceChildren(each.querySelector(".error"));
    each.querySelector("input, select, textarea").removeAttribute("aria-invalid");
  }
}

/** Show the error of a request in a form of `form`. */
function showErrors(created, message, error) {
  if (!(error instanceof ApiError)) console.error(error);
  const others = [];
  let first = null;
  for (const each of error.fields ?? []) {
    const name = (each.pointer ?? `#/${each.parameter}`).slice(2);
    const place = created.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (place === null) {
      others.push(each.detail);
      continue;
    }
    const control = place.querySelector("input, select, textarea");
    control.setAttribute("aria-invalid", "true");
    replaceChildren(place.querySelector(".error"), plain(each));
    first ??= control;
  }
  const isShown = first !== null && others.length === 0;
  if (!isShown) showMessage(message, others.join(" ") || textOf(error), "failed");
  first?.focus();
}

function textOf(error) {
  return error instanceof ApiError ? error.message : "Something went wrong. Please try again.";
}

function showMessage(message, text, kind) {
  message.classList.add(kind);
  append(message, text);
}

/* Messages for users in place of those of the validation library. */
const PLAIN = {
  missing: () => "This field is required.",
  "string-too-short": ({ detail }) => `Too short: at least ${lengthIn(detail)} characters.`,
  "string-too-long": ({ detail }) => `Too long: at most ${lengthIn(detail)} characters.`,
  "string-pattern-mismatch": () => "Only letters, digits and _ are allowed.",
  "value-error": ({ pointer, detail }) => (pointer?.includes("email") ? "This is not an email address." : detail),
};

function plain(error) {
  return PLAIN[error.code]?.(error) ?? error.detail;
}

function lengthIn(detail) {
  return /\d+/.exec(detail)?.[0] ?? "";
}
