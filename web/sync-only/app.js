/* The shell of a system with the sync only, served in place of /app.js: the page of the sync, for the operator's token. */

import { element, replaceChildren } from "./dom.js";
import { session } from "./session.js";
import { failure } from "./parts/failure.js";
import { field, form } from "./parts/form.js";
import { themeSwitch } from "./parts/theme-switch.js";
import { toast } from "./parts/toast.js";
import syncPage from "./pages/sync.js";

const main = document.getElementById("main");
const account = element("div.account", {});

let leave = new AbortController();

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const isOperator = session.user !== null;
  replaceChildren(
    account,
    isOperator && element("button.quiet", { type: "button", onclick: () => session.logOut() }, "Log out"),
  );
  replaceChildren(main, isOperator ? await syncPage({ session, signal }) : login(signal));
  document.title = `${main.querySelector("h1").textContent} · Tandem`;
  main.querySelector("[autofocus]")?.focus();
}

function login(signal) {
  return element(
    "section.narrow",
    {},
    element("h1", {}, "Log in"),
    element("p.lead", {}, "The operator’s token is SYNC_OPERATOR_TOKEN of the system."),
    form(
      // The token is no password of an account, and it stays only as long as the tab.
      [field("Token", { name: "token", type: "password", autocomplete: "off", required: true, autofocus: true })],
      { action: "Log in", signal, onsubmit: ({ token }) => session.logIn(token.trim(), signal) },
    ),
  );
}

replaceChildren(
  document.getElementById("banner"),
  element(
    "a.wordmark",
    { href: "/", "aria-label": "Tandem" },
    element("img", { src: "/icon.svg", alt: "", width: 34, height: 34 }),
    element("span", {}, "Tandem"),
  ),
  account,
  themeSwitch(),
);
try {
  await session.restore();
  session.addEventListener("change", () => show());
  session.addEventListener("ended", () => toast("The token is no longer accepted. Please log in again."));
  await show();
} catch (error) {
  replaceChildren(main, failure(error, { retry: () => location.reload() }));
}
