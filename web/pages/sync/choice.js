/* A choice of one of some names, all of them at first. */

import { element } from "../../dom.js";

/** Add options for the names that are not there yet. */
export function offer(select, names) {
  const known = [...select.options].map((option) => option.value);
  select.append(...names.filter((name) => !known.includes(name)).map((name) => element("option", {}, name)));
}

/**
 * An element with a label; `chosen()` is the name, or null for `everything`; `offer(names)` adds those that are not
 * there yet; `onchange` is called when somebody has chosen.
 */
export function choice(label, everything, { names = [], onchange }) {
  const select = element("select", { onchange }, element("option", {}, everything));
  offer(select, names);
  return {
    offer: (some) => offer(select, some),
    chosen: () => (select.selectedIndex > 0 ? select.value : null),
    element: element("label.choice", {}, element("span", {}, label), select),
  };
}
