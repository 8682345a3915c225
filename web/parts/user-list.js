/* A paginated list of users. */

import { get } from "../api.js";
import { append, element } from "../dom.js";
import { userCard } from "./author.js";
import { moreButton } from "./more.js";

/** The users that `path` lists, or the text `empty` if there are none. Throws the error of the first page's request. */
export async function userList(path, { empty, signal }) {
  const list = element("ul.users", {});
  let next = null;
  async function loadMore() {
    const { items, next_cursor } = await get(path, { query: { limit: 50, cursor: next }, signal });
    next = next_cursor;
    const cards = items.map(userCard);
    append(list, cards);
    more.hidden = next === null;
    return cards;
  }
  const more = moreButton("More users", loadMore);
  await loadMore();
  return element("div", {}, list.childElementCount ? list : element("p.empty", {}, empty), more);
}
