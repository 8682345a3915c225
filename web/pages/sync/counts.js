/* How many rows both stores have, side by side. */

import { SYNC, get } from "../../api.js";
import { element, fill } from "../../dom.js";
import { counted } from "../../text.js";
import { repeating } from "./repeating.js";
import { count, moment, stateMark } from "./words.js";

const LOOK_SECONDS = 10;

/** An element that keeps itself up to date until `signal` aborts. */
export function counts({ signal }) {
  const body = element("tbody", {});
  const note = element("p.note", {}, "Counting …");
  async function look() {
    try {
      const { counted_at: at, routes } = await get(`${SYNC}/counts`, { signal });
      fill(body, routes.map(row));
      fill(note, "Counted at ", moment(at), ". While people write, what is on its way makes a difference for a moment.");
    } catch (error) {
      if (!signal.aborted) fill(note, `They can’t be counted at the moment. ${error.message}`);
    }
  }
  repeating(look, { seconds: LOOK_SECONDS, signal });
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
        element("thead", {}, element("tr", {}, ["Route", "Source", "Copy", "Agreement"].map((text) => element("th", { scope: "col" }, text)))),
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
    element("td", {}, agreement(difference)),
  );
}

function side(known) {
  if (known === null) return "unknown: the topic does not name it";
  const rows = known.rows === null ? "unknown" : `${known.exactness === "estimate" ? "about " : ""}${count(known.rows)}`;
  return [
    element("span.number", {}, rows),
    element("span.detail", {}, known.name),
    known.reason && element("span.detail", {}, known.reason),
  ];
}

function agreement(difference) {
  if (difference === null) return stateMark("unknown", "not known");
  if (difference === 0) return stateMark("good", "the same");
  return stateMark("busy", `${counted(Math.abs(difference), "row")} ${difference > 0 ? "fewer" : "more"} in the copy`);
}
