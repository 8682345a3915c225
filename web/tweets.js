/* What can be done with tweets: calls of tweet-service. */

import { TWEETS, get, idempotencyKey, patch, post, put, remove } from "./api.js";
import { session } from "./session.js";

// As many as /v1/reactions takes.
const MOST = 100;

const at = (id) => `${TWEETS}/tweets/${id}`;

export const read = (id, signal) => get(at(id), { signal });

/**
 * Something that is going to be posted: `const post = posting(); await post({ text, reply_to, quote_of })`. Called
 * again after an answer that got lost, it makes no second tweet; with another text it is another tweet.
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

/** Throws an `ApiError` of status 412 if it is not this version any more. */
export const edit = (id, version, text) => patch(at(id), { text }, { headers: { "If-Match": `"${version}"` } });

export const erase = (id) => remove(at(id));

export const like = (id, isWanted) => (isWanted ? put(`${at(id)}/like`) : remove(`${at(id)}/like`));
export const repost = (id, isWanted) => (isWanted ? put(`${at(id)}/repost`) : remove(`${at(id)}/repost`));

/** The tweet that is meant, whether it was reposted or not. */
export const meant = (tweet) => tweet.repost_of ?? tweet.id;

/** Of these tweets, which the reader likes and has reposted: two sets of ids. */
export async function ownReactions(tweets, signal) {
  const ids = [...new Set(tweets.map(meant))];
  if (session.user === null || ids.length === 0) return { likes: new Set(), reposts: new Set() };
  const parts = Array.from({ length: Math.ceil(ids.length / MOST) }, (_, part) => ids.slice(part * MOST, (part + 1) * MOST));
  const ask = async (part) => get(`${TWEETS}/reactions?${new URLSearchParams(part.map((id) => ["tweet", id]))}`, { signal });
  const answers = await Promise.all(parts.map(ask));
  return {
    likes: new Set(answers.flatMap(({ likes }) => likes)),
    reposts: new Set(answers.flatMap(({ reposts }) => reposts)),
  };
}

/**
 * The tweets that these repost or quote, by id: undefined is one that is gone, null one that does not come at the
 * moment. A page goes without.
 */
export async function referredTo(tweets, signal) {
  const known = new Map(tweets.map((tweet) => [tweet.id, tweet]));
  const find = async (id) => [id, known.get(id) ?? (await read(id, signal).catch(missing))];
  const load = async (ids) => Promise.all([...new Set(ids)].filter(Boolean).map(find));
  const first = await load(tweets.flatMap(({ repost_of, quote_of }) => [repost_of, quote_of]));
  // What was reposted may quote in turn.
  const second = await load(first.map(([, tweet]) => tweet?.quote_of));
  return new Map([...second, ...first]);
}

function missing(error) {
  if (error.name === "AbortError") throw error;
  return error.status === 404 ? undefined : null;
}
