/* A tweet in its conversation, with ancestors and replies. */

import { TWEETS, get } from "../api.js";
import { append, element } from "../dom.js";
import { listen } from "../live.js";
import { newTweet } from "../parts/composer.js";
import { moreButton } from "../parts/more.js";
import { toast } from "../parts/toast.js";
import { reflect, loadRelated, tweetCard } from "../parts/tweet.js";

const MAX_DEPTH = 4;

export default async function page({ params: { id }, session, signal }) {
  const path = `${TWEETS}/tweets/${encodeURIComponent(id)}/thread`;
  const thread = await get(path, { signal });
  const nodes = [...thread.ancestors, { id, tweet: thread.tweet }, ...thread.descendants];
  const related = await loadRelated(tweetsOf(nodes), signal);
  const depths = new Map([[thread.tweet.id, 0]]);
  const replies = element("div.replies", { role: "feed", "aria-label": "Replies", hidden: true });

  function show(nodes, relatedTweets) {
    return nodes.flatMap((node) => {
      if (depths.has(node.id)) return [];
      const depth = Math.min((depths.get(node.reply_to) ?? 0) + 1, MAX_DEPTH);
      depths.set(node.id, depth);
      const card = nodeCard(node, relatedTweets, signal);
      append(replies, element("div", { class: `depth-${depth}`, role: "presentation" }, card));
      replies.hidden = false;
      return [card];
    });
  }
  async function addNodes(nodes) {
    const fresh = nodes.filter((node) => !depths.has(node.id));
    return show(fresh, await loadRelated(tweetsOf(fresh), signal));
  }
  const add = async (tweet) => addNodes([{ id: tweet.id, reply_to: tweet.reply_to, tweet }]);

  let next = thread.next_cursor;
  const more = moreButton("More replies", async () => {
    const further = await get(path, { query: { cursor: next }, signal });
    const cards = await addNodes(further.descendants);
    next = further.next_cursor;
    more.hidden = next === null;
    return cards;
  });
  more.hidden = next === null;
  show(thread.descendants, related);

  /** Load replies that arrived between the request of the page and the start of the stream. */
  async function reload() {
    const { descendants, next_cursor } = await get(path, { signal });
    await addNodes(descendants);
    next ??= next_cursor;
    more.hidden = next === null;
  }

  const section = element(
    "section",
    {},
    element("h1", {}, "Conversation"),
    thread.ancestors.map((node) => nodeCard(node, related, signal)),
    tweetCard(thread.tweet, { related, signal, isMain: true }),
    session.user && newTweet({ to: thread.tweet.id, onposted: add }),
    replies,
    more,
  );
  section.addEventListener("tandem:posted", ({ detail }) => {
    if (depths.has(detail.reply_to)) add(detail).catch((error) => signal.aborted || toast(error.message));
  });
  const ignore = () => {}; // a reload of the page shows it
  listen(`${TWEETS}/stream`, {
    signal,
    onState: (state) => state === "open" && reload().catch(ignore),
    onEvent(event) {
      if (event.type === "tweet" && depths.has(event.data.reply_to)) add(event.data).catch(ignore);
      reflect(event, section);
    },
  });
  return section;
}

const tweetsOf = (nodes) => nodes.flatMap(({ tweet }) => tweet ?? []);

function nodeCard({ tweet }, related, signal) {
  return tweet ? tweetCard(tweet, { related, signal }) : element("p.card.gap", {}, "This tweet was deleted.");
}
