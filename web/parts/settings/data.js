import { AUTH, TWEETS, get, remove } from "../../api.js";
import { element } from "../../dom.js";
import { currentPassword } from "../current-password.js";
import { dialog } from "../dialog.js";
import { form } from "../form.js";
import { toast } from "../toast.js";

/** The export of the user's data, and the deletion of the account. */
export function data({ profile, session, signal }) {
  return element(
    "section",
    {},
    element("h2", {}, "Your data"),
    element("p", {}, "A JSON file of all data about you: account, sessions, audit log and tweets."),
    form([], { action: "Download my data", quiet: true, signal, onsubmit: () => save(profile, signal) }),
    element("h2", {}, "Delete account"),
    element("p", {}, "This deletes your account from both stores and can’t be undone. Your tweets stay without your name, unless you delete them first."),
    element("button.danger", { type: "button", onclick: () => deleteAccount(profile, session, signal) }, "Delete my account"),
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
  return "Download complete.";
}

function deleteAccount(profile, session, signal) {
  return dialog(
    "Delete your account?",
    (close) =>
      form(
        [
          element("p", {}, "This can’t be undone. Enter your password to confirm."),
          currentPassword(profile.username, { required: true, autofocus: true }),
        ],
        {
          action: "Delete my account permanently",
          signal,
          async onsubmit(values) {
            await remove(`${AUTH}/users/me`, { body: values });
            close();
            session.forget();
            toast("Your account was deleted.");
            return undefined;
          },
        },
      ),
    { signal },
  );
}
