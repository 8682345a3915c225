/* A dialog for admins to edit or delete an account. */

import { AUTH, patch, remove } from "../api.js";
import { element } from "../dom.js";
import { confirm, dialog } from "./dialog.js";
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
    const text = `This deletes the account of @${user.username} from both stores and can’t be undone. The tweets stay without a name.`;
    if (!(await confirm("Delete this account?", text, "Delete", { signal }))) return;
    try {
      await remove(path);
      close("deleted");
      toast(`@${user.username} deleted.`);
    } catch (error) {
      toast(error.message);
    }
  }
  return dialog(
    `Edit @${user.username}`,
    (close) => [
      form(
        [
          field("Name", { name: "name", value: user.name, autocomplete: "off", required: true, autofocus: true }),
          field("Role", { name: "role", control: element("select", {}, options) }),
          checkbox("Active (may log in)", { name: "is_active", checked: user.is_active }),
        ],
        { action: "Save", signal, onsubmit: (values) => save(values, close) },
      ),
      element("hr", {}),
      element("button.danger", { type: "button", onclick: () => erase(close) }, "Delete account"),
    ],
    { signal },
  );
}
