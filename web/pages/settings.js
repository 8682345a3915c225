/* The user's own account. */

import { AUTH, get } from "../api.js";
import { element } from "../dom.js";
import { account } from "../parts/settings/account.js";
import { data } from "../parts/settings/data.js";
import { email } from "../parts/settings/email.js";
import { password } from "../parts/settings/password.js";
import { sessions } from "../parts/settings/sessions.js";

export default async function page({ session, signal }) {
  const profile = await get(`${AUTH}/users/me`, { signal });
  const context = { profile, session, signal };
  return element(
    "section.settings",
    {},
    element("h1", {}, "Settings"),
    account(context),
    email(context),
    password(context),
    await sessions(context),
    data(context),
  );
}
