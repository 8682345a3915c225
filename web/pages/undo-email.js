/* Undoes a change of the email address with the link of an email. It has a button, as mail scanners open links, too. */

import { AUTH, post } from "../api.js";
import { element, replaceChildren } from "../dom.js";
import { form } from "../parts/form.js";
import { emailToken } from "../parts/email-token.js";

export default async function page({ session, signal, navigate }) {
  const token = emailToken(signal);
  const section = element("section.narrow", {});
  async function undo() {
    await post(`${AUTH}/email/undo`, { token }, { signal });
    if (session.user !== null) session.forget();
    navigate("/forgot-password", { notice: "Your email is restored and all devices are logged out. Now choose a new password." });
  }
  if (!token) {
    return replaceChildren(
      section,
      element("h1", {}, "Incomplete link"),
      element("p", {}, "Open the complete link of the email."),
    );
  }
  return replaceChildren(
    section,
    element("h1", {}, "Restore your email"),
    form(
      [
        element("p", {}, "If you did not change the email of your account, undo the change. This restores it and logs out all devices. Then choose a new password."),
      ],
      { action: "Restore my email", signal, onsubmit: undo },
    ),
  );
}
