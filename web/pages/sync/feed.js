/* The live feed of change events. */

import { SYNC } from "../../api.js";
import { element, replaceChildren } from "../../dom.js";
import { listen } from "../../live.js";
import { plural } from "../../text.js";
import { labeledSelect } from "./select.js";
import { eventItem } from "./event.js";

const SHOWN = 60;
// Rows to remember, because updates of MongoDB have no previous document.
const REMEMBERED = 500;
const OPERATIONS = ["create", "update", "delete", "read"];
const STATES = {
  connecting: "Connecting …",
  open: "Connected.",
  waiting: "Disconnected. Reconnecting …",
  refused: "Permission denied.",
};

/** `{ element, addOptions(names) }`, with the names of routes. Listens until `signal` aborts. */
export function feed({ signal }) {
  const list = element("ol.events", {});
  const state = element("span", { role: "status" });
  const number = element("span.count", {});
  const route = labeledSelect("Route", "all routes", { onchange: changeFilter });
  const operation = labeledSelect("Operation", "all operations", { names: OPERATIONS, onchange: changeFilter });
  const pause = element("button", { type: "button", "aria-pressed": "false", onclick: togglePause }, "Pause");
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
    showState("connecting");
    const query = new URLSearchParams();
    if (route.selected() !== null) query.set("route", route.selected());
    if (operation.selected() !== null) query.set("operation", operation.selected());
    listen(`${SYNC}/events?${query}`, { onEvent: ({ data }) => add(data), onState: showState, signal: current });
  }

  function add(event) {
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
      ? `${plural(held, "new event")}${missed > 0 ? `; the latest ${SHOWN} are kept` : ""}.`
      : list.children.length === 0
        ? "No events yet: write a tweet."
        : `The latest ${plural(list.children.length, "event")}, ${SHOWN} at most.`;
  }

  function togglePause() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    show();
  }

  function changeFilter() {
    replaceChildren(list);
    waiting = [];
    missed = 0;
    show();
    connect();
  }

  function showState(name) {
    state.textContent = STATES[name];
  }

  connect();
  show();
  return {
    addOptions: route.addOptions,
    element: element(
      "section.feed",
      { "aria-labelledby": "sync-feed" },
      element("h2", { id: "sync-feed" }, "Change events"),
      element(
        "p.note",
        {},
        "New change events that Debezium reads from the databases’ logs. MySQL’s log has the row before and after a change. ",
        "MongoDB’s change stream has only the new document, so the previous one is shown only if this page has received it. ",
        "Personal fields are hidden unless you may read users.",
      ),
      element("div.bar", {}, route.element, operation.element, pause),
      // The count is outside of the live region, so that screen readers don't read it out with each event.
      element("p.status", {}, state, " ", number),
      element("div.scroll.window", { tabindex: 0, role: "region", "aria-label": "Change events, newest first" }, list),
    ),
  };
}

/** The previous row of an event, for `eventItem`. Stores the new row in `rows`. */
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
