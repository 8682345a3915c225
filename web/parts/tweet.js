/* A tweet as a card, with what can be done with it. */

import { element, fill, focusOn } from "../dom.js";
import { loginPath, navigate } from "../navigation.js";
import { session } from "../session.js";
import { atLength, counted, linked, when } from "../text.js";
import * as tweets from "../tweets.js";
import { author, avatar, nameOf } from "./author.js";
import { edit, quote, reply } from "./composer.js";
import { confirmed } from "./dialog.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";

// Likes and reposts that are on their way.
const pending = new Set();

/**
 * A card of a tweet. `around` is what `surroundings` has found for the list it is in; `isMain` is the one that a page
 * is about; `isAlone` if what it answers is not shown with it. A repost shows what it reposts.
 *
 * The element has a method `update(tweet)` for an edit, and `vanish(id)` for a deletion, of this tweet or one that it
 * shows, and says `tandem:posted` (it bubbles, with the tweet as its `detail`) when somebody answers or quotes.
 */
export function tweetCard(tweet, { around, signal, isMain = false, isAlone = false }) {
  const card = element("article.card.tweet", { dataset: { id: tweet.id }, class: isMain ? "main" : "" });
  let shown = tweet;
  let isGone = false;
  const originalOf = () => (shown.repost_of ? around.referred.get(shown.repost_of) : shown);
  const shows = (id) => [shown.repost_of, originalOf()?.quote_of].includes(id);

  function draw() {
    if (isGone) return;
    const focused = card.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    const original = originalOf();
    fill(
      card,
      shown.repost_of && element("p.reposted", {}, icon("repost"), author(shown.author), " reposted"),
      isAlone && original?.reply_to && answerTo(original.reply_to),
      original ? body(original, { around, isMain, card, signal, draw }) : gap(original, "reposted"),
    );
    if (focused) card.querySelector(`[data-action="${focused}"]`)?.focus();
    card.setAttribute("aria-label", original ? `Tweet by ${nameOf(original.author)}` : "A repost");
  }

  card.update = (changed) => {
    if (changed.id !== shown.id && !shows(changed.id)) return;
    if (changed.id === shown.id) shown = changed;
    else around.referred.set(changed.id, changed);
    draw();
  };
  card.vanish = (id) => {
    if (id !== shown.id && !shows(id)) return;
    around.referred.delete(id);
    if (id !== shown.id && id !== shown.repost_of) {
      draw();
      return;
    }
    const hadFocus = card.contains(document.activeElement);
    isGone = true;
    card.classList.add("gone");
    fill(card, element("p.gap", {}, "This tweet was deleted."));
    if (hadFocus) focusOn(card);
  };
  draw();
  return card;
}

const answerTo = (id) => element("p.reposted", {}, icon("reply"), "Answers ", element("a", { href: `/tweets/${id}` }, "a tweet"));

/** Show what the stream tells of the tweets whose cards are in an element. */
export function reflect({ type, data }, list) {
  for (const card of list.querySelectorAll(".tweet")) {
    if (type === "edit") card.update(data);
    if (type === "delete") card.vanish(data.id);
  }
}

/** What a list of tweets needs besides them: what they refer to, and what of it the reader likes and reposts. */
export async function surroundings(list, signal) {
  const [referred, reactions] = await Promise.all([
    tweets.referredTo(list, signal),
    tweets.ownReactions(list, signal),
  ]);
  return { referred, reactions };
}

/** A tweet inside of another one. */
export function quoted(tweet) {
  if (!tweet) return gap(tweet, "quoted", "p.quoted.gap");
  return element(
    "blockquote.quoted",
    {},
    element("p.meta", {}, author(tweet.author), " ", moment(tweet, when)),
    element("p.text", { lang: tweet.lang, dir: "auto" }, linked(tweet.text, tweet.entities)),
  );
}

/** In place of a tweet: see `referredTo`. */
const gap = (tweet, what, kind = "p.gap") =>
  element(kind, {}, `The tweet that was ${what} ${tweet === null ? "does not come at the moment" : "is not there any more"}.`);

const moment = ({ id, created_at }, say) => element("a.moment", { href: `/tweets/${id}` }, say(created_at));

function body(tweet, context) {
  const { around, isMain } = context;
  return [
    element(
      "header",
      {},
      avatar(tweet.author),
      element(
        "p.meta",
        {},
        author(tweet.author),
        " ",
        moment(tweet, isMain ? atLength : when),
        tweet.edited_at && element("span.edited", {}, " edited ", when(tweet.edited_at)),
      ),
    ),
    element("p.text", { lang: tweet.lang, dir: "auto" }, linked(tweet.text, tweet.entities)),
    tweet.quote_of && quoted(around.referred.get(tweet.quote_of)),
    actions(tweet, context),
  ];
}

function actions(tweet, context) {
  const { around, card, signal } = context;
  const isOwn = session.user !== null && session.user.id === tweet.author?.id;
  const mayDelete = isOwn || session.may("tweets:moderate");
  return element(
    "footer",
    {},
    action("reply", "Reply", tweet.counts.replies, async () => posted(card, await reply(tweet, signal))),
    toggle(tweet, context, { name: "repost", set: around.reactions.reposts, count: "reposts", words: ["Repost", "Take the repost back"] }),
    toggle(tweet, context, { name: "like", set: around.reactions.likes, count: "likes", words: ["Like", "Take the like back"] }),
    action("quote", "Quote", null, async () => posted(card, await quote(tweet, signal))),
    isOwn && plain("edit", "Edit", () => change(tweet, context)),
    mayDelete && plain("delete", "Delete", () => erase(tweet, context)),
  );
}

function action(name, words, count, onclick) {
  const label = count === null ? words : `${words}, ${count} so far`;
  return element(
    "button.quiet",
    {
      type: "button",
      "aria-label": label,
      title: words,
      dataset: { action: name },
      onclick: () => asSomebody(onclick),
    },
    icon(name),
    count ? element("span", {}, count) : null,
  );
}

const plain = (name, words, onclick) =>
  element("button.quiet", { type: "button", dataset: { action: name }, onclick }, words);

/** A button that is pressed or not: a like or a repost. It shows the new state at once, and the old if that fails. */
function toggle(tweet, { draw }, { name, set, count, words }) {
  const isOn = set.has(tweet.id);
  const flip = (isWanted) => {
    if (isWanted) set.add(tweet.id);
    else set.delete(tweet.id);
    tweet.counts[count] = Math.max(0, tweet.counts[count] + (isWanted ? 1 : -1));
    draw();
  };
  const button = action(name, words[0], tweet.counts[count], async () => {
    const request = `${name} ${tweet.id}`;
    // Two at once could arrive in either order.
    if (pending.has(request)) return;
    pending.add(request);
    flip(!isOn);
    try {
      await tweets[name](tweet.id, !isOn);
    } catch (error) {
      flip(isOn);
      toast(error.message);
    } finally {
      pending.delete(request);
    }
  });
  button.title = words[isOn ? 1 : 0];
  button.setAttribute("aria-label", `${words[0]}, ${counted(tweet.counts[count], "time")} so far`);
  button.setAttribute("aria-pressed", String(isOn));
  return button;
}

/** Visitors without an account are asked for one. */
async function asSomebody(work) {
  if (session.user !== null) return work();
  return navigate(loginPath(), { notice: "Log in to take part." });
}

function posted(card, tweet) {
  if (tweet === undefined) return;
  toast("Posted.");
  card.dispatchEvent(new CustomEvent("tandem:posted", { bubbles: true, detail: tweet }));
}

async function change(tweet, { card, signal }) {
  const edited = await edit(tweet, signal);
  if (edited === undefined) return;
  card.update(edited);
  toast("Saved.");
}

async function erase(tweet, { card, signal }) {
  const text = "It disappears for everybody, with its likes and reposts. Answers to it stay.";
  if (!(await confirmed("Delete this tweet?", text, "Delete", { signal }))) return;
  try {
    await tweets.erase(tweet.id);
  } catch (error) {
    if (error.status !== 404) return toast(error.message);
  }
  card.vanish(tweet.id);
  toast("Deleted.");
  return undefined;
}
