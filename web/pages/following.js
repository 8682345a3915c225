/* Whom somebody follows. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { people } from "../parts/people.js";
import { profileHead } from "../parts/profile-head.js";

export default async function page({ params: { username }, signal }) {
  const path = `${TWEETS}/users/${encodeURIComponent(username)}/following`;
  const [head, list] = await Promise.all([
    profileHead(username, { tab: "following", signal }),
    people(path, { empty: `@${username} follows nobody yet.`, signal }),
  ]);
  return element("section", {}, head, list);
}
