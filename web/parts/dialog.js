/* Modal dialogs with the browser's `dialog` element, which traps and restores the focus. */

import { element } from "../dom.js";

/**
 * Open a dialog. `content(close)` returns its elements; the promise resolves to the argument of `close`, or to undefined
 * if the dialog is closed otherwise (Escape, the button, `signal`).
 */
export function dialog(title, content, { signal } = {}) {
  return new Promise((resolve) => {
    let result;
    const close = (value) => {
      result = value;
      box.close();
    };
    const box = element(
      "dialog",
      { "aria-label": title },
      element(
        "header",
        {},
        element("h2", {}, title),
        element("button.quiet", { type: "button", "aria-label": "Close", onclick: () => close() }, "✕"),
      ),
      content(close),
    );
    const abandon = () => box.close();
    const end = () => {
      signal?.removeEventListener("abort", abandon);
      box.remove();
      resolve(result);
    };
    box.addEventListener("close", end);
    signal?.addEventListener("abort", abandon);
    document.body.append(box);
    box.showModal();
  });
}

/** Ask for confirmation. Resolves to true or false. */
export async function confirm(title, text, action, options) {
  const isConfirmed = await dialog(
    title,
    (close) => [
      element("p", {}, text),
      element(
        "div.actions",
        {},
        element("button", { type: "button", autofocus: true, onclick: () => close(false) }, "Cancel"),
        element("button.danger", { type: "button", onclick: () => close(true) }, action),
      ),
    ],
    options,
  );
  return isConfirmed === true;
}
