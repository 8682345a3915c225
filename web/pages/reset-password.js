/* Setting a new password with the link of a mail. */

import { AUTH, post } from "../api.js";
import { element } from "../dom.js";
import { field, form } from "../parts/form.js";
import { mailedToken } from "../parts/mailed-token.js";

export default async function page({ session, signal, navigate }) {
  const token = mailedToken(signal);
  if (!token) return incomplete();
  async function reset({ new_password }) {
    await post(`${AUTH}/password/reset`, { token, new_password }, { signal });
    const notice = "Your password is changed, and you are logged out everywhere. Log in with the new one.";
    if (session.user !== null) session.forget();
    navigate("/login", { notice });
  }
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Set a new password"),
    form(
      [
        field("New password", {
          name: "new_password",
          type: "password",
          hint: "At least 8 characters; a few words are best.",
          autocomplete: "new-password",
          required: true,
          autofocus: true,
        }),
      ],
      { action: "Set the password", signal, onsubmit: reset },
    ),
    element("p.below", {}, element("a", { href: "/forgot-password" }, "Ask for a new link")),
  );
}

function incomplete() {
  return element(
    "section.narrow",
    {},
    element("h1", {}, "This link is not complete"),
    element("p", {}, "Open the whole link of the mail, or ", element("a", { href: "/forgot-password" }, "ask for a new one"), "."),
  );
}
