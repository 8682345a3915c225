/* Creates elements. Text is always inserted as text: no module parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Create an element: `element("a.quiet", { href: "/about", onclick }, "About ", strong)`.
 *
 * `kind` is a tag with classes after dots. Properties `on…` are listeners, `class` adds classes, `dataset` and `aria-…`
 * are set as such, booleans set or omit an attribute, null and undefined are ignored. Children are nodes, text, numbers
 * and arrays of these; null, undefined and false are ignored.
 */
export function element(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const created = document.createElement(tag);
  created.classList.add(...classes);
  for (const [name, value] of Object.entries(properties)) set(created, name, value);
  append(created, children);
  return created;
}

function set(target, name, value) {
  if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) return;
  if (name.startsWith("on")) target.addEventListener(name.slice(2), value);
  else if (name === "class") target.classList.add(...value.split(" ").filter(Boolean));
  else if (name === "dataset") Object.assign(target.dataset, value);
  else if (name === "value") target.value = value;
  else target.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
}

/** Append children in the format of `element`. */
export function append(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}

/** Replace all children, in the format of `element`. */
export function replaceChildren(parent, ...children) {
  parent.replaceChildren();
  return append(parent, ...children);
}

/** Replace the children of a live region only if its text changes: screen readers read out every write. */
export function announce(region, ...children) {
  const content = append(document.createDocumentFragment(), ...children);
  if (content.textContent !== region.textContent) region.replaceChildren(content);
}

/** Focus an element that is not in the tab order, for example after the focused button was removed. */
export function focusOn(place) {
  place.tabIndex = -1;
  place.focus({ preventScroll: true });
}

/** Create an SVG element. */
export function svg(name, attributes = {}, ...children) {
  const created = document.createElementNS(SVG, name);
  for (const [each, value] of Object.entries(attributes)) created.setAttribute(each, value);
  return append(created, ...children);
}
