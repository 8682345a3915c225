/* Rate and latency of every route, as they have been while this page is open. */

import { element, fill } from "../../dom.js";
import { chart } from "./chart.js";
import { milliseconds, perSecond } from "./words.js";

const SHOWN_SECONDS = 300;
// Looks that are further apart than this, of a page that was hidden, make no rate.
const LONGEST_GAP_SECONDS = 15;

/**
 * Events a second by route, from one look at the pipeline to the next: `rates(routes, at)` with `at` in milliseconds.
 *
 * `done` of a route is the whole consumer group's, so that it does not matter which process answers. A rate is null if
 * it can't be told: at the first look, or if the topic was made anew in between.
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

/** An element, and `add(at, rates, status)`; `status` is the answer of /v1/status, or null. */
export function charts() {
  const made = element("div.charts", {});
  const cards = new Map();
  function add(at, rates, status) {
    const routes = status?.routes ?? [];
    for (const { name } of routes.filter((route) => !cards.has(route.name))) {
      cards.set(name, card(name));
      fill(made, [...cards.values()].map((each) => each.element));
    }
    for (const [name, each] of cards) {
      each.add(at, rates.get(name) ?? null, routes.find((route) => route.name === name));
    }
  }
  return { element: made, add };
}

function card(name) {
  const options = { seconds: SHOWN_SECONDS };
  const rate = chart(`${name}: events a second`, [{ name: "rate", format: perSecond }], options);
  const latency = chart(
    `${name}: latency`,
    [
      { name: "median", format: milliseconds },
      { name: "95 of 100 within", format: milliseconds },
    ],
    options,
  );
  let lastEventAt = null;
  function add(at, events, route) {
    rate.add(at, [events]);
    // Latencies are of the latest events: without new ones there is nothing to draw.
    const isNew = route !== undefined && route.last_event_at !== null && route.last_event_at !== lastEventAt;
    lastEventAt = route?.last_event_at ?? lastEventAt;
    latency.add(at, isNew ? [route.latency_ms.p50, route.latency_ms.p95] : [null, null]);
  }
  return { element: element("section.card", { "aria-label": name }, element("h3", {}, name), rate.element, latency.element), add };
}
