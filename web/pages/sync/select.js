/* A select for one of several names, or all. */

import { element } from "../../dom.js";

/** Add options for new names. */
export function addOptions(select, names) {
  const known = [...select.options].map((option) => option.value);
  select.append(...names.filter((name) => !known.includes(name)).map((name) => element("option", {}, name)));
}

/**
 * `{ element, selected, addOptions }`: `selected()` is a name, or null for the option `all`; `addOptions(names)` adds new
 * names. A change calls `onchange`.
 */
export function labeledSelect(label, all, { names = [], onchange }) {
  const select = element("select", { onchange }, element("option", {}, all));
  addOptions(select, names);
  return {
    addOptions: (more) => addOptions(select, more),
    selected: () => (select.selectedIndex > 0 ? select.value : null),
    element: element("label.choice", {}, element("span", {}, label), select),
  };
}
