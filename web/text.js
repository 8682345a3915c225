/* Text as the services count it: in code points, after normalisation to NFC. */

import { element } from "./dom.js";

export const MAX_CODE_POINTS = 280;

export const codePoints = (text) => [...text.normalize("NFC")].length;

/** Is there anything to see in it? */
export const isBlank = (text) => /^[\p{Zs}\p{Zl}\p{Zp}\p{Cc}\p{Cf}]*$/u.test(text);

/** A tweet's text with its hashtags, mentions and links as links. */
export function linked(text, { hashtags, mentions, urls }) {
  const points = [...text];
  const entities = [
    ...hashtags.map((each) => ({ ...each, href: `/hashtags/${encodeURIComponent(each.tag)}` })),
    ...mentions.map((each) => ({ ...each, href: `/people/${each.username}` })),
    ...urls.map((each) => ({ ...each, href: each.url, isOutside: true })),
  ].sort((one, other) => one.start - other.start);
  const pieces = [];
  let at = 0;
  for (const { start, end, href, isOutside } of entities) {
    if (start < at) continue; // an imported tweet says of itself what it likes
    pieces.push(points.slice(at, start).join(""), link(points.slice(start, end).join(""), href, isOutside));
    at = end;
  }
  pieces.push(points.slice(at).join(""));
  return pieces;
}

function link(text, href, isOutside) {
  if (!isOutside) return element("a", { href }, text);
  // An imported tweet's may be anything, even a script.
  if (!/^https?:\/\//i.test(href)) return text;
  return element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, text);
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" });

/** A moment of RFC 3339: "3 min. ago", further back the day; the whole of it on hovering. */
export function when(moment) {
  const date = new Date(moment);
  return element("time", { datetime: moment, title: MOMENT.format(date) }, ago(date));
}

/** The same at full length. */
export const atLength = (moment) => element("time", { datetime: moment }, MOMENT.format(new Date(moment)));

function ago(date) {
  const seconds = Math.max(0, (Date.now() - date) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 45 * 60) return RELATIVE.format(-Math.round(seconds / 60), "minute");
  if (seconds < 22 * 3600) return RELATIVE.format(-Math.round(seconds / 3600), "hour");
  return DAY.format(date);
}

/** `counted(2, "event")` is "2 events". */
export const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
