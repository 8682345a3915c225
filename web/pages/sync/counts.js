/* The numbers of rows in both stores. */

import { SYNC, get } from "../../api.js";
import { element, replaceChildren } from "../../dom.js";
import { plural } from "../../text.js";
import { poll } from "./polling.js";
import { clockTime, count, stateBadge } from "./format.js";

const POLL_SECONDS = 10;

/** An element that updates itself until `signal` aborts. */
export function counts({ signal }) {
  const body = element("tbody", {});
  const note = element("p.note", {}, "Counting …");
  async function update() {
    try {
      const { counted_at: at, routes } = await get(`${SYNC}/counts`, { signal });
      replaceChildren(body, routes.map(row));
      replaceChildren(note, "Counted at ", clockTime(at), ". Events in transit cause short differences.");
    } catch (error) {
      if (!signal.aborted) replaceChildren(note, `Can’t count the rows. ${error.message}`);
    }
  }
  poll(update, { seconds: POLL_SECONDS, signal });
  return element(
    "section.counts",
    { "aria-labelledby": "sync-counts" },
    element("h2", { id: "sync-counts" }, "Rows in both stores"),
    element(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": "Rows by route" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ["Route", "Source", "Copy", "State"].map((text) => element("th", { scope: "col" }, text)))),
        body,
      ),
    ),
    note,
  );
}

function row({ route, source, copy, difference }) {
  return element(
    "tr",
    { dataset: { route } },
    element("th", { scope: "row" }, route),
    element("td", {}, side(source)),
    element("td", {}, side(copy)),
    element("td", {}, stateOf(difference)),
  );
}

function side(known) {
  if (known === null) return "Unknown: the topic does not name it";
  const rows = known.rows === null ? "Unknown" : `${known.exactness === "estimate" ? "about " : ""}${count(known.rows)}`;
  return [
    element("span.number", {}, rows),
    element("span.detail", {}, known.name),
    known.reason && element("span.detail", {}, known.reason),
  ];
}

function stateOf(difference) {
  if (difference === null) return stateBadge("unknown", "Unknown");
  if (difference === 0) return stateBadge("good", "In sync");
  return stateBadge("busy", `${plural(Math.abs(difference), "row")} ${difference > 0 ? "fewer" : "more"} in the copy`);
}
