/* Confirms an email address with the link of an email. It has a button, because mail scanners open links, too. */

import { AUTH, post } from "../api.js";
import { element, replaceChildren } from "../dom.js";
import { form } from "../parts/form.js";
import { emailToken } from "../parts/email-token.js";

export default async function page({ session, signal }) {
  const token = emailToken(signal);
  const section = element("section.narrow", {});
  async function confirm() {
    await post(`${AUTH}/email/verify`, { token }, { signal });
    const heading = element("h1", { tabindex: -1 }, "Email confirmed");
    const [href, text] = session.user === null ? ["/login", "Log in"] : ["/", "Home"];
    replaceChildren(section, heading, element("p", {}, element("a", { href }, text)));
    heading.focus();
  }
  if (!token) {
    return replaceChildren(
      section,
      element("h1", {}, "Incomplete link"),
      element("p", {}, "Open the complete link of the email. You can request another email under Settings."),
    );
  }
  return replaceChildren(
    section,
    element("h1", {}, "Confirm your email"),
    form([element("p", {}, "Do you want to use this address for your account?")], {
      action: "Confirm",
      signal,
      onsubmit: confirm,
    }),
  );
}
