import { AUTH, patch, post } from "../../api.js";
import { element, replaceChildren } from "../../dom.js";
import { currentPassword } from "../current-password.js";
import { field, form } from "../form.js";
import { toast } from "../toast.js";

/** The email address, its confirmation, and a form to change it. */
export function email({ profile, signal }) {
  const state = element("div", {});
  const show = () => replaceChildren(state, description(profile), isPending(profile) && resendButton(signal));
  const created = form(
    [
      field("New email", {
        name: "email",
        type: "email",
        hint: "Replaces your current email when you open the link that we send to it.",
        autocomplete: "email",
        required: true,
      }),
      currentPassword(profile.username, { required: true }),
    ],
    { action: "Change email", signal, onsubmit: change },
  );
  async function change(values) {
    Object.assign(profile, await patch(`${AUTH}/users/me`, values, { signal }));
    created.reset();
    show();
    return profile.pending_email === null ? "Saved." : `We sent an email to ${profile.pending_email}.`;
  }
  show();
  return element("section", {}, element("h2", {}, "Email"), state, created);
}

const isPending = ({ email_verified, pending_email }) => !email_verified || pending_email !== null;

function description({ email: address, email_verified, pending_email }) {
  return element(
    "p",
    {},
    element("strong", {}, address),
    email_verified ? " is confirmed." : " is not confirmed yet.",
    pending_email && [" ", element("strong", {}, pending_email), " replaces it after confirmation."],
  );
}

function resendButton(signal) {
  async function send() {
    try {
      await post(`${AUTH}/email/resend`, undefined, { signal });
      toast("Email sent.");
    } catch (error) {
      toast(error.message);
    }
  }
  return element("p", {}, element("button", { type: "button", onclick: send }, "Resend email"));
}
