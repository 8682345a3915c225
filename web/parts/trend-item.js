import { element } from "../dom.js";
import { counted } from "../text.js";

/** A hashtag of a list, with how often it was used. */
export function trendItem({ hashtag, tweets }) {
  const link = element("a", { href: `/hashtags/${encodeURIComponent(hashtag)}` }, `#${hashtag}`);
  return element("li", {}, link, element("span.count", {}, counted(tweets, "tweet")));
}
