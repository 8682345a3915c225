/* A list of people, a page at a time. */

import { get } from "../api.js";
import { append, element } from "../dom.js";
import { personCard } from "./author.js";
import { moreButton } from "./more.js";

/** The people that `path` lists. `empty` is said if there are none. Throws what the first page's request does. */
export async function people(path, { empty, signal }) {
  const list = element("ul.people", {});
  let next = null;
  async function goOn() {
    const { items, next_cursor } = await get(path, { query: { limit: 50, cursor: next }, signal });
    next = next_cursor;
    const cards = items.map(personCard);
    append(list, cards);
    more.hidden = next === null;
    return cards;
  }
  const more = moreButton("More people", goOn);
  await goOn();
  return element("div", {}, list.childElementCount ? list : element("p.empty", {}, empty), more);
}
