/* Text, counted as the services do: in code points after NFC normalization. */

import { element } from "./dom.js";

export const MAX_CODE_POINTS = 280;

export const codePoints = (text) => [...text.normalize("NFC")].length;

/** Whether the text has no visible character. */
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
    if (start < at) continue; // entities of imported tweets may overlap
    pieces.push(points.slice(at, start).join(""), link(points.slice(start, end).join(""), href, isOutside));
    at = end;
  }
  pieces.push(points.slice(at).join(""));
  return pieces;
}

function link(text, href, isOutside) {
  if (!isOutside) return element("a", { href }, text);
  // The URL of an imported tweet may have any scheme, even javascript:.
  if (!/^https?:\/\//i.test(href)) return text;
  return element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, text);
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const FULL = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" });

/** A time (RFC 3339) as "3 min. ago", or as a day if it is older. Its title has the full time. */
export function relativeTime(time) {
  const date = new Date(time);
  return element("time", { datetime: time, title: FULL.format(date) }, ago(date));
}

/** A time (RFC 3339) in full. */
export const fullTime = (time) => element("time", { datetime: time }, FULL.format(new Date(time)));

function ago(date) {
  const seconds = Math.max(0, (Date.now() - date) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 45 * 60) return RELATIVE.format(-Math.round(seconds / 60), "minute");
  if (seconds < 22 * 3600) return RELATIVE.format(-Math.round(seconds / 3600), "hour");
  return DAY.format(date);
}

/** `plural(2, "event")` is "2 events". */
export const plural = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
