/* A small builder of elements. Text is always text: nothing here, or anywhere else, parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `element("a.quiet", { href: "/about", onclick }, "About ", strong)`.
 *
 * `kind` is a tag, with classes behind dots. Of the properties `on…` are listeners, `class` adds classes, `dataset`
 * and `aria-…` are what they say, booleans are there or not, null and undefined are left out. Children are nodes,
 * text, numbers, arrays of these; null, undefined and false are nothing.
 */
export function element(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  made.classList.add(...classes);
  for (const [name, value] of Object.entries(properties)) set(made, name, value);
  append(made, children);
  return made;
}

function set(made, name, value) {
  if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) return;
  if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
  else if (name === "class") made.classList.add(...value.split(" ").filter(Boolean));
  else if (name === "dataset") Object.assign(made.dataset, value);
  else if (name === "value") made.value = value;
  else made.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
}

/** Append children as `element` does. */
export function append(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}

/** Put these children in place of what is in there. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  return append(parent, ...children);
}

/** `fill` for a live region: it is read out whenever something is written into it, so not what it says already. */
export function tell(region, ...children) {
  const told = append(document.createDocumentFragment(), ...children);
  if (told.textContent !== region.textContent) region.replaceChildren(told);
}

/** Give the focus to something that no key leads to: in place of a button that is gone. */
export function focusOn(place) {
  place.tabIndex = -1;
  place.focus({ preventScroll: true });
}

/** An element of SVG. */
export function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [each, value] of Object.entries(attributes)) made.setAttribute(each, value);
  return append(made, ...children);
}
