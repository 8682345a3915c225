/* Compares copies with their sources row by row, and repairs them. Without `mayWrite` it shows the latest comparison. */

import { SYNC, get, post } from "../../api.js";
import { element, replaceChildren, announce } from "../../dom.js";
import { confirm } from "../../parts/dialog.js";
import { checkbox, field, form } from "../../parts/form.js";
import { plural } from "../../text.js";
import { addOptions } from "./select.js";
import { clockTime, count, stateBadge } from "./format.js";

const POLL_MILLISECONDS = 700;
// Another process of the service may respond, which does not know the job.
const MAX_NOT_FOUND = 20;

/** `{ element, addOptions(names) }`, with the names of routes. */
export function reconcile({ mayWrite, signal }) {
  const select = element("select", {}, element("option", { value: "" }, "all routes"));
  const status = element("p.status", { role: "status" });
  const outcome = element("div.outcome", {});

  async function start({ route, repair }) {
    if (repair && !(await confirmRepair(route, signal))) return undefined;
    const job = await post(`${SYNC}/reconcile`, { repair, ...(route ? { route } : {}) }, { signal });
    follow(job);
    return undefined;
  }

  async function follow(job) {
    let notFound = 0;
    show(job);
    while (job.state === "running" && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
      try {
        job = await get(`${SYNC}/reconcile/${job.id}`, { signal });
        notFound = 0;
        show(job);
      } catch (error) {
        if (signal.aborted) return;
        notFound += error.status === 404 ? 1 : 0;
        announce(status, `Progress is unavailable. ${error.message}`);
        if (notFound > MAX_NOT_FOUND || error.status === 403) return;
      }
    }
  }

  function show(job) {
    announce(status, statusOf(job));
    replaceChildren(outcome, job.state === "running" ? job.progress.map(progressBar) : (job.report ?? []).map(routeReport));
  }

  // Follow a job that is already running.
  get(`${SYNC}/reconcile`, { signal }).then(
    ({ items: [latest] }) => latest && follow(latest),
    () => {}, // the summary of the page shows an unavailable service
  );
  return {
    addOptions: (names) => addOptions(select, names),
    element: element(
      "section.reconcile",
      { "aria-labelledby": "sync-reconcile" },
      element("h2", { id: "sync-reconcile" }, "Compare rows"),
      element(
        "p.note",
        {},
        "Compares every row of a copy with its source while writes continue. Differences are checked again until they ",
        "can’t be events in transit.",
      ),
      mayWrite && form(
        [field("Route", { name: "route", control: select }), checkbox("Repair differences", { name: "repair" })],
        { action: "Compare", onsubmit: start, signal },
      ),
      status,
      outcome,
    ),
  };
}

function confirmRepair(route, signal) {
  const text =
    "Missing and different rows of the copy are replaced by the source’s, and extra rows are deleted from the copy. The " +
    "source is not changed, and newer rows are not overwritten.";
  return confirm(`Repair ${route ? `the copy of ${route}` : "all copies"}?`, text, "Compare and repair", { signal });
}

function statusOf(job) {
  const activity = `${job.repair ? "Comparing and repairing" : "Comparing"} ${job.route ?? "all routes"}`;
  if (job.state === "running") return `${activity} …`;
  if (job.state === "failed") return [stateBadge("bad", "Failed"), " ", job.problem];
  const isInSync = job.report.every((route) => route.is_in_agreement);
  const repaired = job.report.reduce((sum, route) => sum + route.mended, 0);
  const verdict = isInSync ? (repaired > 0 ? `In sync, ${plural(repaired, "row")} repaired` : "In sync") : "Out of sync";
  return [stateBadge(isInSync ? "good" : "bad", verdict), " Finished at ", clockTime(job.finished_at), "."];
}

function progressBar({ route, done, total }) {
  const of = Math.max(done, total);
  const text = `${route}: ${count(done)} of about ${plural(of, "row")}`;
  return element("p.progress", {}, element("label", {}, text, element("progress", { max: Math.max(of, 1), value: String(done) })));
}

function verdictOf(report) {
  if (report.is_in_agreement) return ["good", "In sync"];
  if (report.problem) return ["unknown", `Not compared: ${report.problem}`];
  return report.is_lagging ? ["unknown", "Unknown: the sync makes no progress"] : ["bad", "Out of sync"];
}

const KINDS = {
  missing: "missing",
  extra: "extra",
  different: "different",
  unfit: "not convertible",
  unsettled: "still changing",
  mended: "repaired",
};

function routeReport(report) {
  const found = Object.entries(KINDS)
    .filter(([kind]) => report[kind] > 0)
    .map(([kind, label]) => `${count(report[kind])} ${label}`);
  const [kind, verdict] = verdictOf(report);
  return element(
    "section.card.report",
    { "aria-label": `Report of ${report.route}` },
    element("h3", {}, report.route, " ", stateBadge(kind, verdict)),
    element("p.detail", {}, `${report.source} → ${report.copy}`),
    element("p", {}, `${plural(report.rows, "row")} compared in ${report.seconds.toFixed(1)} s${found.length ? `: ${found.join(", ")}` : ""}.`),
    report.examples.length > 0 &&
      element(
        "details",
        {},
        element("summary", {}, `${plural(report.examples.length, "example")}`),
        element("ul", {}, report.examples.map(exampleItem)),
      ),
  );
}

const OUTCOMES = { mended: "repaired", "not-mended": "not repaired", unsettled: "still changing" };

function exampleItem({ kind, key, fields, outcome, reason }) {
  const where = fields.length > 0 ? ` in ${fields.join(", ")}` : "";
  const label = OUTCOMES[outcome] ?? outcome;
  return element("li", {}, `${KINDS[kind] ?? kind} `, element("code", {}, key.join(" · ")), `${where}; ${label}${reason ? `: ${reason}` : ""}`);
}
