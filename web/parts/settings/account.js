import { AUTH, patch } from "../../api.js";
import { element } from "../../dom.js";
import { changesOf, field, form } from "../form.js";

/** Name and username. */
export function account({ profile, session, signal }) {
  async function save(values) {
    Object.assign(profile, await patch(`${AUTH}/users/me`, changesOf(values, profile), { signal }));
    await session.renew(); // the token contains the names
    return "Saved.";
  }
  return element(
    "section",
    {},
    element("h2", {}, "Profile"),
    form(
      [
        field("Name", { name: "name", value: profile.name, autocomplete: "name", required: true }),
        field("Username", { name: "username", value: profile.username, autocomplete: "username", autocapitalize: "none", required: true }),
      ],
      { action: "Save profile", signal, onsubmit: save },
    ),
  );
}
