/* The login. app.js shows the next page. */

import { element } from "../dom.js";
import { checkbox, field, form } from "../parts/form.js";

export default async function page({ query, session, signal }) {
  const next = query.has("next") ? `?${new URLSearchParams({ next: query.get("next") })}` : "";
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Log in"),
    form(
      [
        field("Username or email", { name: "login", autocomplete: "username", required: true, autofocus: true, autocapitalize: "none" }),
        field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
        checkbox("Remember me on this device", { name: "remember_me" }),
      ],
      { action: "Log in", signal, onsubmit: (credentials) => session.logIn(credentials, signal) },
    ),
    element("p.below", {}, element("a", { href: "/forgot-password" }, "Forgot your password?")),
    element("p", {}, "No account yet? ", element("a", { href: `/register${next}` }, "Sign up")),
  );
}
