import { AUTH, patch, post } from "../../api.js";
import { element, fill } from "../../dom.js";
import { field, form } from "../form.js";
import { toast } from "../toast.js";

/** The address: whether it is confirmed, and another one. */
export function email({ profile, signal }) {
  const state = element("div", {});
  const show = () => fill(state, words(profile), isWaiting(profile) && again(signal));
  async function change({ email: address }) {
    Object.assign(profile, await patch(`${AUTH}/users/me`, { email: address }, { signal }));
    show();
    return profile.pending_email === null ? "Saved." : `A mail is on its way to ${profile.pending_email}.`;
  }
  show();
  return element(
    "section",
    {},
    element("h2", {}, "Email"),
    state,
    form(
      [
        field("New email", {
          name: "email",
          type: "email",
          hint: "It takes the place of the present one when you open the link that is sent to it.",
          autocomplete: "email",
          required: true,
        }),
      ],
      { action: "Change the email", signal, onsubmit: change },
    ),
  );
}

const isWaiting = ({ email_verified, pending_email }) => !email_verified || pending_email !== null;

function words({ email: address, email_verified, pending_email }) {
  return element(
    "p",
    {},
    element("strong", {}, address),
    email_verified ? " is confirmed." : " is not confirmed yet.",
    pending_email && [" ", element("strong", {}, pending_email), " is to take its place, once it is confirmed."],
  );
}

function again(signal) {
  async function send() {
    try {
      await post(`${AUTH}/email/resend`, undefined, { signal });
      toast("Another mail is on its way.");
    } catch (error) {
      toast(error.message);
    }
  }
  return element("p", {}, element("button", { type: "button", onclick: send }, "Send the mail again"));
}
