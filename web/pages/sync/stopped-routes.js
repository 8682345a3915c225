/* Stopped and paused routes, with the reason and a resume, and a pause of the others. */

import { SYNC, post } from "../../api.js";
import { element, replaceChildren } from "../../dom.js";
import { confirm } from "../../parts/dialog.js";
import { clockTime, count } from "./format.js";
import { addOptions } from "./select.js";

/** `{ element, update(routes) }`. Without `mayWrite` it has no buttons, and is hidden while no route is stopped. */
export function stoppedRoutes({ mayWrite, signal }) {
  const list = element("ul.stopped-route-list", {});
  const result = element("p.status", { role: "status", tabindex: -1 });
  const note = element(
    "p.note",
    { hidden: true },
    "Their events wait, those of all other routes are applied. Correct the cause before you resume a stopped route.",
  );
  const choice = element("select", {});
  const pauseForm = element(
    "form.pause-route",
    { onsubmit: pause },
    element("label.choice", {}, element("span", {}, "Route"), choice),
    element("button", { type: "submit" }, "Pause route"),
  );
  const section = element(
    "section.stopped-routes",
    { "aria-labelledby": "sync-stopped", hidden: true },
    element("h2", { id: "sync-stopped" }, "Stopped and paused routes"),
    note,
    result,
    list,
    mayWrite && pauseForm,
  );
  let shown = "";

  function update(routes) {
    const stopped = routes.filter(({ stops }) => stops.length > 0);
    section.hidden = stopped.length === 0 && result.textContent === "" && !mayWrite;
    note.hidden = stopped.length === 0;
    addOptions(choice, routes.map(({ name }) => name));
    // An unchanged list stays, so that the focus stays.
    const now = JSON.stringify(stopped.map(({ name, stops }) => [name, stops]));
    if (now === shown) return;
    shown = now;
    replaceChildren(list, stopped.map((route) => listItem(route, { mayWrite, resume, skip })));
  }

  async function resume(name, body) {
    try {
      await post(`${SYNC}/routes/${encodeURIComponent(name)}/resume`, body, { signal });
      replaceChildren(result, `Route ${name} is resumed. It stops again if a cause is not corrected.`);
    } catch (error) {
      if (signal.aborted) return;
      replaceChildren(result, `Route ${name} is not resumed. ${error.message}`);
    }
    result.focus();
  }

  async function pause(event) {
    event.preventDefault();
    const name = choice.value;
    if (!name) return;
    replaceChildren(result, `Route ${name} is being paused.`);
    try {
      await post(`${SYNC}/routes/${encodeURIComponent(name)}/pause`, undefined, { signal });
      replaceChildren(result, `Route ${name} is paused: none of its events is applied.`);
    } catch (error) {
      if (signal.aborted) return;
      replaceChildren(result, error.message);
    }
    result.focus();
  }

  async function skip(name, stops) {
    const text = "The copy lacks the change until you compare and repair it. Until then the route is in doubt.";
    if (!(await confirm(`Skip ${stops.length === 1 ? "the event" : "the events"} at which ${name} stopped?`, text, "Skip", { signal }))) return;
    await resume(name, { skip_to: stops.map(({ partition, next_offset: offset }) => ({ partition, offset: offset + 1 })) });
  }

  return { element: section, update };
}

function listItem({ name, stops }, { mayWrite, resume, skip }) {
  const atEvents = stops.filter(({ partition }) => partition !== null);
  return element(
    "li.card.stopped-route",
    {},
    element("p.head", {}, clockTime(stops[0].stopped_at), element("strong", {}, name)),
    stops.map(({ reason, partition, next_offset: offset }) => [
      element("p.reason", {}, reason),
      partition !== null && element("p.detail", {}, `Partition ${partition} waits at offset ${count(offset)}.`),
    ]),
    mayWrite && element(
      "div.actions",
      {},
      element("button", { type: "button", "aria-label": `Resume ${name}`, onclick: () => resume(name) }, "Resume"),
      atEvents.length > 0 &&
        element(
          "button",
          { type: "button", "aria-label": `Skip the event and resume ${name}`, onclick: () => skip(name, atEvents) },
          "Skip the event and resume",
        ),
    ),
  );
}
