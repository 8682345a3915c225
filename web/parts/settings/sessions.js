import { AUTH, get, post, remove } from "../../api.js";
import { append, element, replaceChildren, focusOn } from "../../dom.js";
import { relativeTime } from "../../text.js";
import { confirm } from "../dialog.js";
import { toast } from "../toast.js";

/** The user's sessions. */
export async function sessions({ session, signal }) {
  const list = element("ul.sessions", {});
  async function show() {
    const found = [];
    let cursor = null;
    do {
      const { items, next_cursor } = await get(`${AUTH}/sessions`, { query: { cursor }, signal });
      found.push(...items);
      cursor = next_cursor;
    } while (cursor !== null);
    replaceChildren(list, found.map((each) => item(each, end)));
  }
  async function end(id) {
    try {
      await remove(`${AUTH}/sessions/${id}`);
      toast("Session ended.");
    } catch (error) {
      if (error.status !== 404) return toast(error.message);
    }
    await show().catch((error) => toast(error.message));
    return focusOn(list);
  }
  async function endAll() {
    const text = "This ends all sessions of your account, including this one.";
    if (!(await confirm("Log out everywhere?", text, "Log out everywhere", { signal }))) return;
    try {
      await post(`${AUTH}/logout-all`);
      session.forget();
      toast("You are logged out everywhere.");
    } catch (error) {
      toast(error.message);
    }
  }
  await show();
  return element(
    "section",
    {},
    element("h2", {}, "Sessions"),
    list,
    element("button", { type: "button", onclick: endAll }, "Log out everywhere"),
  );
}

function item({ id, client, address, last_used_at, created_at, is_current }, end) {
  const name = deviceOf(client);
  return append(
    element("li.card", { title: client }),
    element(
      "div",
      {},
      element("strong", {}, name),
      element("p.count", {}, `${address} · last used `, relativeTime(last_used_at), ", created ", relativeTime(created_at)),
    ),
    is_current
      ? element("span.badge", {}, "This device")
      : element("button", { type: "button", "aria-label": `End session of ${name}`, onclick: () => end(id) }, "End"),
  );
}

/* Short names of devices; the title has the whole user agent. */
const BROWSERS = [["Edg", "Edge"], ["OPR", "Opera"], ["Firefox"], ["Chrom", "Chrome"], ["Safari"], ["curl"]];
const SYSTEMS = [["Android"], ["iPhone"], ["iPad"], ["Windows"], ["Mac OS X", "macOS"], ["Linux"]];

function deviceOf(client) {
  const named = (known) => known.filter(([word]) => client.includes(word)).map(([word, name]) => name ?? word)[0];
  return [named(BROWSERS), named(SYSTEMS)].filter(Boolean).join(" on ") || client.slice(0, 40) || "Unknown device";
}
