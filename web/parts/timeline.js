/* A list of tweets, newest first, that goes on at its end, and at its beginning while one reads. */

import { TWEETS, get } from "../api.js";
import { append, element, fill, focusOn, tell } from "../dom.js";
import { listen } from "../live.js";
import { counted } from "../text.js";
import { moreButton } from "./more.js";
import { toast } from "./toast.js";
import { reflect, surroundings, tweetCard } from "./tweet.js";

const PAGE = 20;
// A busy stream is looked after so often and no oftener.
const LOOK_MILLISECONDS = 1500;

/**
 * The tweets that `path` lists (with `query`), a page at a time.
 *
 * With `live`, a query of `/v1/stream`, somebody hears of new tweets and asks for them with a button; edits and
 * deletions are shown at once. `empty` is said if there are none. The element has a method `add(tweet)` for what was
 * posted here. Throws what the first page's request does.
 */
export async function timeline(path, { query = {}, live = null, empty, signal }) {
  const page = async (cursor) => get(path, { query: { ...query, limit: PAGE, cursor }, signal });
  const list = element("div.timeline", { role: "feed", "aria-label": "Tweets" });
  const news = element("button.news", { type: "button", hidden: true });
  const spoken = element("p.visually-hidden", { role: "status" });
  const more = moreButton("Older tweets", goOn);
  const nothing = element("p.empty", { hidden: true }, empty);
  const made = element("div", {}, spoken, news, list, nothing, more);
  const known = new Set();
  let next = null;
  let oldest = null;
  let waiting = [];

  function showWhetherEmpty() {
    list.hidden = known.size === 0;
    nothing.hidden = !list.hidden;
  }

  async function cards(tweets) {
    const around = await surroundings(tweets, signal);
    const fresh = tweets.filter(({ id }) => !known.has(id));
    for (const { id } of fresh) known.add(id);
    return fresh.map((tweet) => tweetCard(tweet, { around, signal, isAlone: true }));
  }

  async function goOn() {
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

  async function look() {
    const { items, next_cursor } = await page(null);
    // Where something was deleted, older ones move up that one has not come to yet.
    waiting = items.filter(({ id, created_at }) => !known.has(id) && (next === null || created_at > oldest));
    announce(waiting.length === items.length && next_cursor !== null);
  }

  function announce(isMore = false) {
    waiting = waiting.filter(({ id }) => !known.has(id));
    news.hidden = waiting.length === 0;
    const text = `${isMore ? "More than " : ""}${counted(waiting.length, "new tweet")}`;
    fill(news, text);
    tell(spoken, waiting.length ? text : "");
  }

  news.addEventListener("click", async () => {
    try {
      const [first] = await add(...waiting);
      announce();
      if (first) focusOn(first);
    } catch (error) {
      if (!signal.aborted) toast(error.message);
    }
  });
  made.add = add;

  await goOn();
  if (live !== null) follow(live, { list, known, look, signal });
  return made;
}

function follow(live, { list, known, look, signal }) {
  let timer = null;
  const lookSoon = () => {
    timer ??= setTimeout(() => {
      timer = null;
      look().catch((error) => error.isUnavailable && lookSoon());
    }, LOOK_MILLISECONDS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  const path = `${TWEETS}/stream?${new URLSearchParams(live)}`;
  listen(path, {
    signal,
    // Something may have come between the page and the stream.
    onState: (state) => state === "open" && lookSoon(),
    onEvent({ type, data }) {
      if (type === "tweet" && !known.has(data.id)) lookSoon();
      reflect({ type, data }, list);
    },
  });
}
