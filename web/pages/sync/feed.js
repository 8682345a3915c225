/* Change events as they pass. */

import { SYNC } from "../../api.js";
import { element, fill } from "../../dom.js";
import { listen } from "../../live.js";
import { counted } from "../../text.js";
import { choice } from "./choice.js";
import { eventItem } from "./event.js";

const SHOWN = 60;
// Rows that are remembered, to say what an update of MongoDB's has changed.
const REMEMBERED = 500;
const OPERATIONS = ["create", "update", "delete", "read"];
const STATES = {
  connecting: "Connecting …",
  open: "Listening.",
  waiting: "Not connected. Trying again …",
  refused: "The service refuses to tell you.",
};

/** An element, and `offer(names)` to say which routes there are. Listens until `signal` aborts. */
export function feed({ signal }) {
  const list = element("ol.events", {});
  const state = element("span", { role: "status" });
  const number = element("span.count", {});
  const route = choice("Route", "all routes", { onchange: changeFilter });
  const operation = choice("Operation", "all operations", { names: OPERATIONS, onchange: changeFilter });
  const pause = element("button", { type: "button", "aria-pressed": "false", onclick: turn }, "Pause");
  const rows = new Map();
  let waiting = [];
  let missed = 0;
  let isPaused = false;
  let frame = 0;
  let connection = new AbortController();

  function connect() {
    connection.abort();
    connection = new AbortController();
    const current = AbortSignal.any([signal, connection.signal]);
    say("connecting");
    const query = new URLSearchParams();
    if (route.chosen() !== null) query.set("route", route.chosen());
    if (operation.chosen() !== null) query.set("operation", operation.chosen());
    listen(`${SYNC}/events?${query}`, { onEvent: ({ data }) => take(data), onState: say, signal: current });
  }

  function take(event) {
    waiting.unshift({ event, known: known(rows, event) });
    if (waiting.length > SHOWN) missed += waiting.splice(SHOWN).length;
    if (isPaused) show();
    else frame ||= requestAnimationFrame(show);
  }

  function show() {
    frame = 0;
    if (!isPaused) {
      list.prepend(...waiting.map(({ event, known: before }) => eventItem(event, before)));
      while (list.children.length > SHOWN) list.lastChild.remove();
      waiting = [];
      missed = 0;
    }
    const held = waiting.length + missed;
    number.textContent = isPaused
      ? `${counted(held, "event")} since then${missed > 0 ? `, the latest ${SHOWN} of them are kept` : ""}.`
      : list.children.length === 0
        ? "Nothing has passed yet: write a tweet."
        : `The latest ${counted(list.children.length, "event")}, ${SHOWN} at most.`;
  }

  function turn() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    show();
  }

  function changeFilter() {
    fill(list);
    waiting = [];
    missed = 0;
    show();
    connect();
  }

  function say(word) {
    state.textContent = STATES[word];
    state.dataset.state = word;
  }

  connect();
  show();
  return {
    offer: route.offer,
    element: element(
      "section.feed",
      { "aria-labelledby": "sync-feed" },
      element("h2", { id: "sync-feed" }, "Change events"),
      element(
        "p.note",
        {},
        "What Debezium reads in the databases’ logs, from now on. MySQL’s log tells the row before and after a change; ",
        "MongoDB’s change stream tells only what the document is afterwards, so what it was before is shown only if this ",
        "page has seen it.",
      ),
      element("div.bar", {}, route.element, operation.element, pause),
      // What counts on is not read out with each event.
      element("p.status", {}, state, " ", number),
      element("div.scroll.window", { tabindex: 0, role: "region", "aria-label": "Change events, the newest first" }, list),
    ),
  };
}

/** The row before an event, as `eventItem` wants it; what is there afterwards is remembered in `rows`. */
function known(rows, event) {
  if (event.op === undefined) return {};
  const key = `${event.route} ${JSON.stringify(event.key)}`;
  const remembered = rows.get(key);
  rows.delete(key);
  if (event.after) rows.set(key, event.after);
  if (rows.size > REMEMBERED) rows.delete(rows.keys().next().value);
  if (event.before) return { before: event.before, isRemembered: false };
  return { before: remembered, isRemembered: true };
}
