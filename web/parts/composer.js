/* Forms for new tweets, replies, quotes and edits. */

import { append, element, replaceChildren } from "../dom.js";
import { session } from "../session.js";
import { MAX_CODE_POINTS, codePoints, isBlank, plural } from "../text.js";
import * as tweets from "../tweets.js";
import { dialog } from "./dialog.js";
import { toast } from "./toast.js";
import { quoted } from "./tweet.js";

const WARN_BELOW = 20;

/* Unsent texts. They survive the end of a session, which replaces the page. */
const drafts = new Map();
const draftOf = (label, about, text) => JSON.stringify([session.user.id, label, about, text]);

/**
 * A form for a text of up to 280 code points. `onsend(text)` sends it; its error is shown below the text. Unless it
 * returns false, the field is cleared afterwards. `about` is the id of the tweet that the text replies to, quotes or
 * edits.
 */
function composer({ label, action, about = null, text = "", placeholder = "", autofocus = false, onsend }) {
  const draft = draftOf(label, about, text);
  const value = drafts.get(draft) ?? text;
  const area = element("textarea", { "aria-label": label, placeholder, rows: 3, autofocus, value });
  const left = element("span.left", {});
  const spoken = element("span.visually-hidden", { role: "status" });
  const error = element("p.error", { role: "alert" });
  const button = element("button.primary", { type: "submit" }, action);
  let isBusy = false;

  function count() {
    const rest = MAX_CODE_POINTS - codePoints(area.value);
    left.textContent = rest;
    left.title = `${rest} of ${MAX_CODE_POINTS} characters left`;
    left.classList.toggle("few", rest < WARN_BELOW);
    // Announce the count only near the limit, not at each letter.
    spoken.textContent = rest < 0 ? `${-rest} characters too many` : rest < WARN_BELOW ? `${rest} characters left` : "";
    area.setAttribute("aria-invalid", String(rest < 0));
  }

  async function send(event) {
    event.preventDefault();
    if (isBusy) return;
    const rest = MAX_CODE_POINTS - codePoints(area.value);
    if (isBlank(area.value)) return showError("The text is empty.");
    if (rest < 0) return showError(`The text is ${plural(-rest, "character")} too long.`);
    isBusy = true;
    button.setAttribute("aria-disabled", "true");
    replaceChildren(error);
    try {
      if ((await onsend(area.value)) !== false) {
        area.value = "";
        drafts.delete(draft);
      }
      count();
    } catch (problem) {
      showError(problem.message);
    } finally {
      isBusy = false;
      button.removeAttribute("aria-disabled");
    }
  }

  function showError(text) {
    replaceChildren(error, text);
    area.focus();
  }

  area.addEventListener("input", () => {
    if (isBlank(area.value)) drafts.delete(draft);
    else drafts.set(draft, area.value);
    count();
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  });
  count();
  return element(
    "form.composer",
    { onsubmit: send },
    area,
    error,
    element("div.actions", {}, left, spoken, button),
  );
}

/** A form for a new tweet, or for a reply to the tweet `to`. `onposted(tweet)` may show it. */
export function newTweet({ onposted, text = "", to = null }) {
  let post = tweets.posting();
  const texts = to ? { label: "Your reply", action: "Reply", placeholder: "Your reply" } : { label: "New tweet", action: "Tweet", placeholder: "What’s happening?" };
  return composer({
    ...texts,
    about: to,
    text,
    async onsend(written) {
      const tweet = await post({ text: written, reply_to: to });
      post = tweets.posting();
      try {
        await onposted(tweet);
      } catch (error) {
        // Not an error of the form: sending the text again would post it twice.
        if (error.name !== "AbortError") toast(`Posted. ${error.message}`);
      }
    },
  });
}

/** Reply to a tweet in a dialog. Resolves to the reply, or undefined. */
export const reply = (to, signal) => compose("Reply", { label: "Your reply", action: "Reply", to, as: "reply_to", signal });

/** Quote a tweet in a dialog. Resolves to the new tweet, or undefined. */
export const quote = (of, signal) => compose("Quote", { label: "Your comment", action: "Tweet", to: of, as: "quote_of", signal });

function compose(title, { label, action, to, as, signal }) {
  const post = tweets.posting();
  return dialog(
    title,
    (close) => [
      quoted(to),
      composer({
        label,
        action,
        about: to.id,
        autofocus: true,
        async onsend(text) {
          close(await post({ text, [as]: to.id }));
        },
      }),
    ],
    { signal },
  );
}

/**
 * Edit a tweet in a dialog. Resolves to the edited tweet, or undefined. If the tweet was edited elsewhere meanwhile, the
 * dialog shows both texts, and the user decides.
 */
export function edit(tweet, signal) {
  let { version } = tweet;
  const label = "Tweet text";
  const notice = element("div", { role: "status" });
  return dialog(
    "Edit",
    (close) => [
      notice,
      composer({
        label,
        action: "Save",
        about: tweet.id,
        text: tweet.text,
        autofocus: true,
        async onsend(text) {
          try {
            close(await tweets.edit(tweet.id, version, text));
          } catch (error) {
            if (error.status !== 412) throw error;
            const current = await tweets.read(tweet.id);
            version = current.version;
            replaceChildren(notice, conflict(current, close));
            return false;
          }
          return true;
        },
      }),
    ],
    { signal },
  ).finally(() => {
    // Closing the dialog discards the draft.
    if (!signal.aborted) drafts.delete(draftOf(label, tweet.id, tweet.text));
  });
}

function conflict(current, close) {
  return append(
    element("div.notice", {}),
    element("p", {}, "This tweet was edited elsewhere meanwhile. Its current text:"),
    element("blockquote", {}, current.text),
    element("p", {}, "Save again to replace it with your text, or"),
    element("button", { type: "button", onclick: () => close(current) }, "keep the current text"),
  );
}
