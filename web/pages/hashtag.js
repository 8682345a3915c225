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
    empty: `No tweets with #${hashtag} yet.`,
    signal,
  });
  return element(
    "section",
    {},
    element("h1", {}, `#${hashtag}`),
    // The stream adds the tweet only if its text has the hashtag.
    session.user && newTweet({ onposted: () => toast("Posted."), text: `#${hashtag} ` }),
    list,
  );
}
