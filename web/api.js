/* Authenticated requests to the services' APIs. */

import { problemOf, send } from "./http.js";
import { session } from "./session.js";

export { ApiError } from "./http.js";

export const AUTH = "/api/auth/v1";
export const TWEETS = "/api/tweets/v1";
export const SYNC = "/api/sync/v1";

/**
 * Send a request with the access token, if there is one. Options and result are those of `send`.
 *
 * A rejected token is renewed once. If the session has ended, this throws an `ApiError` of status 401, and
 * `session.user` is null.
 */
async function request(method, path, options = {}) {
  const attempt = async () => send(method, path, { ...options, headers: { ...options.headers, ...(await bearer()) } });
  try {
    return await attempt();
  } catch (error) {
    if (error.status !== 401 || session.user === null) throw error;
    await session.renew();
    if (session.user === null) throw error;
    return attempt();
  }
}

async function data(method, path, options) {
  return (await request(method, path, options)).data;
}

/** Each resolves to the JSON of the response, or null if it is empty. */
export const get = (path, options) => data("GET", path, options);
export const post = (path, body, options) => data("POST", path, { ...options, body });
export const put = (path, options) => data("PUT", path, options);
export const patch = (path, body, options) => data("PATCH", path, { ...options, body });
export const remove = (path, options) => data("DELETE", path, options);

/** Open a streamed response, for live.js. Throws `ApiError`. */
export async function open(path, { headers = {}, signal }) {
  const attempt = async () => fetch(path, { headers: { ...headers, ...(await bearer()) }, signal, cache: "no-store" });
  let response = await attempt();
  if (response.status === 401 && session.user !== null) {
    await session.renew();
    response = await attempt();
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function bearer() {
  const token = await session.accessToken();
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** A new `Idempotency-Key`. Retries of one action share it. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
