/* A dialog for admins to edit or delete an account. */

import { AUTH, patch, remove } from "../api.js";
import { element } from "../dom.js";
import { session } from "../session.js";
import { currentPassword } from "./current-password.js";
import { dialog } from "./dialog.js";
import { changesOf, checkbox, field, form } from "./form.js";
import { toast } from "./toast.js";

export const ROLES = ["customer", "technical_worker", "senior_manager", "admin"];

export const roleLabel = (role) => role.replace("_", " ");

/** Resolves to the changed user, to "deleted", or to undefined without a change. */
export function editUser(user, signal) {
  const path = `${AUTH}/users/${user.id}`;
  const options = ROLES.map((role) => element("option", { value: role, selected: role === user.role }, roleLabel(role)));
  async function save(values, close) {
    close(await patch(path, changesOf(values, user), { signal }));
    toast(`@${user.username} saved.`);
  }
  async function erase(close) {
    if (await deleteUser(user, path, signal)) close("deleted");
  }
  return dialog(
    `Edit @${user.username}`,
    (close) => [
      form(
        [
          field("Name", { name: "name", value: user.name, autocomplete: "off", required: true, autofocus: true }),
          field("Role", { name: "role", control: element("select", {}, options) }),
          checkbox("Active (may log in)", { name: "is_active", checked: user.is_active }),
          currentPassword(session.user.username, { hint: "Yours, for another role or state." }),
        ],
        { action: "Save", signal, onsubmit: (values) => save(values, close) },
      ),
      element("hr", {}),
      element("button.danger", { type: "button", onclick: () => erase(close) }, "Delete account"),
    ],
    { signal },
  );
}

/** Resolves to whether the account was deleted. */
function deleteUser(user, path, signal) {
  const text = `This deletes the account of @${user.username} from both stores and can’t be undone. The tweets stay without a name. Enter your password to confirm.`;
  return dialog(
    "Delete this account?",
    (close) =>
      form([element("p", {}, text), currentPassword(session.user.username, { required: true, autofocus: true })], {
        action: "Delete",
        signal,
        async onsubmit(values) {
          await remove(path, { body: values });
          close(true);
          toast(`@${user.username} deleted.`);
        },
      }),
    { signal },
  );
}
