/* A dialog in which an admin changes or deletes an account. */

import { AUTH, patch, remove } from "../api.js";
import { element } from "../dom.js";
import { confirmed, dialog } from "./dialog.js";
import { changesOf, checkbox, field, form } from "./form.js";
import { toast } from "./toast.js";

export const ROLES = ["customer", "technical_worker", "senior_manager", "admin"];

export const roleWords = (role) => role.replace("_", " ");

/** Resolves to the changed user, to "deleted", or to undefined if nothing happened. */
export function editUser(user, signal) {
  const path = `${AUTH}/users/${user.id}`;
  const options = ROLES.map((role) => element("option", { value: role, selected: role === user.role }, roleWords(role)));
  async function save(values, close) {
    close(await patch(path, changesOf(values, user), { signal }));
    toast(`@${user.username} is changed.`);
  }
  async function erase(close) {
    const text = `The account of @${user.username} goes for good, from both stores. The tweets stay without a name.`;
    if (!(await confirmed("Delete this account?", text, "Delete", { signal }))) return;
    try {
      await remove(path);
      close("deleted");
      toast(`@${user.username} is deleted.`);
    } catch (error) {
      toast(error.message);
    }
  }
  return dialog(
    `Change @${user.username}`,
    (close) => [
      form(
        [
          field("Name", { name: "name", value: user.name, autocomplete: "off", required: true, autofocus: true }),
          field("Role", { name: "role", control: element("select", {}, options) }),
          checkbox("Active: may log in", { name: "is_active", checked: user.is_active }),
        ],
        { action: "Save", signal, onsubmit: (values) => save(values, close) },
      ),
      element("hr", {}),
      element("button.danger", { type: "button", onclick: () => erase(close) }, "Delete the account"),
    ],
    { signal },
  );
}
