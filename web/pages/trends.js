/* The most used hashtags. */

import { TWEETS, get } from "../api.js";
import { element } from "../dom.js";
import { trendItem } from "../parts/trend-item.js";

const WINDOWS = { "1h": "Last hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days" };

export default async function page({ query, signal }) {
  const chosen = query.get("window") in WINDOWS ? query.get("window") : "24h";
  const { items } = await get(`${TWEETS}/trends`, { query: { window: chosen }, signal });
  const tabs = Object.entries(WINDOWS).map(([name, label]) =>
    element("a", { href: `/trends?window=${name}`, "aria-current": name === chosen ? "page" : null }, label),
  );
  return element(
    "section",
    {},
    element("h1", {}, "Trends"),
    element("nav.tabs", { "aria-label": "Period" }, tabs),
    items.length
      ? element("ol.trends.numbered", {}, items.map(trendItem))
      : element("p.empty", {}, "No hashtags in this period."),
  );
}
