/* Events that could not be applied, and what to do about them. */

import { SYNC, get, post } from "../../api.js";
import { element, fill } from "../../dom.js";
import { confirmed } from "../../parts/dialog.js";
import { counted } from "../../text.js";
import { choice } from "./choice.js";
import { moment } from "./words.js";

const PAGE = 20;
const OUTCOMES = {
  applied: "was applied",
  skipped: "changes nothing: the row is newer",
  discarded: "was discarded",
  rejected: "was rejected again",
  "not-found": "is not there any more",
  "already-resolved": "was done with by somebody else",
};

/** An element, and `expect(routes)`, which says what is known of the routes: it asks anew when there are more or fewer. */
export function letters({ signal }) {
  const list = element("ul.letters", {});
  const result = element("p.status", { role: "status", tabindex: -1 });
  const note = element("p.note", {}, "Reading …");
  const bulk = element("div.actions", { hidden: true });
  const route = choice("Route", "all routes", { onchange: read });
  let expected = null;
  let shown = "";
  let isReading = false;
  let isStale = false;

  async function read() {
    if (isReading) {
      isStale = true;
      return;
    }
    isReading = true;
    isStale = false;
    try {
      const { items, next_cursor: next } = await get(`${SYNC}/dead-letters`, { query: { limit: PAGE, route: route.chosen() }, signal });
      // Who reads one of them keeps it open.
      if (JSON.stringify(items) === shown) return;
      shown = JSON.stringify(items);
      fill(list, items.map((letter) => letterItem(letter, { settle, signal })));
      fill(note, items.length === 0 ? "None: every event could be applied." : next ? `The oldest ${PAGE}; there are more.` : null);
      bulk.hidden = items.length < 2;
      const ids = items.map(({ id }) => id);
      fill(
        bulk,
        element("button", { type: "button", onclick: () => settleAll("retry", ids) }, `Retry these ${ids.length}`),
        element("button", { type: "button", onclick: () => settleAll("discard", ids) }, `Discard these ${ids.length}`),
      );
    } catch (error) {
      expected = null;
      shown = "";
      if (!signal.aborted) fill(note, `They can’t be read at the moment. ${error.message}`);
    } finally {
      isReading = false;
      // Another route has been chosen meanwhile, or the number has changed.
      if (isStale && !signal.aborted) read();
    }
  }

  async function settle(action, { id }) {
    if (action === "discard" && !(await sure(`Discard the event ${id}?`, signal))) return;
    await attempt(async () => told(await post(`${SYNC}/dead-letters/${id}/${action}`, undefined, { signal })));
  }

  async function settleAll(action, ids) {
    if (action === "discard" && !(await sure(`Discard ${ids.length} events?`, signal))) return;
    await attempt(async () => {
      const { items } = await post(`${SYNC}/dead-letters`, { action, ids }, { signal });
      const outcomes = Map.groupBy(items, ({ outcome }) => outcome);
      return [...outcomes].map(([outcome, some]) => `${counted(some.length, "event")} ${plural(OUTCOMES[outcome], some.length)}`).join("; ");
    });
  }

  async function attempt(work) {
    fill(result, "At work …");
    try {
      fill(result, `${await work()}.`);
    } catch (error) {
      if (!signal.aborted) fill(result, error.message);
    }
    await read();
    // The button that had the focus may be gone.
    if (document.activeElement === document.body) result.focus();
  }

  function expect(routes) {
    route.offer(routes.map(({ name }) => name));
    const open = JSON.stringify(routes.map((each) => each.open_dead_letters));
    if (open === expected) return;
    expected = open;
    read();
  }

  read();
  return {
    expect,
    element: element(
      "section.dead-letters",
      { "aria-labelledby": "sync-letters" },
      element("h2", { id: "sync-letters" }, "Dead letters"),
      element("p.note", {}, "Events that could not be applied, the oldest first. Their neighbours were."),
      element("div.bar", {}, route.element),
      result,
      list,
      note,
      bulk,
    ),
  };
}

function sure(title, signal) {
  const text = "The copy stays without what it says, until the row changes again or a comparison mends it.";
  return confirmed(title, text, "Discard", { signal });
}

function told({ id, outcome, reason }) {
  return `The event ${id} ${OUTCOMES[outcome]}${reason ? `: ${reason}` : ""}`;
}

const plural = (text, number) => (number === 1 ? text : text.replace(/^was /, "were ").replace("changes", "change").replace(/^is /, "are "));

function letterItem(letter, { settle, signal }) {
  const { id, route, topic, partition, offset, key, reason, stage, error, failed_at: at } = letter;
  const whole = element("div.whole", {});
  const details = element("details", {}, element("summary", {}, "The event"), whole);
  details.addEventListener("toggle", () => details.open && whole.childElementCount === 0 && open(whole, id, signal));
  const act = (action, label) =>
    element("button", { type: "button", "aria-label": `${label} ${id}`, onclick: () => settle(action, letter) }, label);
  return element(
    "li.card.letter",
    { dataset: { letter: id } },
    element("p.head", {}, moment(at), element("strong", {}, route ?? "no route"), element("code.key", {}, key ?? "no key")),
    element("p.reason", {}, reason),
    element(
      "p.detail",
      {},
      stage === "TASK_PUT" ? "The store refused it" : "It could not be read or mapped",
      ` (${error}). Letter ${id}, from ${topic}, partition ${partition}, offset ${offset}.`,
    ),
    details,
    element("div.actions", {}, act("retry", "Retry"), act("discard", "Discard")),
  );
}

async function open(whole, id, signal) {
  fill(whole, element("p", {}, "Reading …"));
  try {
    const { value, encoding, headers } = await get(`${SYNC}/dead-letters/${id}`, { signal });
    const text = value === null ? "It was too large for the dead letters; its own topic has it for a week." : pretty(value, encoding);
    fill(
      whole,
      element("pre", { tabindex: 0, "aria-label": `The event ${id}` }, text),
      element("dl.fields", {}, headers.map(({ name, value: content }) => element("div", {}, element("dt", {}, name), element("dd", {}, content)))),
    );
  } catch (error) {
    if (!signal.aborted) fill(whole, element("p", {}, error.message));
  }
}

function pretty(value, encoding) {
  if (encoding !== "utf-8") return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value; // that it is no JSON may be why it is here
  }
}
