/* Modal dialogs, by the browser's own element: it keeps the focus inside and gives it back. */

import { element } from "../dom.js";

/**
 * Open a dialog with this title. `content` gets a function that closes it; the promise resolves to what that is given,
 * or undefined if it is closed otherwise (Escape, the button, `signal`).
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

/** Ask before something that can't be undone. Resolves to true or false. */
export async function confirmed(title, text, action, options) {
  const answer = await dialog(
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
  return answer === true;
}
