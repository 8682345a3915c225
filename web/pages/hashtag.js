/* Tweets with a hashtag. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { newTweet } from "../parts/composer.js";
import { timeline } from "../parts/timeline.js";
import { toast } from "../parts/toast.js";

export default async function page({ params: { tag }, session, signal }) {
  const hashtag = tag.replace(/^[#＃]/, "");
  const list = await timeline(`${TWEETS}/tweets`, {
    query: { hashtag },
    live: { hashtag },
    empty: `Nobody has used #${hashtag} yet.`,
    signal,
  });
  return element(
    "section",
    {},
    element("h1", {}, `#${hashtag}`),
    // Whether it belongs here is up to what was written: the stream says so.
    session.user && newTweet({ onposted: () => toast("Posted."), text: `#${hashtag} ` }),
    list,
  );
}
