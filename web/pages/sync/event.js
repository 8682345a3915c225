/* One change event, with what has changed. */

import { element } from "../../dom.js";
import { counted } from "../../text.js";
import { moment, value } from "./words.js";

const WORDS = { c: "create", u: "update", d: "delete", r: "read" };

/**
 * `event` is what /v1/events tells. `before` is the row before it, if anybody knows; `isRemembered` if that is not by
 * the word of the source, but by an event that this page saw before.
 */
export function eventItem(event, { before, isRemembered }) {
  if (event.op === undefined) return brokenItem(event);
  return element(
    "li.event",
    { dataset: { op: WORDS[event.op] } },
    head(event, WORDS[event.op]),
    changes(event, before, isRemembered),
  );
}

function head(event, word) {
  const key = Object.values(event.key ?? {}).map((each) => value(each, 80).replace(/^"|"$/g, ""));
  return element(
    "p.head",
    {},
    moment(event.source?.ts_ms ?? event.ts_ms ?? Date.now()),
    element("span.op", {}, word),
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
    element("p", {}, `This record is no change event: ${event.error}`),
  );
}

function changes({ op, after }, before, isRemembered) {
  if (op === "d") return before ? fields(before, "was") : element("p.note", {}, "What was there before is not told.");
  if (op !== "u") return fields(after, "is");
  if (!before) return [element("p.note", {}, "What was there before is not told: this is all of the row."), fields(after, "is")];
  const names = Object.keys({ ...before, ...after });
  const isSame = (name) => JSON.stringify(before[name]) === JSON.stringify(after[name]);
  const same = names.filter(isSame);
  return [
    isRemembered && element("p.note", {}, "What was there before is by an earlier event on this page."),
    element("dl.fields", {}, names.filter((name) => !isSame(name)).map((name) => changed(name, before[name], after[name]))),
    same.length > 0 && more(`${counted(same.length, "field")} unchanged`, Object.fromEntries(same.map((name) => [name, after[name]]))),
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
