import { AUTH, post } from "../../api.js";
import { element } from "../../dom.js";
import { field, form } from "../form.js";

/** Another password. It ends all other sessions. */
export function password({ profile, session, signal }) {
  const made = form(
    [
      // So that password managers know whose it is.
      element("input", { type: "text", autocomplete: "username", value: profile.username, hidden: true, readonly: true, "aria-label": "Username" }),
      field("Current password", { name: "current_password", type: "password", autocomplete: "current-password", required: true }),
      field("New password", {
        name: "new_password",
        type: "password",
        hint: "At least 8 characters. All other devices are logged out.",
        autocomplete: "new-password",
        required: true,
      }),
    ],
    { action: "Change the password", signal, onsubmit: change },
  );
  async function change(values) {
    await post(`${AUTH}/users/me/password`, values, { signal });
    await session.renew(); // every token issued so far is void
    made.reset();
    return "Your password is changed, and all other devices are logged out.";
  }
  return element("section", {}, element("h2", {}, "Password"), made);
}
