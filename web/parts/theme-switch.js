/* Light, dark, or as the system has it. theme.js applies it before the page is drawn. */

import { element } from "../dom.js";
import { icon } from "./icons.js";

const NEXT = { system: "light", light: "dark", dark: "system" };

export function themeSwitch() {
  const root = document.documentElement;
  const text = element("span", {});
  const button = element("button.quiet.theme", { type: "button", onclick: turn }, icon("theme"), text);
  const show = () => (text.textContent = `Theme: ${root.dataset.theme}`);
  function turn() {
    root.dataset.theme = NEXT[root.dataset.theme];
    localStorage.setItem("tandem.theme", root.dataset.theme);
    show();
  }
  show();
  return button;
}
