import { element } from "../dom.js";
import { plural } from "../text.js";

/** A hashtag with its number of tweets. */
export function trendItem({ hashtag, tweets }) {
  const link = element("a", { href: `/hashtags/${encodeURIComponent(hashtag)}` }, `#${hashtag}`);
  return element("li", {}, link, element("span.count", {}, plural(tweets, "tweet")));
}
