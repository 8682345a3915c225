import { AUTH, post } from "../../api.js";
import { element } from "../../dom.js";
import { currentPassword } from "../current-password.js";
import { field, form } from "../form.js";

/** The change of the password, which ends all other sessions. */
export function password({ profile, session, signal }) {
  const created = form(
    [
      currentPassword(profile.username, { required: true }),
      field("New password", {
        name: "new_password",
        type: "password",
        hint: "At least 8 characters. This logs out all other devices.",
        autocomplete: "new-password",
        required: true,
      }),
    ],
    { action: "Change password", signal, onsubmit: change },
  );
  async function change(values) {
    await post(`${AUTH}/users/me/password`, values, { signal });
    await session.renew(); // all earlier tokens are revoked
    created.reset();
    return "Password changed. All other devices are logged out.";
  }
  return element("section", {}, element("h2", {}, "Password"), created);
}
