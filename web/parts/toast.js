/* Short messages that pass. The region they appear in is a live one: they are read out. */

import { element } from "../dom.js";

const SHOWN_MILLISECONDS = 7000;

export function toast(text) {
  const note = element("p.toast", {}, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), SHOWN_MILLISECONDS);
}
