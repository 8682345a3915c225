import { AUTH, get, post, remove } from "../../api.js";
import { append, element, fill, focusOn } from "../../dom.js";
import { when } from "../../text.js";
import { confirmed } from "../dialog.js";
import { toast } from "../toast.js";

/** Where one is logged in. */
export async function sessions({ session, signal }) {
  const list = element("ul.sessions", {});
  async function show() {
    const { items } = await get(`${AUTH}/sessions`, { signal });
    fill(list, items.map((each) => item(each, end)));
  }
  async function end(id) {
    try {
      await remove(`${AUTH}/sessions/${id}`);
      toast("That session is ended.");
    } catch (error) {
      if (error.status !== 404) return toast(error.message);
    }
    await show().catch((error) => toast(error.message));
    return focusOn(list);
  }
  async function endAll() {
    const text = "This device too. Everybody who uses your account has to log in again.";
    if (!(await confirmed("Log out everywhere?", text, "Log out everywhere", { signal }))) return;
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
    element("h2", {}, "Where you are logged in"),
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
      element("p.count", {}, `${address} · last used `, when(last_used_at), ", begun ", when(created_at)),
    ),
    is_current
      ? element("span.badge", {}, "This device")
      : element("button", { type: "button", "aria-label": `End the session of ${name}`, onclick: () => end(id) }, "End"),
  );
}

/* Good enough to tell one's own devices apart; the whole of it is in the title. */
const BROWSERS = [["Edg", "Edge"], ["OPR", "Opera"], ["Firefox"], ["Chrom", "Chrome"], ["Safari"], ["curl"]];
const SYSTEMS = [["Android"], ["iPhone"], ["iPad"], ["Windows"], ["Mac OS X", "macOS"], ["Linux"]];

function deviceOf(client) {
  const named = (known) => known.filter(([word]) => client.includes(word)).map(([word, name]) => name ?? word)[0];
  return [named(BROWSERS), named(SYSTEMS)].filter(Boolean).join(" on ") || client.slice(0, 40) || "Something unknown";
}
