/* Sets a new password with the link of an email. */

import { AUTH, post } from "../api.js";
import { element } from "../dom.js";
import { field, form } from "../parts/form.js";
import { emailToken } from "../parts/email-token.js";

export default async function page({ session, signal, navigate }) {
  const token = emailToken(signal);
  if (!token) return incomplete();
  async function reset({ new_password }) {
    await post(`${AUTH}/password/reset`, { token, new_password }, { signal });
    const notice = "Password changed. You are logged out everywhere: log in with the new password.";
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
          hint: "At least 8 characters; several words are best.",
          autocomplete: "new-password",
          required: true,
          autofocus: true,
        }),
      ],
      { action: "Set password", signal, onsubmit: reset },
    ),
    element("p.below", {}, element("a", { href: "/forgot-password" }, "Request a new link")),
  );
}

function incomplete() {
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Incomplete link"),
    element("p", {}, "Open the complete link of the email, or ", element("a", { href: "/forgot-password" }, "request a new one"), "."),
  );
}
