/* Dead letters, with retry and discard for users who may write. */

import { SYNC, get, post } from "../../api.js";
import { element, replaceChildren } from "../../dom.js";
import { confirm } from "../../parts/dialog.js";
import { plural } from "../../text.js";
import { labeledSelect } from "./select.js";
import { clockTime } from "./format.js";

const PAGE = 20;
const OUTCOMES = {
  applied: "applied",
  skipped: "skipped, because the row is newer",
  discarded: "discarded",
  rejected: "rejected again",
  "not-found": "not found",
  "already-resolved": "already resolved",
};

/** `{ element, update(routes) }`: reloads the list when the routes' numbers of dead letters change. */
export function deadLetters({ mayWrite, signal }) {
  const list = element("ul.dead-letter-list", {});
  const result = element("p.status", { role: "status", tabindex: -1 });
  const note = element("p.note", {}, "Loading …");
  const bulk = element("div.actions", { hidden: true });
  const route = labeledSelect("Route", "all routes", { onchange: load });
  let openCounts = null;
  let shown = "";
  let isLoading = false;
  let isStale = false;

  async function load() {
    if (isLoading) {
      isStale = true;
      return;
    }
    isLoading = true;
    isStale = false;
    try {
      const { items, next_cursor: next } = await get(`${SYNC}/dead-letters`, { query: { limit: PAGE, route: route.selected() }, signal });
      // An unchanged list stays, so that its open details stay open.
      if (JSON.stringify(items) === shown) return;
      shown = JSON.stringify(items);
      replaceChildren(list, items.map((letter) => listItem(letter, { mayWrite, resolve, signal })));
      replaceChildren(note, items.length === 0 ? "No dead letters." : next ? `The oldest ${PAGE}; there are more.` : null);
      bulk.hidden = !mayWrite || items.length < 2;
      const ids = items.map(({ id }) => id);
      replaceChildren(
        bulk,
        element("button", { type: "button", onclick: () => resolveAll("retry", ids) }, `Retry these ${ids.length}`),
        element("button", { type: "button", onclick: () => resolveAll("discard", ids) }, `Discard these ${ids.length}`),
      );
    } catch (error) {
      openCounts = null;
      shown = "";
      if (!signal.aborted) replaceChildren(note, `Can’t load the dead letters. ${error.message}`);
    } finally {
      isLoading = false;
      // The selected route or the number of dead letters has changed meanwhile.
      if (isStale && !signal.aborted) load();
    }
  }

  async function resolve(action, { id }) {
    if (action === "discard" && !(await confirmDiscard(`Discard dead letter ${id}?`, signal))) return;
    await run(async () => resultText(await post(`${SYNC}/dead-letters/${id}/${action}`, undefined, { signal })));
  }

  async function resolveAll(action, ids) {
    if (action === "discard" && !(await confirmDiscard(`Discard ${ids.length} dead letters?`, signal))) return;
    await run(async () => {
      const { items } = await post(`${SYNC}/dead-letters`, { action, ids }, { signal });
      const outcomes = Map.groupBy(items, ({ outcome }) => outcome);
      return [...outcomes].map(([outcome, some]) => `${plural(some.length, "dead letter")} ${OUTCOMES[outcome]}`).join("; ");
    });
  }

  async function run(action) {
    replaceChildren(result, "Working …");
    try {
      replaceChildren(result, `${await action()}.`);
    } catch (error) {
      if (!signal.aborted) replaceChildren(result, error.message);
    }
    await load();
    // The focused button may have been removed.
    if (document.activeElement === document.body) result.focus();
  }

  function update(routes) {
    route.addOptions(routes.map(({ name }) => name));
    const counts = JSON.stringify(routes.map((each) => each.open_dead_letters));
    if (counts === openCounts) return;
    openCounts = counts;
    load();
  }

  load();
  return {
    update,
    element: element(
      "section.dead-letters",
      { "aria-labelledby": "sync-dead-letters" },
      element("h2", { id: "sync-dead-letters" }, "Dead letters"),
      element("p.note", {}, "Events that could not be applied, oldest first. All other events were applied."),
      element("div.bar", {}, route.element),
      result,
      list,
      note,
      bulk,
    ),
  };
}

function confirmDiscard(title, signal) {
  const text = "The copy stays without this change until the row changes again or a repair restores it.";
  return confirm(title, text, "Discard", { signal });
}

function resultText({ id, outcome, reason }) {
  return `Dead letter ${id} ${OUTCOMES[outcome]}${reason ? `: ${reason}` : ""}`;
}

function listItem(letter, { mayWrite, resolve, signal }) {
  const { id, route, topic, partition, offset, key, reason, stage, error, failed_at: at } = letter;
  const whole = element("div.whole", {});
  const details = element("details", {}, element("summary", {}, "Event"), whole);
  details.addEventListener("toggle", () => details.open && whole.childElementCount === 0 && open(whole, id, signal));
  const act = (action, label) =>
    element("button", { type: "button", "aria-label": `${label} ${id}`, onclick: () => resolve(action, letter) }, label);
  return element(
    "li.card.dead-letter",
    {},
    element("p.head", {}, clockTime(at), element("strong", {}, route ?? "no route"), element("code.key", {}, key ?? "no key")),
    element("p.reason", {}, reason),
    element(
      "p.detail",
      {},
      stage === "TASK_PUT" ? "The store rejected the event" : "The event could not be decoded or mapped",
      ` (${error}). Dead letter ${id} of ${topic}, partition ${partition}, offset ${offset}.`,
    ),
    details,
    mayWrite && element("div.actions", {}, act("retry", "Retry"), act("discard", "Discard")),
  );
}

async function open(whole, id, signal) {
  replaceChildren(whole, element("p", {}, "Loading …"));
  try {
    const { value, encoding, headers } = await get(`${SYNC}/dead-letters/${id}`, { signal });
    const text = value === null ? "The event was too large for the dead letters’ topic; its own topic keeps it for a week." : pretty(value, encoding);
    replaceChildren(
      whole,
      element("pre", { tabindex: 0, "aria-label": `Event of dead letter ${id}` }, text),
      element("dl.fields", {}, headers.map(({ name, value: content }) => element("div", {}, element("dt", {}, name), element("dd", {}, content)))),
    );
  } catch (error) {
    if (!signal.aborted) replaceChildren(whole, element("p", {}, error.message));
  }
}

function pretty(value, encoding) {
  if (encoding !== "utf-8") return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value; // invalid JSON may be the reason for the dead letter
  }
}
