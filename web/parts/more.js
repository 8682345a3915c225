import { element, fill, focusOn } from "../dom.js";

/**
 * A button, hidden at first, for what comes behind the end of a list. `work` resolves to the elements that it has added:
 * the first of them gets the focus if it has hidden the button. If it fails, the button says so.
 */
export function moreButton(words, work) {
  const button = element("button.more", { type: "button", hidden: true, onclick: go }, words);
  async function go() {
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    try {
      const [first] = await work();
      fill(button, words);
      if (button.hidden && first && [button, document.body].includes(document.activeElement)) focusOn(first);
    } catch (error) {
      if (error.name !== "AbortError") fill(button, `${error.message} Try again.`);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
  return button;
}
