/* The users that a user follows. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { userList } from "../parts/user-list.js";
import { profileHead } from "../parts/profile-head.js";

export default async function page({ params: { username }, signal }) {
  const path = `${TWEETS}/users/${encodeURIComponent(username)}/following`;
  const [head, list] = await Promise.all([
    profileHead(username, { tab: "following", signal }),
    userList(path, { empty: `@${username} does not follow any users yet.`, signal }),
  ]);
  return element("section", {}, head, list);
}
