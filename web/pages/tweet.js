/* A tweet in its conversation: what it answers, and what answers it. */

import { TWEETS, get } from "../api.js";
import { append, element } from "../dom.js";
import { listen } from "../live.js";
import { newTweet } from "../parts/composer.js";
import { moreButton } from "../parts/more.js";
import { toast } from "../parts/toast.js";
import { reflect, surroundings, tweetCard } from "../parts/tweet.js";

const DEEPEST = 4;

export default async function page({ params: { id }, session, signal }) {
  const path = `${TWEETS}/tweets/${encodeURIComponent(id)}/thread`;
  const thread = await get(path, { signal });
  const places = [...thread.ancestors, { id, tweet: thread.tweet }, ...thread.descendants];
  const around = await surroundings(tweetsOf(places), signal);
  const depths = new Map([[thread.tweet.id, 0]]);
  const answers = element("div.answers", { role: "feed", "aria-label": "Answers", hidden: true });

  function show(found, surrounded) {
    return found.flatMap((place) => {
      if (depths.has(place.id)) return [];
      const depth = Math.min((depths.get(place.reply_to) ?? 0) + 1, DEEPEST);
      depths.set(place.id, depth);
      const card = placeCard(place, surrounded, signal);
      append(answers, element("div", { class: `depth-${depth}`, role: "presentation" }, card));
      answers.hidden = false;
      return [card];
    });
  }
  async function take(found) {
    const fresh = found.filter((place) => !depths.has(place.id));
    return show(fresh, await surroundings(tweetsOf(fresh), signal));
  }
  const add = async (tweet) => take([{ id: tweet.id, reply_to: tweet.reply_to, tweet }]);

  let next = thread.next_cursor;
  const more = moreButton("More answers", async () => {
    const further = await get(path, { query: { cursor: next }, signal });
    const cards = await take(further.descendants);
    next = further.next_cursor;
    more.hidden = next === null;
    return cards;
  });
  more.hidden = next === null;
  show(thread.descendants, around);

  /** Something may have come between the page and the stream. */
  async function look() {
    const { descendants, next_cursor } = await get(path, { signal });
    await take(descendants);
    next ??= next_cursor;
    more.hidden = next === null;
  }

  const made = element(
    "section",
    {},
    element("h1", {}, "Conversation"),
    thread.ancestors.map((place) => placeCard(place, around, signal)),
    tweetCard(thread.tweet, { around, signal, isMain: true }),
    session.user && newTweet({ to: thread.tweet.id, onposted: add }),
    answers,
    more,
  );
  made.addEventListener("tandem:posted", ({ detail }) => {
    if (depths.has(detail.reply_to)) add(detail).catch((error) => signal.aborted || toast(error.message));
  });
  const later = () => {}; // there on reloading
  listen(`${TWEETS}/stream`, {
    signal,
    onState: (state) => state === "open" && look().catch(later),
    onEvent(event) {
      if (event.type === "tweet" && depths.has(event.data.reply_to)) add(event.data).catch(later);
      reflect(event, made);
    },
  });
  return made;
}

const tweetsOf = (places) => places.flatMap(({ tweet }) => tweet ?? []);

function placeCard({ tweet }, around, signal) {
  return tweet ? tweetCard(tweet, { around, signal }) : element("p.card.gap", {}, "A tweet that was deleted stood here.");
}
