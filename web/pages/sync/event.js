/* A change event with its changed fields. */

import { element } from "../../dom.js";
import { plural } from "../../text.js";
import { clockTime, value } from "./format.js";

const OPERATIONS = { c: "create", u: "update", d: "delete", r: "read" };

/**
 * `event` is an event of /v1/events. `before` is the previous row, if known; `isRemembered` means that it is from an
 * earlier event on this page, not from the source's log.
 */
export function eventItem(event, { before, isRemembered }) {
  if (event.op === undefined) return brokenItem(event);
  return element(
    "li.event",
    { dataset: { op: OPERATIONS[event.op] } },
    head(event, OPERATIONS[event.op]),
    changes(event, before, isRemembered),
  );
}

function head(event, operation) {
  const key = Object.values(event.key ?? {}).map((each) => value(each, 80).replace(/^"|"$/g, ""));
  return element(
    "p.head",
    {},
    clockTime(event.source?.ts_ms ?? event.ts_ms ?? Date.now()),
    element("span.op", {}, operation),
    element("strong", {}, event.route),
    element("code.key", {}, key.join(" · ")),
    element("span.place", {}, `${event.partition}@${event.offset}`),
  );
}

function brokenItem(event) {
  return element(
    "li.event",
    { dataset: { op: "broken" } },
    element(
      "p.head",
      {},
      element("span.op", {}, "broken"),
      element("strong", {}, event.route ?? event.topic),
      element("span.place", {}, `${event.partition}@${event.offset}`),
    ),
    element("p", {}, `Not a change event: ${event.error}`),
  );
}

function changes({ op, after }, before, isRemembered) {
  if (op === "d") return before ? fields(before, "was") : element("p.note", {}, "The previous row is unknown.");
  if (op !== "u") return fields(after, "is");
  if (!before) return [element("p.note", {}, "The previous row is unknown: these are all fields."), fields(after, "is")];
  const names = Object.keys({ ...before, ...after });
  const isSame = (name) => JSON.stringify(before[name]) === JSON.stringify(after[name]);
  const same = names.filter(isSame);
  return [
    isRemembered && element("p.note", {}, "The previous row is from an earlier event on this page."),
    element("dl.fields", {}, names.filter((name) => !isSame(name)).map((name) => changed(name, before[name], after[name]))),
    same.length > 0 && more(`${plural(same.length, "field")} unchanged`, Object.fromEntries(same.map((name) => [name, after[name]]))),
  ];
}

function changed(name, before, after) {
  return element(
    "div.changed",
    {},
    element("dt", {}, name),
    element("dd", {}, element("del", {}, value(before)), " → ", element("ins", {}, value(after))),
  );
}

function fields(row, kind) {
  const given = Object.entries(row ?? {}).map(([name, each]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, element(kind === "was" ? "del" : "span", {}, value(each)))),
  );
  return element("dl.fields", {}, given);
}

function more(text, row) {
  return element("details", {}, element("summary", {}, text), fields(row, "is"));
}
