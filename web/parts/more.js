import { element, replaceChildren, focusOn } from "../dom.js";

/**
 * A button, initially hidden, that loads the next page of a list. `load` resolves to the added elements: if it has hidden
 * the button, the first of them gets the focus. If `load` fails, the button shows the error.
 */
export function moreButton(label, load) {
  const button = element("button.more", { type: "button", hidden: true, onclick: loadNext }, label);
  async function loadNext() {
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    try {
      const [first] = await load();
      replaceChildren(button, label);
      if (button.hidden && first && [button, document.body].includes(document.activeElement)) focusOn(first);
    } catch (error) {
      if (error.name !== "AbortError") replaceChildren(button, `${error.message} Try again.`);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
  return button;
}
