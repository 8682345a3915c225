/* Numbers, times and states as text. */

import { element } from "../../dom.js";
import { plural } from "../../text.js";

const counts = new Intl.NumberFormat("en");
const rates = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const UNKNOWN = "unknown";

export const count = (number) => counts.format(number);
export const perSecond = (number) => (number === null ? UNKNOWN : `${rates.format(number)}/s`);
export const milliseconds = (number) => (number === null ? UNKNOWN : `${rates.format(number)} ms`);

/** So many seconds in the largest fitting unit: "4 minutes". */
export function age(seconds) {
  const [length, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([each]) => seconds >= each) ?? [1, "second"];
  return plural(Math.max(0, Math.floor(seconds / length)), unit);
}

/** The time of day of a time (text or milliseconds). Its title has the date. */
export function clockTime(at) {
  const date = new Date(at);
  return element("time", { datetime: date.toISOString(), title: day.format(date) }, clock.format(date));
}

/** A state as a word with a coloured dot. `kind` is good, busy, bad or unknown. */
export function stateBadge(kind, word) {
  return element("span.state", { dataset: { kind } }, word);
}

/** Allow line breaks after the dots of a name. */
export function breakable(name) {
  return name.split(".").flatMap((part, at, parts) => (at < parts.length - 1 ? [`${part}.`, element("wbr")] : [part]));
}

/** A value of a row as JSON, shortened. */
export function value(content, longest = 200) {
  const text = JSON.stringify(content) ?? "nothing";
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
