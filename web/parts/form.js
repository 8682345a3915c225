/* Forms that talk to an interface: what it says of a field appears at the field. */

import { ApiError } from "../api.js";
import { append, element, fill } from "../dom.js";

let count = 0;

/**
 * A labelled field: `field("Password", { name: "password", type: "password", hint: "At least 8 characters." })`.
 *
 * `name` is the one in the JSON of the request. `control` replaces the input, as with a select; what else is given are
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

/** A box to tick, with its label behind it. */
export function checkbox(label, { name, ...attributes }) {
  return element("label.checkbox", {}, element("input", { type: "checkbox", name, ...attributes }), label);
}

/**
 * A form that sends what it holds: `form([field(…)], { action: "Log in", onsubmit: async (values, signal) => … })`.
 *
 * `values` are of text, and of true or false for boxes. While `onsubmit` is at work it can't be sent again. What it
 * throws is shown: an `ApiError` at the fields that its pointers name, the first of which gets the focus, and what
 * concerns no field of this form above the button. What it returns, if that is text, is shown there as done.
 */
export function form(children, { action, onsubmit, signal, quiet = false, ...attributes }) {
  const message = element("p.message", { role: "status" });
  const button = element("button", { type: "submit", class: quiet ? "" : "primary" }, action);
  const made = element("form", { novalidate: true, ...attributes }, children, message, button);
  let isBusy = false;
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    button.setAttribute("aria-disabled", "true");
    clear(made, message);
    try {
      const done = await onsubmit(valuesOf(made), signal);
      if (typeof done === "string") say(message, done, "done");
    } catch (error) {
      if (!signal?.aborted) showErrors(made, message, error);
    } finally {
      isBusy = false;
      button.removeAttribute("aria-disabled");
    }
  });
  return made;
}

/** Of the values of a form, those that are not what they were. */
export const changesOf = (values, before) =>
  Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== before[name]));

function valuesOf(made) {
  const named = [...made.elements].filter((control) => control.name);
  return Object.fromEntries(
    named.map((control) => [control.name, control.type === "checkbox" ? control.checked : control.value]),
  );
}

function clear(made, message) {
  fill(message);
  message.className = "message";
  for (const each of made.querySelectorAll(".field")) {
    fill(each.querySelector(".error"));
    each.querySelector("input, select, textarea").removeAttribute("aria-invalid");
  }
}

/** Show an error of a request in a form that `form` has made. */
function showErrors(made, message, error) {
  if (!(error instanceof ApiError)) console.error(error);
  const elsewhere = [];
  let first = null;
  for (const each of error.fields ?? []) {
    const name = (each.pointer ?? `#/${each.parameter}`).slice(2);
    const place = made.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (place === null) {
      elsewhere.push(each.detail);
      continue;
    }
    const control = place.querySelector("input, select, textarea");
    control.setAttribute("aria-invalid", "true");
    fill(place.querySelector(".error"), plain(each));
    first ??= control;
  }
  const isShown = first !== null && elsewhere.length === 0;
  if (!isShown) say(message, elsewhere.join(" ") || textOf(error), "failed");
  first?.focus();
}

function textOf(error) {
  return error instanceof ApiError ? error.message : "Something went wrong. Please try again.";
}

function say(message, text, kind) {
  message.classList.add(kind);
  append(message, text);
}

/* The words of the validation library are for programmers. */
const PLAIN = {
  missing: () => "Please fill this in.",
  "string-too-short": ({ detail }) => `Too short: ${lengthIn(detail)} characters at least.`,
  "string-too-long": ({ detail }) => `Too long: ${lengthIn(detail)} characters at most.`,
  "string-pattern-mismatch": () => "Only letters, digits and _ can be used here.",
  "value-error": ({ pointer, detail }) => (pointer?.includes("email") ? "This is not an email address." : detail),
};

function plain(error) {
  return PLAIN[error.code]?.(error) ?? error.detail;
}

function lengthIn(detail) {
  return /\d+/.exec(detail)?.[0] ?? "";
}
