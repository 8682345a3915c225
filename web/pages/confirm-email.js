/* Confirming an address with the link of a mail. By a button: mail scanners open links, too. */

import { AUTH, post } from "../api.js";
import { element, fill } from "../dom.js";
import { form } from "../parts/form.js";
import { mailedToken } from "../parts/mailed-token.js";

export default async function page({ session, signal }) {
  const token = mailedToken(signal);
  const made = element("section.narrow", {});
  async function confirm() {
    await post(`${AUTH}/email/verify`, { token }, { signal });
    const heading = element("h1", { tabindex: -1 }, "Your address is confirmed");
    const [href, words] = session.user === null ? ["/login", "Log in"] : ["/", "Home"];
    fill(made, heading, element("p", {}, element("a", { href }, words)));
    heading.focus();
  }
  if (!token) {
    return fill(
      made,
      element("h1", {}, "This link is not complete"),
      element("p", {}, "Open the whole link of the mail. Under Settings you can have another one sent."),
    );
  }
  return fill(
    made,
    element("h1", {}, "Confirm your address"),
    form([element("p", {}, "Is this address yours, and do you want to use it here?")], {
      action: "Confirm",
      signal,
      onsubmit: confirm,
    }),
  );
}
