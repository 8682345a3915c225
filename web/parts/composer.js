/* Where tweets are written: new ones, answers, quotes and edits. */

import { append, element, fill } from "../dom.js";
import { session } from "../session.js";
import { MAX_CODE_POINTS, codePoints, isBlank } from "../text.js";
import * as tweets from "../tweets.js";
import { dialog } from "./dialog.js";
import { toast } from "./toast.js";
import { quoted } from "./tweet.js";

const WARN_BELOW = 20;

/* What has been written and not sent: a page, and what is on it, goes when the session ends. */
const drafts = new Map();
const draftOf = (label, about, text) => JSON.stringify([session.user.id, label, about, text]);

/**
 * A form for a text of 280 code points at most. `onsend(text)` sends it; what it throws is shown below the text. The
 * field is emptied after that, unless it returns false. `about` is the id of the tweet that the text is about.
 */
export function composer({ label, action, about = null, text = "", placeholder = "", autofocus = false, onsend }) {
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
    // Read out only where it matters, not at each letter.
    spoken.textContent = rest < 0 ? `${-rest} characters too many` : rest < WARN_BELOW ? `${rest} characters left` : "";
    area.setAttribute("aria-invalid", String(rest < 0));
  }

  async function send(event) {
    event.preventDefault();
    if (isBusy) return;
    const rest = MAX_CODE_POINTS - codePoints(area.value);
    if (isBlank(area.value)) return complain("Write something first.");
    if (rest < 0) return complain(`That is ${-rest} characters too long.`);
    isBusy = true;
    button.setAttribute("aria-disabled", "true");
    fill(error);
    try {
      if ((await onsend(area.value)) !== false) {
        area.value = "";
        drafts.delete(draft);
      }
      count();
    } catch (problem) {
      complain(problem.message);
    } finally {
      isBusy = false;
      button.removeAttribute("aria-disabled");
    }
  }

  function complain(words) {
    fill(error, words);
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

/** Write a new tweet, at the top of a page, or an answer to one below it. `onposted` gets it, and may show it. */
export function newTweet({ onposted, text = "", to = null }) {
  let post = tweets.posting();
  const words = to ? { label: "Your reply", action: "Reply", placeholder: "Your reply" } : { label: "New tweet", action: "Tweet", placeholder: "What goes on?" };
  return composer({
    ...words,
    about: to,
    text,
    async onsend(written) {
      const tweet = await post({ text: written, reply_to: to });
      post = tweets.posting();
      try {
        await onposted(tweet);
      } catch (error) {
        // Not an error of the form's: whoever sent it again would have two.
        if (error.name !== "AbortError") toast(`Posted. ${error.message}`);
      }
    },
  });
}

/** Answer a tweet in a dialog. Resolves to the answer, or undefined. */
export const reply = (to, signal) => written("Reply", { label: "Your reply", action: "Reply", to, as: "reply_to", signal });

/** Quote a tweet in a dialog. Resolves to the new tweet, or undefined. */
export const quote = (of, signal) => written("Quote", { label: "Your words", action: "Tweet", to: of, as: "quote_of", signal });

function written(title, { label, action, to, as, signal }) {
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
 * Edit a tweet in a dialog. Resolves to the edited tweet, or undefined. If it was edited elsewhere meanwhile, both
 * texts are shown, and whoever edits decides.
 */
export function edit(tweet, signal) {
  let { version } = tweet;
  const label = "The tweet's text";
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
            fill(notice, conflict(current, close));
            return false;
          }
          return true;
        },
      }),
    ],
    { signal },
  ).finally(() => {
    // Who closes the dialog does not want it any more.
    if (!signal.aborted) drafts.delete(draftOf(label, tweet.id, tweet.text));
  });
}

function conflict(current, close) {
  return append(
    element("div.notice", {}),
    element("p", {}, "This tweet was edited elsewhere while you wrote. It now says:"),
    element("blockquote", {}, current.text),
    element("p", {}, "Save again to put your text in its place, or"),
    element("button", { type: "button", onclick: () => close(current) }, "keep what it says"),
  );
}
