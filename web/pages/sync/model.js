/*
 * The state of each part of the pipeline, from the response of /v1/pipeline. Pure functions.
 *
 * A part is `{ title, kind, word, details }`: `kind` is good, busy, bad or unknown, `word` is its label, `details` are
 * lines of text.
 */

import { plural } from "../../text.js";
import { age, count, milliseconds } from "./format.js";

const CATCHING_UP = "Catching up";
const PAUSED = "Paused";
const STORES = { mysql: "MySQL", mongodb: "MongoDB" };
const ROUTE_STATES = {
  "up to date": ["good", "Up to date"],
  "catching up": ["busy", CATCHING_UP],
  "in doubt": ["bad", "In doubt"],
  differs: ["bad", "Differs"],
  blocked: ["bad", "Blocked"],
  paused: ["busy", PAUSED],
  stopped: ["bad", "Stopped"],
};
const UNKNOWN = ["unknown", "Unknown"];

/** The state of the pipeline without a response of sync-service: the other parts are unknown. */
export function withoutResponse(reason, known) {
  const unknown = "sync-service is not responding";
  return {
    problem: reason,
    hasResponse: false,
    stores: Object.keys(STORES).map((name) => ({ name, answers: null, reason: unknown })),
    connectors: { items: null, reason: unknown },
    broker: { topics: null, reason: unknown, members: null },
    routes: (known?.routes ?? []).map((route) => ({ ...route, state: "unknown", lag: null, blocked_by: null, stops: [] })),
  };
}

function storePart({ name, answers, milliseconds: time, reason }) {
  const title = STORES[name];
  if (answers === null) return { title, kind: "unknown", word: "Unknown", details: [reason] };
  if (!answers) return { title, kind: "bad", word: "Down", details: [reason] };
  return { title, kind: "good", word: `Up (${milliseconds(time)})`, details: [] };
}

/** The connectors of these routes. */
function connectorParts({ items, reason }, routes) {
  if (items === null) return [{ title: "Debezium", kind: "unknown", word: "Unknown", details: [reason] }];
  const names = new Set(routes.map((route) => route.connector));
  const parts = items.filter(({ name }) => names.has(name)).map(connectorPart);
  if (names.has(null)) {
    const topics = routes.filter((route) => route.connector === null).map((route) => route.topic);
    parts.push({ title: "No connector", kind: "unknown", word: "Unknown", details: topics });
  }
  return parts;
}

function connectorPart({ name, state, task_states: tasks, problem, source_problem: settings, failure, repairs }) {
  const restarts = repairs > 0 ? [`restarted ${repairs === 1 ? "once" : `${count(repairs)} times`}`] : [];
  const [kind, word] = connectorState(state, tasks, problem, settings);
  const details = [problem ?? failure, settings].filter(Boolean);
  return { title: name, kind, word, details: kind === "good" ? restarts : [...details, ...restarts] };
}

function connectorState(state, tasks, problem, settings) {
  if (state === null) return problem === "not registered" ? ["bad", "Not registered"] : UNKNOWN;
  const other = [state, ...tasks].find((each) => each !== "RUNNING");
  if ([state, ...tasks].includes("FAILED")) return ["bad", "FAILED"];
  if (other !== undefined) return ["busy", other];
  if (tasks.length === 0) return ["busy", "No task"];
  if (problem !== null) return ["busy", "RUNNING, no heartbeat"];
  return settings ? ["bad", "RUNNING, wrong settings"] : ["good", "RUNNING"];
}

/** The topics of these routes. */
function topicParts({ topics, reason }, routes, hasResponse) {
  if (topics === null) {
    const [kind, word] = hasResponse ? ["bad", "Down"] : UNKNOWN;
    return [{ title: "Kafka", kind, word, details: [reason] }];
  }
  const known = new Map(topics.map((topic) => [topic.name, topic]));
  return routes.map(({ topic: name }) => {
    const { partitions = [], events } = known.get(name) ?? {};
    if (partitions.length === 0) return { title: name, kind: "bad", word: "Missing", details: [] };
    const kept = `${plural(events, "event")} in ${plural(partitions.length, "partition")}`;
    return { title: name, kind: "good", word: "Present", details: [kept] };
  });
}

/** The routes, as sync-service applies them. */
function routeParts(routes, { hasResponse = true, problem } = {}) {
  if (!hasResponse) return [{ title: "sync-service", kind: "bad", word: "Down", details: [problem] }];
  return routes.map(({ name, state, lag, blocked_by: reason, open_dead_letters: deadLetters, gaps = [], stops = [], proof = null }) => {
    const [kind, word] = ROUTE_STATES[state] ?? UNKNOWN;
    const details = [
      lag ? `${plural(lag, "event")} behind` : null,
      ...(stops.length > 0 ? stops.map((stop) => stop.reason) : [reason]),
      deadLetters ? plural(deadLetters, "dead letter") : null,
      ...gaps.map(gapText),
      proof && proofText(proof),
      gaps.length > 0 || proof?.different > 0 ? "Compare and repair the copy." : null,
    ];
    return { title: name, kind, word, details: details.filter(Boolean) };
  });
}

function gapText({ partition, first_offset: first, end_offset: end, reason }) {
  if (partition === null) return reason;
  const range = end === null ? `from ${count(first)} on` : `${count(first)} to ${count(end - 1)}`;
  return `partition ${partition}, missing events ${range}: ${reason}`;
}

/** What the comparisons that run all the time have found. */
function proofText({ rows, different, share, oldest_at: oldest }) {
  if (different > 0) return `${plural(different, "row")} found that ${different === 1 ? "differs" : "differ"} from the source`;
  if (oldest === null) return `${plural(rows, "row")} proven equal so far (${Math.floor(100 * share)} %)`;
  return `${plural(rows, "row")} proven equal, the oldest proof is ${age((Date.now() - new Date(oldest)) / 1000)} old`;
}

/** Both directions: from one store, through its connectors, topics and routes, to the other. */
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
      topics: topicParts(state.broker, routes, state.hasResponse ?? true),
      sync: routeParts(routes, state),
    };
  });
}

/** The summary of the pipeline: `{ kind, text }`. */
export function summary(state) {
  if (state.hasResponse === false) {
    return { kind: "bad", text: `sync-service is not responding, so the state of the other parts is unknown. ${state.problem}` };
  }
  const parts = lanes(state).flatMap(({ store, connectors, topics, sync }) => [store, ...connectors, ...topics, ...sync]);
  const unhealthy = parts.filter(({ kind, word }) => kind !== "good" && word !== CATCHING_UP && word !== PAUSED);
  const problems = unhealthy.map(({ title, word }) => `${title}: ${word}`);
  if (state.problem !== null) problems.push(`sync-service: ${state.problem}`);
  if (problems.length > 0) return { kind: "bad", text: `${[...new Set(problems)].join("; ")}.` };
  const lag = state.routes.reduce((sum, route) => sum + route.lag, 0);
  const paused = state.routes.filter((route) => route.state === "paused").map((route) => route.name);
  if (paused.length > 0) {
    return { kind: "busy", text: `All parts are running. Paused: ${paused.join(", ")}, with a lag of ${plural(lag, "event")} in all routes.` };
  }
  if (lag > 0) return { kind: "busy", text: `All parts are running, with a lag of ${plural(lag, "event")}.` };
  return { kind: "good", text: "All parts are running, without lag." };
}
