/*
 * What to say of each part of the pipeline, from the answer of /v1/pipeline. Pure.
 *
 * A part is `{ title, kind, word, details }`: `kind` is good, busy, bad or unknown, `word` says the same, `details` are
 * lines of text.
 */

import { counted } from "../../text.js";
import { count, milliseconds } from "./words.js";

const STORES = { mysql: "MySQL", mongodb: "MongoDB" };
const ROUTE_KINDS = { "up to date": "good", "catching up": "busy", "in doubt": "bad", blocked: "bad", unknown: "unknown" };

/** The state of everything if sync-service does not answer, for this reason: its own is known, and nothing else. */
export function withoutAnswer(reason, known) {
  const unknown = "sync-service does not answer";
  return {
    problem: reason,
    isAnswered: false,
    stores: Object.keys(STORES).map((name) => ({ name, answers: null, reason: unknown })),
    connectors: { items: null, reason: unknown },
    broker: { topics: null, reason: unknown, members: null },
    routes: (known?.routes ?? []).map((route) => ({ ...route, state: "unknown", lag: null, blocked_by: null })),
  };
}

export function storePart({ name, answers, milliseconds: time, reason }) {
  const title = STORES[name];
  if (answers === null) return { title, kind: "unknown", word: "unknown", details: [reason] };
  if (!answers) return { title, kind: "bad", word: "does not answer", details: [reason] };
  return { title, kind: "good", word: "answers", details: [`in ${milliseconds(time)}`] };
}

/** Of the connectors that read a store; `names` are those that the routes know of. */
export function connectorParts({ items, reason }, routes) {
  if (items === null) return [{ title: "Debezium", kind: "unknown", word: "unknown", details: [reason] }];
  const names = new Set(routes.map((route) => route.connector));
  const parts = items.filter(({ name }) => names.has(name)).map(connectorPart);
  if (names.has(null)) {
    const topics = routes.filter((route) => route.connector === null).map((route) => route.topic);
    parts.push({ title: "no connector", kind: "unknown", word: "unknown", details: topics });
  }
  return parts;
}

function connectorPart({ name, state, task_states: tasks, problem, failure, repairs }) {
  const restarts = repairs > 0 ? [`restarted ${repairs === 1 ? "once" : `${count(repairs)} times`}`] : [];
  const [kind, word] = connectorState(state, tasks, problem);
  const details = kind === "good" ? [] : [failure ?? problem].filter(Boolean);
  return { title: name, kind, word, details: [...details, ...restarts] };
}

function connectorState(state, tasks, problem) {
  if (state === null) return problem === "not registered" ? ["bad", problem] : ["unknown", "unknown"];
  const other = [state, ...tasks].find((each) => each !== "RUNNING");
  if ([state, ...tasks].includes("FAILED")) return ["bad", "FAILED"];
  if (other !== undefined) return ["busy", other];
  if (tasks.length === 0) return ["busy", "no task"];
  return problem === null ? ["good", "RUNNING"] : ["busy", "RUNNING, but silent"];
}

/** Of the topics of some routes. */
export function topicParts({ topics, reason }, routes, isAnswered) {
  if (topics === null) {
    const [kind, word] = isAnswered ? ["bad", "does not answer"] : ["unknown", "unknown"];
    return [{ title: "Kafka", kind, word, details: [reason] }];
  }
  const known = new Map(topics.map((topic) => [topic.name, topic]));
  return routes.map(({ topic: name }) => {
    const { partitions = [], events } = known.get(name) ?? {};
    if (partitions.length === 0) return { title: name, kind: "bad", word: "missing", details: [] };
    const kept = `${counted(events, "event")} in ${counted(partitions.length, "partition")}`;
    return { title: name, kind: "good", word: "there", details: [kept] };
  });
}

/** Of the routes themselves, as sync-service applies them. */
export function routeParts(routes, { isAnswered = true, problem } = {}) {
  if (!isAnswered) return [{ title: "sync-service", kind: "bad", word: "does not answer", details: [problem] }];
  return routes.map(({ name, state, lag, blocked_by: reason, open_dead_letters: letters, gaps = [] }) => ({
    title: name,
    kind: ROUTE_KINDS[state],
    word: state,
    details: [
      lag ? `${counted(lag, "event")} to go` : null,
      reason,
      letters ? counted(letters, "dead letter") : null,
      ...gaps.map(gapText),
      gaps.length > 0 ? "Compare and repair it to be sure of the copy." : null,
    ].filter(Boolean),
  }));
}

function gapText({ partition, first_offset: first, end_offset: end, reason }) {
  const range = end === null ? `from ${count(first)} on` : `${count(first)} to ${count(end - 1)}`;
  return `partition ${partition} lacks events ${range}: ${reason}`;
}

/** Which way rows go: from one store, by its connectors, topics and routes, to the other. */
export function lanes(state) {
  const known = new Map(state.stores.map((store) => [store.name, store]));
  return ["mysql", "mongodb"].map((source) => {
    const routes = state.routes.filter((route) => route.source === source);
    const lags = routes.map((route) => route.lag);
    return {
      store: storePart(known.get(source)),
      target: STORES[source === "mysql" ? "mongodb" : "mysql"],
      lag: lags.includes(null) || lags.length === 0 ? null : lags.reduce((sum, lag) => sum + lag, 0),
      routes: routes.map((route) => route.name),
      connectors: connectorParts(state.connectors, routes),
      topics: topicParts(state.broker, routes, state.isAnswered ?? true),
      sync: routeParts(routes, state),
    };
  });
}

/** In a sentence: `{ kind, text }`. */
export function summary(state) {
  if (state.isAnswered === false) {
    return { kind: "bad", text: `sync-service does not answer, so nothing is known of the rest. ${state.problem}` };
  }
  const parts = lanes(state).flatMap(({ store, connectors, topics, sync }) => [store, ...connectors, ...topics, ...sync]);
  const troubles = parts.filter(({ kind, word }) => kind !== "good" && word !== "catching up");
  const told = troubles.map(({ title, word }) => `${title}: ${word}`);
  if (state.problem !== null) told.push(`sync-service: ${state.problem}`);
  if (told.length > 0) return { kind: "bad", text: `Not all is well. ${[...new Set(told)].join("; ")}.` };
  const lag = state.routes.reduce((sum, route) => sum + route.lag, 0);
  if (lag > 0) return { kind: "busy", text: `Everything runs, and ${counted(lag, "event")} wait to be applied.` };
  return { kind: "good", text: "Everything runs, and nothing waits." };
}
