/* Calls of the services' interfaces, as whoever is logged in. */

import { problemOf, send } from "./http.js";
import { session } from "./session.js";

export { ApiError } from "./http.js";

export const AUTH = "/api/auth/v1";
export const TWEETS = "/api/tweets/v1";
export const SYNC = "/api/sync/v1";

/**
 * Send a request with the access token, if there is one. Options and answer are those of `send`.
 *
 * A token that is refused is renewed once. Who turns out not to be logged in any more is an `ApiError` of status 401,
 * and `session.user` is null.
 */
export async function request(method, path, options = {}) {
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

/** Each resolves to the JSON of the answer, or null if there is none. */
export const get = (path, options) => data("GET", path, options);
export const post = (path, body, options) => data("POST", path, { ...options, body });
export const put = (path, options) => data("PUT", path, options);
export const patch = (path, body, options) => data("PATCH", path, { ...options, body });
export const remove = (path, options) => data("DELETE", path, options);

/** An answer that is read as it comes, for live.js. Throws `ApiError`. */
export async function open(path, { headers = {}, signal }) {
  const attempt = async () => fetch(path, { headers: { ...headers, ...(await bearer()) }, signal, cache: "no-store" });
  let answer = await attempt();
  if (answer.status === 401 && session.user !== null) {
    await session.renew();
    answer = await attempt();
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function bearer() {
  const token = await session.accessToken();
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** A key for `Idempotency-Key`: one for each thing that somebody wants done, however often it is sent. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
