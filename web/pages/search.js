/* The search for tweets. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { searchForm } from "../parts/search-form.js";
import { timeline } from "../parts/timeline.js";

export default async function page({ query, signal }) {
  const q = query.get("q")?.trim() ?? "";
  const found = q && (await timeline(`${TWEETS}/search`, { query: { q }, empty: `No tweets match “${q}”.`, signal }));
  return element(
    "section",
    {},
    element("h1", {}, q ? `Search: ${q}` : "Search"),
    searchForm(q),
    found || element("p.hint", {}, "A match has all words; \"quotes\" search for a phrase."),
  );
}
