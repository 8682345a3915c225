import { element } from "../dom.js";
import { navigate } from "../navigation.js";
import { icon } from "./icons.js";

/** The search form, with the current query. */
export function searchForm(query = "") {
  const input = element("input", {
    type: "search",
    name: "q",
    value: query,
    "aria-label": "Search tweets",
    placeholder: "Search tweets",
    maxlength: 280,
  });
  function search(event) {
    event.preventDefault();
    const q = input.value.trim();
    if (q) navigate(`/search?${new URLSearchParams({ q })}`);
  }
  const button = element("button", { type: "submit", "aria-label": "Search" }, icon("search"));
  return element("form.search", { role: "search", onsubmit: search }, input, button);
}
