/* How the sync fares: for technical workers and admins. */

import { SYNC, get } from "../api.js";
import { element, tell } from "../dom.js";
import { charts, rateMeter } from "./sync/charts.js";
import { counts } from "./sync/counts.js";
import { diagram } from "./sync/diagram.js";
import { feed } from "./sync/feed.js";
import { letters } from "./sync/letters.js";
import { summary, withoutAnswer } from "./sync/model.js";
import { reconcile } from "./sync/reconcile.js";
import { repeating } from "./sync/repeating.js";
import { stateMark } from "./sync/words.js";

const LOOK_SECONDS = 2;
const WORDS = { good: "well", busy: "busy", bad: "trouble" };

export default async function page({ signal }) {
  const rates = rateMeter();
  const told = element("p.summary", { role: "status" });
  const parts = { diagram: diagram(), charts: charts(), feed: feed({ signal }), letters: letters({ signal }), reconcile: reconcile({ signal }) };
  let known = null;

  async function look() {
    const [pipeline, status] = await Promise.allSettled([get(`${SYNC}/pipeline`, { signal }), get(`${SYNC}/status`, { signal })]);
    if (signal.aborted) return;
    const state = pipeline.status === "fulfilled" ? pipeline.value : withoutAnswer(pipeline.reason.message, known);
    if (pipeline.status === "fulfilled") known = pipeline.value;
    const current = known === state ? rates(state.routes, Date.parse(state.observed_at)) : new Map();
    const { kind, text } = summary(state);
    tell(told, stateMark(kind, WORDS[kind]), " ", text);
    parts.diagram.update(state, current);
    parts.charts.add(Date.now(), current, status.value ?? null);
    if (known === state) noteRoutes(state);
  }

  function noteRoutes({ routes }) {
    const names = routes.map((route) => route.name);
    parts.feed.offer(names);
    parts.reconcile.offer(names);
    parts.letters.expect(routes);
  }

  repeating(look, { seconds: LOOK_SECONDS, signal });
  return element(
    "section.wide.sync",
    {},
    element("h1", {}, "Sync"),
    element("p.lead", {}, "Each store has a live copy of the other’s public data. This is how it gets there."),
    told,
    element("section", { "aria-labelledby": "sync-pipeline" }, element("h2", { id: "sync-pipeline" }, "The pipeline"), parts.diagram.element),
    element(
      "section",
      { "aria-labelledby": "sync-charts" },
      element("h2", { id: "sync-charts" }, "Rate and latency"),
      element(
        "p.note",
        {},
        "Of the last five minutes, as long as this page is open. The rate is of all processes of the service together; the ",
        "latency, from the commit in the source to the commit in the copy, is of the latest events of the one that answers.",
      ),
      parts.charts.element,
    ),
    parts.feed.element,
    element("div.pair", {}, counts({ signal }), parts.reconcile.element),
    parts.letters.element,
  );
}
