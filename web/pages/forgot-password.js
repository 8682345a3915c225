/* Asking for a mail that sets a new password. */

import { AUTH, post } from "../api.js";
import { element } from "../dom.js";
import { field, form } from "../parts/form.js";

export default async function page({ signal }) {
  async function ask({ email }) {
    await post(`${AUTH}/password/forgot`, { email }, { signal });
    return "If there is an account with this address, a mail is on its way to it. The link in it works for ten minutes.";
  }
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Forgot your password?"),
    element("p", {}, "Tell us your address, and we send you a link with which you set a new one."),
    form([field("Email", { name: "email", type: "email", autocomplete: "email", required: true, autofocus: true })], {
      action: "Send the mail",
      signal,
      onsubmit: ask,
    }),
    element("p.below", {}, element("a", { href: "/login" }, "Back to logging in")),
  );
}
