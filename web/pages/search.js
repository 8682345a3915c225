/* Tweets with some words in them. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { searchForm } from "../parts/search-form.js";
import { timeline } from "../parts/timeline.js";

export default async function page({ query, signal }) {
  const q = query.get("q")?.trim() ?? "";
  const found = q && (await timeline(`${TWEETS}/search`, { query: { q }, empty: `No tweet has “${q}” in it.`, signal }));
  return element(
    "section",
    {},
    element("h1", {}, q ? `Search: ${q}` : "Search"),
    searchForm(q),
    found || element("p.hint", {}, "All of the words have to be in a tweet; those in \"quotes\" beside each other."),
  );
}
