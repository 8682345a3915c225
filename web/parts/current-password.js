/* The field that confirms a sensitive action. */

import { element } from "../dom.js";
import { field } from "./form.js";

/** The elements for the password of the user who is logged in. `attributes` are those of `field`. */
export const currentPassword = (username, attributes = {}) => [
  // For password managers.
  element("input", { type: "text", autocomplete: "username", value: username, hidden: true, readonly: true, "aria-label": "Username" }),
  field("Current password", { name: "current_password", type: "password", autocomplete: "current-password", ...attributes }),
];
