/* The pipeline from each store to the other, with the state of every part. */

import { element, replaceChildren } from "../../dom.js";
import { lanes } from "./model.js";
import { breakable, perSecond, stateBadge } from "./format.js";

/**
 * `{ element, update(state, rates) }`: `update` shows a state (model.js); `rates` are events per second by route, null if
 * unknown.
 */
export function diagram() {
  const container = element("div.pipeline", { role: "group", "aria-label": "Pipeline" });
  let shown = "";
  function update(state, rates) {
    const current = lanes(state).map((lane) => ({ ...lane, rate: total(lane.routes.map((name) => rates.get(name) ?? null)) }));
    // An unchanged diagram stays, so that screen readers keep their position and selections last.
    const now = JSON.stringify(current);
    if (now === shown) return;
    shown = now;
    replaceChildren(container, current.map(laneElements));
  }
  return { element: container, update };
}

function laneElements({ store, target, lag, rate, connectors, topics, sync }) {
  return [
    node("store", store.title, [store]),
    element(
      "ol.lane",
      { "aria-label": `From ${store.title} to ${target}` },
      edge(`log of ${store.title}`),
      stage("Debezium", connectors),
      edge("events"),
      stage("Kafka", topics),
      edge(lag === null ? "lag unknown" : `lag ${lag}`, lag > 0 ? "busy" : null),
      stage("sync", sync),
      edge(rate === null ? `to ${target}` : `${perSecond(rate)} to ${target}`),
    ),
  ];
}

function edge(text, kind = null) {
  return element("li.edge", { dataset: kind === null ? {} : { kind } }, element("span", {}, text));
}

function stage(name, parts) {
  return element("li.stage", {}, node("", name, parts));
}

function node(kind, name, parts) {
  const isAlone = parts.length === 1 && parts[0].title === name;
  return element(
    "div.node",
    { class: kind, dataset: { kind: worst(parts) } },
    element("h3", {}, name),
    parts.length === 0 && stateBadge("unknown", "No routes"),
    parts.map((part) =>
      element(
        "div.part",
        {},
        !isAlone && element("span.name", {}, breakable(part.title)),
        stateBadge(part.kind, part.word),
        part.details.map((text) => element("span.detail", {}, text)),
      ),
    ),
  );
}

function worst(parts) {
  return ["bad", "unknown", "busy"].find((kind) => parts.some((part) => part.kind === kind)) ?? "good";
}

function total(rates) {
  const known = rates.filter((rate) => rate !== null);
  return known.length === 0 ? null : known.reduce((sum, rate) => sum + rate, 0);
}
