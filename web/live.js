/*
 * Server-Sent Events (WHATWG HTML §9.2), read with fetch: an EventSource can send no bearer token.
 */

import { open } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

/**
 * Listen until `signal` aborts: `onEvent({ type, data })` for each event, with `data` as parsed JSON.
 *
 * A connection that ends is opened again after the last event, or at the current one if the server no longer has the
 * last. `onState` is called with "open" (there may be a gap before it), "waiting" or "refused". A hidden page keeps no
 * connection open: browsers allow six connections to a server, shared by all tabs.
 */
export async function listen(path, { onEvent, onState = () => {}, signal }) {
  const position = { lastId: "", retry: FIRST_WAIT };
  let wait = 0;
  while (!signal.aborted) {
    await visible(signal);
    await pause(wait, signal);
    if (signal.aborted) return;
    const connection = untilHidden(signal);
    try {
      const headers = position.lastId ? { "Last-Event-ID": position.lastId } : {};
      const response = await open(path, { headers, signal: connection.signal });
      onState("open");
      wait = position.retry;
      for await (const event of eventsOf(response.body, position)) {
        if (event.type !== "end") deliver(onEvent, event);
      }
      wait = position.retry;
    } catch (error) {
      if (error.status === 410) {
        position.lastId = "";
      } else if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        if (!signal.aborted) onState("refused");
        return;
      }
      wait = connection.signal.aborted ? 0 : Math.max(position.retry, Math.min(wait * 2, LONGEST_WAIT));
    } finally {
      connection.end();
    }
    if (!signal.aborted) onState("waiting");
  }
}

/** An error of the listener must not close the connection. */
function deliver(onEvent, event) {
  try {
    onEvent(event);
  } catch (error) {
    reportError(error);
  }
}

async function* eventsOf(body, position) {
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
    else if (field === "id") position.lastId = value;
    else if (field === "retry" && /^\d+$/.test(value)) position.retry = Number(value);
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

/** A signal that aborts with `signal`, or when the page is hidden. */
function untilHidden(signal) {
  const hidden = new AbortController();
  const check = () => document.hidden && hidden.abort();
  document.addEventListener("visibilitychange", check, { signal: hidden.signal });
  check();
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

/** Wait until `begin` calls its argument, or until `signal` aborts. Removes all listeners. */
async function first(signal, begin) {
  const over = new AbortController();
  await new Promise((done) => {
    signal.addEventListener("abort", done, { signal: over.signal });
    begin(done, over.signal);
  });
  over.abort();
}
