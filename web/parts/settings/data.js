import { AUTH, TWEETS, get, remove } from "../../api.js";
import { element } from "../../dom.js";
import { dialog } from "../dialog.js";
import { field, form } from "../form.js";
import { toast } from "../toast.js";

/** A file of all that is held about somebody, and the end of the account. */
export function data({ profile, session, signal }) {
  return element(
    "section",
    {},
    element("h2", {}, "Your data"),
    element("p", {}, "A file (JSON) of everything that is held about you: account, sessions, what was logged, and your tweets."),
    form([], { action: "Get my data", quiet: true, signal, onsubmit: () => save(profile, signal) }),
    element("h2", {}, "Delete the account"),
    element("p", {}, "For good, from both stores. Your tweets stay without your name, unless you delete them before."),
    element("button.danger", { type: "button", onclick: () => end(profile, session, signal) }, "Delete my account"),
  );
}

async function save(profile, signal) {
  const account = await get(`${AUTH}/users/me/export`, { signal });
  const tweets = [];
  let cursor = null;
  do {
    const page = await get(`${TWEETS}/tweets`, { query: { author: profile.username, limit: 100, cursor }, signal });
    tweets.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  const file = new Blob([JSON.stringify({ account, tweets }, null, 2)], { type: "application/json" });
  const href = URL.createObjectURL(file);
  element("a", { href, download: `tandem-${profile.username}.json` }).click();
  URL.revokeObjectURL(href);
  return "The file is in your downloads.";
}

function end(profile, session, signal) {
  return dialog(
    "Delete your account?",
    (close) =>
      form(
        [
          element("p", {}, "This can’t be undone. To go on, write your username."),
          field(`Your username, ${profile.username}`, { name: "username", autocomplete: "off", autocapitalize: "none", required: true, autofocus: true }),
        ],
        {
          action: "Delete my account for good",
          signal,
          async onsubmit({ username }) {
            if (username !== profile.username) return "That is not your username: nothing was deleted.";
            await remove(`${AUTH}/users/me`);
            close();
            session.forget();
            toast("Your account is deleted.");
            return undefined;
          },
        },
      ),
    { signal },
  );
}
