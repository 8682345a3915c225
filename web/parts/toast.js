/* Temporary messages in a live region, which screen readers read out. */

import { element } from "../dom.js";

const SHOWN_MILLISECONDS = 7000;

export function toast(text) {
  const message = element("p.toast", {}, text);
  document.getElementById("toasts").append(message);
  setTimeout(() => message.remove(), SHOWN_MILLISECONDS);
}
