/* A paginated list of tweets, newest first, with live updates. */

import { TWEETS, get } from "../api.js";
import { append, element, replaceChildren, focusOn, announce } from "../dom.js";
import { listen } from "../live.js";
import { plural } from "../text.js";
import { moreButton } from "./more.js";
import { toast } from "./toast.js";
import { reflect, loadRelated, tweetCard } from "./tweet.js";

const PAGE = 20;
// The minimum interval between reloads, however busy the stream.
const RELOAD_MILLISECONDS = 1500;

/**
 * The tweets that `path` lists (with `query`), page by page.
 *
 * With `live`, a query of `/v1/stream`, a button offers new tweets, and edits and deletions appear immediately. `empty`
 * is the text of an empty list. The element has a method `add(tweet)` for a tweet that was posted here. Throws the error
 * of the first page's request.
 */
export async function timeline(path, { query = {}, live = null, empty, signal }) {
  const page = async (cursor) => get(path, { query: { ...query, limit: PAGE, cursor }, signal });
  const list = element("div.timeline", { role: "feed", "aria-label": "Tweets" });
  const news = element("button.news", { type: "button", hidden: true });
  const spoken = element("p.visually-hidden", { role: "status" });
  const more = moreButton("Older tweets", loadMore);
  const placeholder = element("p.empty", { hidden: true }, empty);
  const created = element("div", {}, spoken, news, list, placeholder, more);
  const known = new Set();
  let next = null;
  let oldest = null;
  let waiting = [];

  function showWhetherEmpty() {
    list.hidden = known.size === 0;
    placeholder.hidden = !list.hidden;
  }

  async function cards(tweets) {
    const related = await loadRelated(tweets, signal);
    const fresh = tweets.filter(({ id }) => !known.has(id));
    for (const { id } of fresh) known.add(id);
    return fresh.map((tweet) => tweetCard(tweet, { related, signal, isAlone: true }));
  }

  async function loadMore() {
    const { items, next_cursor } = await page(next);
    const added = await cards(items);
    next = next_cursor;
    oldest = items.at(-1)?.created_at ?? oldest;
    append(list, added);
    more.hidden = next === null;
    showWhetherEmpty();
    return added;
  }

  async function add(...tweets) {
    const added = await cards(tweets);
    for (const card of added) card.classList.add("new");
    list.prepend(...added);
    showWhetherEmpty();
    return added;
  }

  async function reload() {
    const { items, next_cursor } = await page(null);
    // Deletions move older tweets up onto this page that belong to a page not loaded yet.
    waiting = items.filter(({ id, created_at }) => !known.has(id) && (next === null || created_at > oldest));
    showWaiting(waiting.length === items.length && next_cursor !== null);
  }

  function showWaiting(isMore = false) {
    waiting = waiting.filter(({ id }) => !known.has(id));
    news.hidden = waiting.length === 0;
    const text = `${isMore ? "More than " : ""}${plural(waiting.length, "new tweet")}`;
    replaceChildren(news, text);
    announce(spoken, waiting.length ? text : "");
  }

  news.addEventListener("click", async () => {
    try {
      const [first] = await add(...waiting);
      showWaiting();
      if (first) focusOn(first);
    } catch (error) {
      if (!signal.aborted) toast(error.message);
    }
  });
  created.add = add;

  await loadMore();
  if (live !== null) follow(live, { list, known, reload, signal });
  return created;
}

function follow(live, { list, known, reload, signal }) {
  let timer = null;
  const reloadSoon = () => {
    timer ??= setTimeout(() => {
      timer = null;
      reload().catch((error) => error.isUnavailable && reloadSoon());
    }, RELOAD_MILLISECONDS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  const path = `${TWEETS}/stream?${new URLSearchParams(live)}`;
  listen(path, {
    signal,
    // Tweets may have arrived between the request of the page and the start of the stream.
    onState: (state) => state === "open" && reloadSoon(),
    onEvent({ type, data }) {
      if (type === "tweet" && !known.has(data.id)) reloadSoon();
      reflect({ type, data }, list);
    },
  });
}
