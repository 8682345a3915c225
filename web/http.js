/* Requests to our own origin, and their errors. api.js adds authentication. */

/**
 * An error response (RFC 9457), or no response.
 *
 * `status` is 0 without a response; `code` is the problem's code; `message` is a sentence for users; `fields` are the
 * invalid fields: `{ pointer: "#/password", code, detail }`.
 */
export class ApiError extends Error {
  constructor({ status, code, message, fields = [] }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { status, code, fields });
  }

  /** Whether the service is unreachable or unavailable. */
  get isUnavailable() {
    return this.status === 0 || this.status >= 502;
  }
}

/**
 * Send a request. `body` is sent as JSON; values of `query` that are null, undefined or empty are ignored.
 *
 * Resolves to `{ status, headers, data }`; `data` is the JSON of the response, null if it is empty. Throws `ApiError`,
 * and `AbortError` if `signal` aborts.
 */
export async function send(method, path, { query = {}, body, headers = {}, signal, cache = "default" } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const content = body === undefined ? undefined : JSON.stringify(body);
  try {
    const response = await fetch(address, { method, headers: { ...json, ...headers }, body: content, signal, cache });
    if (!response.ok) throw await problemOf(response);
    const text = await response.text();
    return { status: response.status, headers: response.headers, data: text === "" ? null : JSON.parse(text) };
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError({ status: 0, code: "no-response", message: "Can't reach Tandem. Check your connection." });
  }
}

/** The `ApiError` of an error response. */
export async function problemOf(response) {
  const document = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  return new ApiError({
    status: response.status,
    code: document.code ?? "unknown",
    message: messageOf(response.status, document, retryAfter),
    fields: document.errors ?? [],
  });
}

function messageOf(status, document, retryAfter) {
  if (status === 429) return `Rate limit exceeded. Try again ${retryAfter ? `in ${duration(retryAfter)}` : "later"}.`;
  if (status >= 500) return "This service is unavailable. Try again in a moment.";
  const only = document.errors?.length === 1 ? document.errors[0].detail : null;
  return only ?? document.title ?? `The request failed with status ${status}.`;
}

function duration(seconds) {
  if (seconds < 90) return seconds === 1 ? "a second" : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
