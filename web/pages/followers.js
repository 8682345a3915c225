/* The followers of a user. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { userList } from "../parts/user-list.js";
import { profileHead } from "../parts/profile-head.js";

export default async function page({ params: { username }, signal }) {
  const path = `${TWEETS}/users/${encodeURIComponent(username)}/followers`;
  const [head, list] = await Promise.all([
    profileHead(username, { tab: "followers", signal }),
    userList(path, { empty: `@${username} has no followers yet.`, signal }),
  ]);
  return element("section", {}, head, list);
}
