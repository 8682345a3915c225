/* The sidebar of wide screens: search and today's hashtags. */

import { TWEETS, get } from "../api.js";
import { element, replaceChildren } from "../dom.js";
import { searchForm } from "./search-form.js";
import { trendItem } from "./trend-item.js";

export function aside() {
  const trends = element("ol.trends", {});
  const section = element("section", { hidden: true }, element("h2", {}, "Today’s hashtags"), trends);
  get(`${TWEETS}/trends`, { query: { window: "24h" } }).then(
    ({ items }) => {
      section.hidden = items.length === 0;
      replaceChildren(trends, items.slice(0, 8).map(trendItem));
    },
    () => {}, // optional content; the page itself shows errors
  );
  return [searchForm(), section];
}
