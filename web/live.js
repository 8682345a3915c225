/*
 * Server-Sent Events (WHATWG HTML §9.2), read with fetch: an EventSource can send no bearer token.
 */

import { open } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

/**
 * Listen until `signal` says so: `onEvent({ type, data })` for each event, `data` being parsed JSON.
 *
 * A connection that ends is made anew behind the last event, or behind the present one if that was too long ago;
 * `onState` is called with "open" (there may be a gap before it), "waiting" or "refused". While the page can't be seen
 * nothing is kept open: browsers open six connections to a server at most, and other tabs want some.
 */
export async function listen(path, { onEvent, onState = () => {}, signal }) {
  const place = { lastId: "", retry: FIRST_WAIT };
  let wait = 0;
  while (!signal.aborted) {
    await visible(signal);
    await pause(wait, signal);
    if (signal.aborted) return;
    const connection = untilHidden(signal);
    try {
      const headers = place.lastId ? { "Last-Event-ID": place.lastId } : {};
      const answer = await open(path, { headers, signal: connection.signal });
      onState("open");
      wait = place.retry;
      for await (const event of eventsOf(answer.body, place)) {
        if (event.type !== "end") deliver(onEvent, event);
      }
      wait = place.retry;
    } catch (error) {
      if (error.status === 410) {
        place.lastId = "";
      } else if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        if (!signal.aborted) onState("refused");
        return;
      }
      wait = connection.signal.aborted ? 0 : Math.max(place.retry, Math.min(wait * 2, LONGEST_WAIT));
    } finally {
      connection.end();
    }
    if (!signal.aborted) onState("waiting");
  }
}

/** What goes wrong with an event is not the connection's fault. */
function deliver(onEvent, event) {
  try {
    onEvent(event);
  } catch (error) {
    reportError(error);
  }
}

async function* eventsOf(body, place) {
  const lines = linesOf(body.pipeThrough(new TextDecoderStream()));
  let type = "message";
  let data = [];
  for await (const line of lines) {
    if (line === "") {
      if (data.length > 0) yield { type, data: JSON.parse(data.join("\n")) };
      type = "message";
      data = [];
      continue;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "data") data.push(value);
    else if (field === "event") type = value;
    else if (field === "id") place.lastId = value;
    else if (field === "retry" && /^\d+$/.test(value)) place.retry = Number(value);
  }
}

/** Our services end lines with a line feed. */
async function* linesOf(stream) {
  const reader = stream.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines;
  }
}

/** A signal that ends with `signal`, or when the page is hidden. */
function untilHidden(signal) {
  const hidden = new AbortController();
  const look = () => document.hidden && hidden.abort();
  document.addEventListener("visibilitychange", look, { signal: hidden.signal });
  look();
  return { signal: AbortSignal.any([signal, hidden.signal]), end: () => hidden.abort() };
}

async function visible(signal) {
  while (document.hidden && !signal.aborted) {
    await first(signal, (done, over) => document.addEventListener("visibilitychange", done, { signal: over }));
  }
}

async function pause(milliseconds, signal) {
  if (milliseconds === 0 || signal.aborted) return;
  let timer;
  await first(signal, (done) => (timer = setTimeout(done, milliseconds)));
  clearTimeout(timer);
}

/** Wait until `begin` calls what it is given, or until `signal` says so. Leaves no listener behind. */
async function first(signal, begin) {
  const over = new AbortController();
  await new Promise((done) => {
    signal.addEventListener("abort", done, { signal: over.signal });
    begin(done, over.signal);
  });
  over.abort();
}
