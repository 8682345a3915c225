/* A tweet as a card with its actions. */

import { element, replaceChildren, focusOn } from "../dom.js";
import { loginPath, navigate } from "../navigation.js";
import { session } from "../session.js";
import { fullTime, plural, linked, relativeTime } from "../text.js";
import * as tweets from "../tweets.js";
import { author, avatar, nameOf } from "./author.js";
import { edit, quote, reply } from "./composer.js";
import { confirm } from "./dialog.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";

// Likes and reposts in flight.
const pending = new Set();

/**
 * The card of a tweet. `related` is the result of `loadRelated` for its list; `isMain` marks the tweet of a page; `isAlone`
 * a card without the tweet that it replies to. A repost shows its original.
 *
 * The element has methods `update(tweet)` for an edit and `vanish(id)` for a deletion of this tweet or of one that it
 * shows. After a reply or quote it dispatches `tandem:posted`, which bubbles and has the new tweet as its `detail`.
 */
export function tweetCard(tweet, { related, signal, isMain = false, isAlone = false }) {
  const card = element("article.card.tweet", { class: isMain ? "main" : "" });
  let shown = tweet;
  let isGone = false;
  const originalOf = () => (shown.repost_of ? related.referenced.get(shown.repost_of) : shown);
  const shows = (id) => [shown.repost_of, originalOf()?.quote_of].includes(id);

  function draw() {
    if (isGone) return;
    const focused = card.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    const original = originalOf();
    replaceChildren(
      card,
      shown.repost_of && element("p.reposted", {}, icon("repost"), author(shown.author), " reposted"),
      isAlone && original?.reply_to && replyTo(original.reply_to),
      original ? body(original, { related, isMain, card, signal, draw }) : gap(original, "reposted"),
    );
    if (focused) card.querySelector(`[data-action="${focused}"]`)?.focus();
    card.setAttribute("aria-label", original ? `Tweet by ${nameOf(original.author)}` : "A repost");
  }

  card.update = (changed) => {
    if (changed.id !== shown.id && !shows(changed.id)) return;
    if (changed.id === shown.id) shown = changed;
    else related.referenced.set(changed.id, changed);
    draw();
  };
  card.vanish = (id) => {
    if (id !== shown.id && !shows(id)) return;
    related.referenced.delete(id);
    if (id !== shown.id && id !== shown.repost_of) {
      draw();
      return;
    }
    const hadFocus = card.contains(document.activeElement);
    isGone = true;
    card.classList.add("gone");
    replaceChildren(card, element("p.gap", {}, "This tweet was deleted."));
    if (hadFocus) focusOn(card);
  };
  draw();
  return card;
}

const replyTo = (id) => element("p.reposted", {}, icon("reply"), "In reply to ", element("a", { href: `/tweets/${id}` }, "a tweet"));

/** Apply an event of the stream to the cards in an element. */
export function reflect({ type, data }, list) {
  for (const card of list.querySelectorAll(".tweet")) {
    if (type === "edit") card.update(data);
    if (type === "delete") card.vanish(data.id);
  }
}

/** Load the tweets that a list references, and the user's likes and reposts. */
export async function loadRelated(list, signal) {
  const [referenced, reactions] = await Promise.all([
    tweets.referencedBy(list, signal),
    tweets.ownReactions(list, signal),
  ]);
  return { referenced, reactions };
}

/** A tweet inside another tweet. */
export function quoted(tweet) {
  if (!tweet) return gap(tweet, "quoted", "p.quoted.gap");
  return element(
    "blockquote.quoted",
    {},
    element("p.meta", {}, author(tweet.author), " ", timeLink(tweet, relativeTime)),
    element("p.text", { lang: tweet.lang, dir: "auto" }, linked(tweet.text, tweet.entities)),
  );
}

/** The replacement of a missing tweet: see `referencedBy`. */
const gap = (tweet, relation, kind = "p.gap") =>
  element(kind, {}, `The ${relation} tweet ${tweet === null ? "is unavailable at the moment" : "was deleted"}.`);

const timeLink = ({ id, created_at }, format) => element("a.moment", { href: `/tweets/${id}` }, format(created_at));

function body(tweet, context) {
  const { related, isMain } = context;
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
        timeLink(tweet, isMain ? fullTime : relativeTime),
        tweet.edited_at && element("span.edited", {}, " edited ", relativeTime(tweet.edited_at)),
      ),
    ),
    element("p.text", { lang: tweet.lang, dir: "auto" }, linked(tweet.text, tweet.entities)),
    tweet.quote_of && quoted(related.referenced.get(tweet.quote_of)),
    actions(tweet, context),
  ];
}

function actions(tweet, context) {
  const { related, card, signal } = context;
  const isOwn = session.user !== null && session.user.id === tweet.author?.id;
  const mayDelete = isOwn || session.may("tweets:moderate");
  return element(
    "footer",
    {},
    action("reply", "Reply", tweet.counts.replies, async () => posted(card, await reply(tweet, signal))),
    toggle(tweet, context, { name: "repost", set: related.reactions.reposts, count: "reposts", labels: ["Repost", "Undo repost"] }),
    toggle(tweet, context, { name: "like", set: related.reactions.likes, count: "likes", labels: ["Like", "Unlike"] }),
    action("quote", "Quote", null, async () => posted(card, await quote(tweet, signal))),
    isOwn && plain("edit", "Edit", () => change(tweet, context)),
    mayDelete && plain("delete", "Delete", () => erase(tweet, context)),
  );
}

function action(name, title, count, onclick) {
  const label = count === null ? title : `${title}, ${count} so far`;
  return element(
    "button.quiet",
    {
      type: "button",
      "aria-label": label,
      title,
      dataset: { action: name },
      onclick: () => ifLoggedIn(onclick),
    },
    icon(name),
    count ? element("span", {}, count) : null,
  );
}

const plain = (name, label, onclick) =>
  element("button.quiet", { type: "button", dataset: { action: name }, onclick }, label);

/** A toggle button: like or repost. It shows the new state immediately, and reverts if the request fails. */
function toggle(tweet, { draw }, { name, set, count, labels }) {
  const isOn = set.has(tweet.id);
  const flip = (isWanted) => {
    if (isWanted) set.add(tweet.id);
    else set.delete(tweet.id);
    tweet.counts[count] = Math.max(0, tweet.counts[count] + (isWanted ? 1 : -1));
    draw();
  };
  const button = action(name, labels[0], tweet.counts[count], async () => {
    const request = `${name} ${tweet.id}`;
    // Concurrent requests could arrive in any order.
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
  button.title = labels[isOn ? 1 : 0];
  button.setAttribute("aria-label", `${labels[0]}, ${plural(tweet.counts[count], "time")} so far`);
  button.setAttribute("aria-pressed", String(isOn));
  return button;
}

/** Run an action, or send visitors to the login. */
async function ifLoggedIn(run) {
  if (session.user !== null) return run();
  return navigate(loginPath(), { notice: "Log in to continue." });
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
  const text = "This deletes the tweet with its likes and reposts. Replies stay.";
  if (!(await confirm("Delete this tweet?", text, "Delete", { signal }))) return;
  try {
    await tweets.erase(tweet.id);
  } catch (error) {
    if (error.status !== 404) return toast(error.message);
  }
  card.vanish(tweet.id);
  toast("Deleted.");
  return undefined;
}
