/* Charts of rate and latency of every route, since the page was opened. */

import { element, replaceChildren } from "../../dom.js";
import { chart } from "./chart.js";
import { milliseconds, perSecond } from "./format.js";

const SHOWN_SECONDS = 300;
// Samples that are further apart, because the page was hidden, give no rate.
const LONGEST_GAP_SECONDS = 15;

/**
 * Events per second by route, between two samples of the pipeline: `rates(routes, at)` with `at` in milliseconds.
 *
 * `done` of a route counts the whole consumer group, so any process may respond. A rate is null if it is unknown: at the
 * first sample, or if the topic was created again in between.
 */
export function rateMeter() {
  let before = { at: 0, done: new Map() };
  let latest = new Map();
  return function rates(routes, at) {
    if (at === before.at) return latest;
    const seconds = (at - before.at) / 1000;
    latest = new Map(
      routes.map(({ name, done }) => {
        const events = done === null || !before.done.has(name) ? null : done - before.done.get(name);
        return [name, events === null || events < 0 || seconds > LONGEST_GAP_SECONDS ? null : events / seconds];
      }),
    );
    before = { at, done: new Map(routes.filter(({ done }) => done !== null).map(({ name, done }) => [name, done])) };
    return latest;
  };
}

/** `{ element, add(at, rates, status) }`; `status` is the response of /v1/status, or null. */
export function charts() {
  const container = element("div.charts", {});
  const cards = new Map();
  function add(at, rates, status) {
    const routes = status?.routes ?? [];
    for (const { name } of routes.filter((route) => !cards.has(route.name))) {
      cards.set(name, card(name));
      replaceChildren(container, [...cards.values()].map((each) => each.element));
    }
    for (const [name, each] of cards) {
      each.add(at, rates.get(name) ?? null, routes.find((route) => route.name === name));
    }
  }
  return { element: container, add };
}

function card(name) {
  const options = { seconds: SHOWN_SECONDS };
  const rate = chart(`${name}: events per second`, [{ name: "rate", format: perSecond }], options);
  const latency = chart(
    `${name}: latency`,
    [
      { name: "median", format: milliseconds },
      { name: "95th percentile", format: milliseconds },
    ],
    options,
  );
  let lastEventAt = null;
  function add(at, events, route) {
    rate.add(at, [events]);
    // Latencies are of the latest events: without new events there is no new sample.
    const isNew = route !== undefined && route.last_event_at !== null && route.last_event_at !== lastEventAt;
    lastEventAt = route?.last_event_at ?? lastEventAt;
    latency.add(at, isNew ? [route.latency_ms.p50, route.latency_ms.p95] : [null, null]);
  }
  return { element: element("section.card", { "aria-label": name }, element("h3", {}, name), rate.element, latency.element), add };
}
