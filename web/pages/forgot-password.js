/* Requests an email with a link for a new password. */

import { AUTH, post } from "../api.js";
import { element } from "../dom.js";
import { field, form } from "../parts/form.js";

export default async function page({ signal }) {
  async function requestLink({ email }) {
    await post(`${AUTH}/password/forgot`, { email }, { signal });
    return "If an account has this address, we sent it an email. Its link works for ten minutes.";
  }
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Forgot your password?"),
    element("p", {}, "Enter your email to get a link for a new password."),
    form([field("Email", { name: "email", type: "email", autocomplete: "email", required: true, autofocus: true })], {
      action: "Send email",
      signal,
      onsubmit: requestLink,
    }),
    element("p.below", {}, element("a", { href: "/login" }, "Back to login")),
  );
}
