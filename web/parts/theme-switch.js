/* The switch between light, dark and the system's theme. theme.js applies it before the first paint. */

import { element } from "../dom.js";
import { icon } from "./icons.js";

const NEXT = { system: "light", light: "dark", dark: "system" };

export function themeSwitch() {
  const root = document.documentElement;
  const text = element("span", {});
  const button = element("button.quiet.theme", { type: "button", onclick: switchTheme }, icon("theme"), text);
  const show = () => (text.textContent = `Theme: ${root.dataset.theme}`);
  function switchTheme() {
    root.dataset.theme = NEXT[root.dataset.theme];
    localStorage.setItem("tandem.theme", root.dataset.theme);
    show();
  }
  show();
  return button;
}
