/* The state of the sync, for users with `sync:read`. Those with `sync:write` have buttons that change it. */

import { SYNC, get } from "../api.js";
import { element, announce } from "../dom.js";
import { charts, rateMeter } from "./sync/charts.js";
import { counts } from "./sync/counts.js";
import { diagram } from "./sync/diagram.js";
import { feed } from "./sync/feed.js";
import { deadLetters } from "./sync/dead-letters.js";
import { summary, withoutResponse } from "./sync/model.js";
import { reconcile } from "./sync/reconcile.js";
import { stoppedRoutes } from "./sync/stopped-routes.js";
import { poll } from "./sync/polling.js";
import { stateBadge } from "./sync/format.js";

const POLL_SECONDS = 2;
const LABELS = { good: "Healthy", busy: "Catching up", bad: "Unhealthy" };

export default async function page({ session, signal }) {
  const mayWrite = session.may("sync:write");
  const rates = rateMeter();
  const summaryLine = element("p.summary", { role: "status" });
  const parts = {
    diagram: diagram(),
    stoppedRoutes: stoppedRoutes({ mayWrite, signal }),
    charts: charts(),
    feed: feed({ signal }),
    deadLetters: deadLetters({ mayWrite, signal }),
    reconcile: reconcile({ mayWrite, signal }),
  };
  let known = null;

  async function update() {
    const [pipeline, status] = await Promise.allSettled([get(`${SYNC}/pipeline`, { signal }), get(`${SYNC}/status`, { signal })]);
    if (signal.aborted) return;
    const state = pipeline.status === "fulfilled" ? pipeline.value : withoutResponse(pipeline.reason.message, known);
    if (pipeline.status === "fulfilled") known = pipeline.value;
    const current = known === state ? rates(state.routes, Date.parse(state.observed_at)) : new Map();
    const { kind, text } = summary(state);
    announce(summaryLine, stateBadge(kind, LABELS[kind]), " ", text);
    parts.diagram.update(state, current);
    parts.charts.add(Date.now(), current, status.value ?? null);
    if (known === state) noteRoutes(state);
  }

  function noteRoutes({ routes }) {
    const names = routes.map((route) => route.name);
    parts.feed.addOptions(names);
    parts.reconcile.addOptions(names);
    parts.deadLetters.update(routes);
    parts.stoppedRoutes.update(routes);
  }

  poll(update, { seconds: POLL_SECONDS, signal });
  return element(
    "section.wide.sync",
    {},
    element("h1", {}, "Sync"),
    element("p.lead", {}, "Each store has a live copy of the other’s public data. This page shows the pipeline between them."),
    summaryLine,
    parts.stoppedRoutes.element,
    element("section", { "aria-labelledby": "sync-pipeline" }, element("h2", { id: "sync-pipeline" }, "Pipeline"), parts.diagram.element),
    element(
      "section",
      { "aria-labelledby": "sync-charts" },
      element("h2", { id: "sync-charts" }, "Rate and latency"),
      element(
        "p.note",
        {},
        "The last five minutes, while this page is open. The rate is the sum of all sync-service processes. The latency, ",
        "from the commit in the source to the commit in the copy, is of the latest events of the process that responds.",
      ),
      parts.charts.element,
    ),
    parts.feed.element,
    element("div.pair", {}, counts({ signal }), parts.reconcile.element),
    parts.deadLetters.element,
  );
}
