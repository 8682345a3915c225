/* Comparing the copies with their sources, row by row, and mending them. */

import { SYNC, get, post } from "../../api.js";
import { element, fill, tell } from "../../dom.js";
import { confirmed } from "../../parts/dialog.js";
import { checkbox, field, form } from "../../parts/form.js";
import { counted } from "../../text.js";
import { offer } from "./choice.js";
import { count, moment, stateMark } from "./words.js";

const LOOK_MILLISECONDS = 700;
// Another process of the service may answer, which does not know of it.
const STRANGERS = 20;

/** An element, and `offer(names)` to say which routes there are. */
export function reconcile({ signal }) {
  const select = element("select", {}, element("option", { value: "" }, "all routes"));
  const status = element("p.status", { role: "status" });
  const outcome = element("div.outcome", {});

  async function start({ route, repair }) {
    if (repair && !(await sure(route, signal))) return undefined;
    const job = await post(`${SYNC}/reconcile`, { repair, ...(route ? { route } : {}) }, { signal });
    follow(job);
    return undefined;
  }

  async function follow(job) {
    let strangers = 0;
    show(job);
    while (job.state === "running" && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS));
      try {
        job = await get(`${SYNC}/reconcile/${job.id}`, { signal });
        strangers = 0;
        show(job);
      } catch (error) {
        if (signal.aborted) return;
        strangers += error.status === 404 ? 1 : 0;
        tell(status, `It can’t be seen how far it is. ${error.message}`);
        if (strangers > STRANGERS || error.status === 403) return;
      }
    }
  }

  function show(job) {
    tell(status, saying(job));
    fill(outcome, job.state === "running" ? job.progress.map(progressBar) : (job.report ?? []).map(routeReport));
  }

  // One that somebody has begun before, from here or elsewhere.
  get(`${SYNC}/reconcile`, { signal }).then(
    ({ items: [latest] }) => latest && follow(latest),
    () => {}, // whether the service answers is told above
  );
  return {
    offer: (names) => offer(select, names),
    element: element(
      "section.reconcile",
      { "aria-labelledby": "sync-reconcile" },
      element("h2", { id: "sync-reconcile" }, "Compare row by row"),
      element(
        "p.note",
        {},
        "Every row of a copy is held against its source while people go on writing. What differs is looked at again ",
        "until it is sure that it is not merely on its way.",
      ),
      form(
        [field("Route", { name: "route", control: select }), checkbox("Mend what differs", { name: "repair" })],
        { action: "Compare", onsubmit: start, signal },
      ),
      status,
      outcome,
    ),
  };
}

function sure(route, signal) {
  const text =
    "What is missing in the copy or differs is written as the source has it, and rows that the source does not have are " +
    "deleted from the copy. The source itself is not touched, and what is newer is never overwritten.";
  return confirmed(`Mend ${route ? `the copy of ${route}` : "all copies"}?`, text, "Compare and mend", { signal });
}

function saying(job) {
  const what = `${job.repair ? "Comparing and mending" : "Comparing"} ${job.route ?? "all routes"}`;
  if (job.state === "running") return `${what} …`;
  if (job.state === "failed") return [stateMark("bad", "failed"), " ", job.problem];
  const isAlike = job.report.every((route) => route.is_in_agreement);
  const mended = job.report.reduce((sum, route) => sum + route.mended, 0);
  const verdict = isAlike ? (mended > 0 ? `alike again, ${counted(mended, "row")} mended` : "alike") : "not alike";
  return [stateMark(isAlike ? "good" : "bad", verdict), " Finished at ", moment(job.finished_at), "."];
}

function progressBar({ route, done, total }) {
  const of = Math.max(done, total);
  const text = `${route}: ${count(done)} of about ${counted(of, "row")}`;
  return element("p.progress", {}, element("label", {}, text, element("progress", { max: Math.max(of, 1), value: String(done) })));
}

const KINDS = ["missing", "extra", "different", "unfit", "unsettled", "mended"];

function routeReport(report) {
  const found = KINDS.filter((kind) => report[kind] > 0).map((kind) => `${count(report[kind])} ${kind}`);
  const kind = report.is_in_agreement ? "good" : report.is_lagging ? "unknown" : "bad";
  const verdict = report.is_in_agreement ? "alike" : report.is_lagging ? "can’t be told: the sync does not get on" : "not alike";
  return element(
    "section.card.report",
    { "aria-label": `Report of ${report.route}` },
    element("h3", {}, report.route, " ", stateMark(kind, verdict)),
    element("p.detail", {}, `${report.source} → ${report.copy}`),
    element("p", {}, `${counted(report.rows, "row")} compared in ${report.seconds.toFixed(1)} s${found.length ? `: ${found.join(", ")}` : ""}.`),
    report.examples.length > 0 &&
      element(
        "details",
        {},
        element("summary", {}, `${counted(report.examples.length, "example")}`),
        element("ul", {}, report.examples.map(exampleItem)),
      ),
  );
}

function exampleItem({ kind, key, fields, outcome, reason }) {
  const where = fields.length > 0 ? ` in ${fields.join(", ")}` : "";
  return element("li", {}, `${kind} `, element("code", {}, key.join(" · ")), `${where}; ${outcome}${reason ? `: ${reason}` : ""}`);
}
