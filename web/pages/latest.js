/* The latest tweets of all users. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { newTweet } from "../parts/composer.js";
import { timeline } from "../parts/timeline.js";

export default async function page({ session, signal }) {
  const list = await timeline(`${TWEETS}/tweets`, { live: {}, empty: "No tweets yet.", signal });
  return element(
    "section",
    {},
    element("h1", {}, "Latest"),
    session.user && newTweet({ onposted: list.add }),
    list,
  );
}
