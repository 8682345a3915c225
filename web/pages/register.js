/* The sign-up. */

import { element, replaceChildren } from "../dom.js";
import { field, form } from "../parts/form.js";

export default async function page({ query, session, signal }) {
  const next = query.has("next") ? `?${new URLSearchParams({ next: query.get("next") })}` : "";
  const section = element("section.narrow", {});
  async function register(values) {
    if (!(await session.register(values, signal))) replaceChildren(section, confirmationNotice(values.email));
  }
  return replaceChildren(
    section,
    element("h1", {}, "Sign up"),
    form(
      [
        field("Username", { name: "username", hint: "3 to 30 letters, digits and _.", autocomplete: "username", required: true, autofocus: true, autocapitalize: "none" }),
        field("Name", { name: "name", hint: "Shown to other users.", autocomplete: "name", required: true }),
        field("Email", { name: "email", type: "email", hint: "Visible only to you and the operators.", autocomplete: "email", required: true }),
        field("Password", { name: "password", type: "password", hint: "At least 8 characters; several words are best.", autocomplete: "new-password", required: true }),
        field("Confirm password", { name: "password_confirm", type: "password", autocomplete: "new-password", required: true }),
      ],
      { action: "Sign up", signal, onsubmit: register },
    ),
    element("p.below", {}, "Already have an account? ", element("a", { href: `/login${next}` }, "Log in")),
  );
}

function confirmationNotice(email) {
  return [
    element("h1", { tabindex: -1 }, "Confirm your email"),
    element("p", { role: "status" }, `We sent an email to ${email}. Open its link to confirm the address, then log in.`),
    element("p", {}, element("a", { href: "/login" }, "Log in")),
  ];
}
