/* A user's profile and tweets. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { profileHead } from "../parts/profile-head.js";
import { timeline } from "../parts/timeline.js";

export default async function page({ params: { username }, signal }) {
  const [head, list] = await Promise.all([
    profileHead(username, { tab: "", signal }),
    timeline(`${TWEETS}/users/${encodeURIComponent(username)}/tweets`, {
      live: { author: username },
      empty: `@${username} has no tweets yet.`,
      signal,
    }),
  ]);
  return element("section", {}, head, list);
}
