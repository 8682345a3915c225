/* Requests to our own origin, and what can go wrong with them. Who is asking is api.js's business. */

/**
 * An answer that is an error (RFC 9457), or none at all.
 *
 * `status` is 0 if there was no answer; `code` is the problem's own, in kebab-case; `message` is a sentence for
 * people; `fields` are the fields at fault: `{ pointer: "#/password", code, detail }`.
 */
export class ApiError extends Error {
  constructor({ status, code, message, fields = [] }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { status, code, fields });
  }

  /** Is it only that nobody answers at the moment? */
  get isUnavailable() {
    return this.status === 0 || this.status >= 502;
  }
}

/**
 * Send a request. `body` is sent as JSON, `query` leaves out what is null, undefined or empty.
 *
 * Resolves to `{ status, headers, data }`, where `data` is the JSON of the answer, null if it is empty. Throws `ApiError`, and
 * `AbortError` if `signal` says so.
 */
export async function send(method, path, { query = {}, body, headers = {}, signal, cache = "default" } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const content = body === undefined ? undefined : JSON.stringify(body);
  try {
    const answer = await fetch(address, { method, headers: { ...json, ...headers }, body: content, signal, cache });
    if (!answer.ok) throw await problemOf(answer);
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, data: text === "" ? null : JSON.parse(text) };
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError({ status: 0, code: "no-answer", message: "Tandem can't be reached. Are you online?" });
  }
}

/** The `ApiError` of an answer that is not in order. */
export async function problemOf(answer) {
  const document = await answer.json().catch(() => ({}));
  const retryAfter = Number(answer.headers.get("Retry-After")) || null;
  return new ApiError({
    status: answer.status,
    code: document.code ?? "unknown",
    message: inWords(answer.status, document, retryAfter),
    fields: document.errors ?? [],
  });
}

function inWords(status, document, retryAfter) {
  if (status === 429) return `That was too often. Try again ${retryAfter ? `in ${duration(retryAfter)}` : "later"}.`;
  if (status >= 500) return "This part of Tandem does not answer at the moment. Try again shortly.";
  const only = document.errors?.length === 1 ? document.errors[0].detail : null;
  return only ?? document.title ?? `The server answered with ${status}.`;
}

function duration(seconds) {
  if (seconds < 90) return seconds === 1 ? "a second" : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
