/* What stands beside every page on a wide screen: search and the day's hashtags. */

import { TWEETS, get } from "../api.js";
import { element, fill } from "../dom.js";
import { searchForm } from "./search-form.js";
import { trendItem } from "./trend-item.js";

export function aside() {
  const trends = element("ol.trends", {});
  const section = element("section", { hidden: true }, element("h2", {}, "Today’s hashtags"), trends);
  get(`${TWEETS}/trends`, { query: { window: "24h" } }).then(
    ({ items }) => {
      section.hidden = items.length === 0;
      fill(trends, items.slice(0, 8).map(trendItem));
    },
    () => {}, // it is only an extra: the page itself says what does not answer
  );
  return [searchForm(), section];
}
