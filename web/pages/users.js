/* All accounts: senior managers read them, admins change them. */

import { AUTH, get } from "../api.js";
import { append, element, fill } from "../dom.js";
import { field } from "../parts/form.js";
import { moreButton } from "../parts/more.js";
import { ROLES, editUser, roleWords } from "../parts/user-editor.js";
import { when } from "../text.js";

export default async function page({ query, session, signal, navigate }) {
  const filters = { query: query.get("query"), role: query.get("role"), active: query.get("active") };
  const rows = element("tbody", {});
  const nobody = element("p.empty", { hidden: true }, "Nobody is like that.");
  let next = null;
  async function goOn() {
    const { items, next_cursor } = await get(`${AUTH}/users`, { query: { ...filters, cursor: next }, signal });
    next = next_cursor;
    const added = items.map((user) => row(user, { mayChange: session.may("users:write"), signal }));
    append(rows, added);
    more.hidden = next === null;
    nobody.hidden = rows.childElementCount > 0;
    return added;
  }
  const more = moreButton("More users", goOn);
  await goOn();
  return element(
    "section.wide",
    {},
    element("h1", {}, "Users"),
    filterForm(filters, navigate),
    element(
      "div.scroll",
      { role: "region", "aria-label": "Users", tabindex: 0 },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ["User", "Email", "Role", "State", "Since", ""].map(heading))),
        rows,
      ),
    ),
    nobody,
    more,
  );
}

const heading = (words) => (words ? element("th", { scope: "col" }, words) : element("td", {}));

function filterForm({ query, role, active }, navigate) {
  function apply(event) {
    event.preventDefault();
    const given = [...new FormData(event.target)].filter(([, value]) => value !== "");
    navigate(`/users?${new URLSearchParams(given)}`);
  }
  return element(
    "form.filters",
    { role: "search", onsubmit: apply },
    field("Username, name or email begins with", { name: "query", type: "search", value: query ?? "", maxlength: 254 }),
    field("Role", { name: "role", control: select(role, [["", "Any"], ...ROLES.map((each) => [each, roleWords(each)])]) }),
    field("State", { name: "active", control: select(active, [["", "Any"], ["true", "Active"], ["false", "Deactivated"]]) }),
    element("button", { type: "submit" }, "Show"),
  );
}

function select(chosen, options) {
  return element("select", {}, options.map(([value, text]) => element("option", { value, selected: value === (chosen ?? "") }, text)));
}

function row(user, { mayChange, signal }) {
  const made = element("tr", {});
  function show() {
    fill(
      made,
      element("td", {}, element("a", { href: `/people/${user.username}` }, element("strong", {}, user.name)), element("span.count", {}, ` @${user.username}`)),
      element("td", {}, user.email, user.email_verified ? null : element("span.count", {}, " unconfirmed")),
      element("td", {}, roleWords(user.role)),
      element("td", {}, element("span.badge", { class: user.is_active ? "" : "off" }, user.is_active ? "Active" : "Deactivated")),
      element("td", {}, when(user.created_at)),
      element("td", {}, mayChange && element("button", { type: "button", "aria-label": `Change ${user.username}`, onclick: change }, "Change")),
    );
  }
  async function change() {
    const outcome = await editUser(user, signal);
    if (outcome === "deleted") {
      made.closest(".scroll").focus();
      made.remove();
    } else if (outcome) {
      user = outcome;
      show();
      made.querySelector("button")?.focus();
    }
  }
  show();
  return made;
}
