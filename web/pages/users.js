/* All accounts. Senior managers read them, admins edit them. */

import { AUTH, get } from "../api.js";
import { append, element, replaceChildren } from "../dom.js";
import { field } from "../parts/form.js";
import { moreButton } from "../parts/more.js";
import { ROLES, editUser, roleLabel } from "../parts/user-editor.js";
import { relativeTime } from "../text.js";

export default async function page({ query, session, signal, navigate }) {
  const filters = { query: query.get("query"), role: query.get("role"), active: query.get("active") };
  const rows = element("tbody", {});
  const placeholder = element("p.empty", { hidden: true }, "No users found.");
  let next = null;
  async function loadMore() {
    const { items, next_cursor } = await get(`${AUTH}/users`, { query: { ...filters, cursor: next }, signal });
    next = next_cursor;
    const added = items.map((user) => row(user, { mayChange: session.may("users:write"), signal }));
    append(rows, added);
    more.hidden = next === null;
    placeholder.hidden = rows.childElementCount > 0;
    return added;
  }
  const more = moreButton("More users", loadMore);
  await loadMore();
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
        element("thead", {}, element("tr", {}, ["User", "Email", "Role", "State", "Created", ""].map(heading))),
        rows,
      ),
    ),
    placeholder,
    more,
  );
}

const heading = (text) => (text ? element("th", { scope: "col" }, text) : element("td", {}));

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
    field("Role", { name: "role", control: select(role, [["", "Any"], ...ROLES.map((each) => [each, roleLabel(each)])]) }),
    field("State", { name: "active", control: select(active, [["", "Any"], ["true", "Active"], ["false", "Deactivated"]]) }),
    element("button", { type: "submit" }, "Show"),
  );
}

function select(chosen, options) {
  return element("select", {}, options.map(([value, text]) => element("option", { value, selected: value === (chosen ?? "") }, text)));
}

function row(user, { mayChange, signal }) {
  const cells = element("tr", {});
  function show() {
    replaceChildren(
      cells,
      element("td", {}, element("a", { href: `/people/${user.username}` }, element("strong", {}, user.name)), element("span.count", {}, ` @${user.username}`)),
      element("td", {}, user.email, user.email_verified ? null : element("span.count", {}, " unconfirmed")),
      element("td", {}, roleLabel(user.role)),
      element("td", {}, element("span.badge", { class: user.is_active ? "" : "off" }, user.is_active ? "Active" : "Deactivated")),
      element("td", {}, relativeTime(user.created_at)),
      element("td", {}, mayChange && element("button", { type: "button", "aria-label": `Edit ${user.username}`, onclick: change }, "Edit")),
    );
  }
  async function change() {
    const outcome = await editUser(user, signal);
    if (outcome === "deleted") {
      cells.closest(".scroll").focus();
      cells.remove();
    } else if (outcome) {
      user = outcome;
      show();
      cells.querySelector("button")?.focus();
    }
  }
  show();
  return cells;
}
