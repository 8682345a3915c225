/* Requests to tweet-service about tweets. */

import { TWEETS, get, idempotencyKey, patch, post, put, remove } from "./api.js";
import { session } from "./session.js";

// The limit of /v1/reactions.
const MAX_IDS = 100;

const at = (id) => `${TWEETS}/tweets/${id}`;

export const read = (id, signal) => get(at(id), { signal });

/**
 * Prepare a post: `const post = posting(); await post({ text, reply_to, quote_of })`. A retry after a lost response
 * creates no second tweet; a call with another text creates another tweet.
 */
export function posting() {
  let sent = null;
  let key = null;
  return async (tweet) => {
    const content = JSON.stringify(tweet);
    if (content !== sent) [sent, key] = [content, idempotencyKey()];
    return post(`${TWEETS}/tweets`, tweet, { headers: { "Idempotency-Key": key } });
  };
}

/** Throws an `ApiError` of status 412 if the tweet has a newer version. */
export const edit = (id, version, text) => patch(at(id), { text }, { headers: { "If-Match": `"${version}"` } });

export const erase = (id) => remove(at(id));

export const like = (id, isWanted) => (isWanted ? put(`${at(id)}/like`) : remove(`${at(id)}/like`));
export const repost = (id, isWanted) => (isWanted ? put(`${at(id)}/repost`) : remove(`${at(id)}/repost`));

/** The id of a tweet, or of the original if it is a repost. */
const originalId = (tweet) => tweet.repost_of ?? tweet.id;

/** The ids of these tweets that the user has liked and reposted, as two sets. */
export async function ownReactions(tweets, signal) {
  const ids = [...new Set(tweets.map(originalId))];
  if (session.user === null || ids.length === 0) return { likes: new Set(), reposts: new Set() };
  const batches = Array.from({ length: Math.ceil(ids.length / MAX_IDS) }, (_, at) => ids.slice(at * MAX_IDS, (at + 1) * MAX_IDS));
  const load = async (batch) => get(`${TWEETS}/reactions?${new URLSearchParams(batch.map((id) => ["tweet", id]))}`, { signal });
  const reactions = await Promise.all(batches.map(load));
  return {
    likes: new Set(reactions.flatMap(({ likes }) => likes)),
    reposts: new Set(reactions.flatMap(({ reposts }) => reposts)),
  };
}

/**
 * The tweets that these repost or quote, by id: undefined if deleted, null if unavailable at the moment. Errors don't
 * fail the page.
 */
export async function referencedBy(tweets, signal) {
  const known = new Map(tweets.map((tweet) => [tweet.id, tweet]));
  const find = async (id) => [id, known.get(id) ?? (await read(id, signal).catch(missing))];
  const load = async (ids) => Promise.all([...new Set(ids)].filter(Boolean).map(find));
  const first = await load(tweets.flatMap(({ repost_of, quote_of }) => [repost_of, quote_of]));
  // A reposted tweet may quote another one.
  const second = await load(first.map(([, tweet]) => tweet?.quote_of));
  return new Map([...second, ...first]);
}

function missing(error) {
  if (error.name === "AbortError") throw error;
  return error.status === 404 ? undefined : null;
}
