/* Opening an account. */

import { element, fill } from "../dom.js";
import { field, form } from "../parts/form.js";

export default async function page({ query, session, signal }) {
  const next = query.has("next") ? `?${new URLSearchParams({ next: query.get("next") })}` : "";
  const made = element("section.narrow", {});
  async function register(values) {
    if (!(await session.register(values, signal))) fill(made, mailIsOnItsWay(values.email));
  }
  return fill(
    made,
    element("h1", {}, "Open an account"),
    form(
      [
        field("Username", { name: "username", hint: "3 to 30 letters, digits and _.", autocomplete: "username", required: true, autofocus: true, autocapitalize: "none" }),
        field("Name", { name: "name", hint: "As others see it.", autocomplete: "name", required: true }),
        field("Email", { name: "email", type: "email", hint: "Only you and those who run this see it.", autocomplete: "email", required: true }),
        field("Password", { name: "password", type: "password", hint: "At least 8 characters; a few words are best.", autocomplete: "new-password", required: true }),
        field("Password again", { name: "password_confirm", type: "password", autocomplete: "new-password", required: true }),
      ],
      { action: "Open an account", signal, onsubmit: register },
    ),
    element("p.below", {}, "Already here? ", element("a", { href: `/login${next}` }, "Log in")),
  );
}

function mailIsOnItsWay(email) {
  return [
    element("h1", { tabindex: -1 }, "One more step"),
    element("p", { role: "status" }, `A mail is on its way to ${email}. Open the link in it to confirm the address; then you can log in.`),
    element("p", {}, element("a", { href: "/login" }, "Log in")),
  ];
}
