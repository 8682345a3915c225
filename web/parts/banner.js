/* The site's name and navigation. */

import { element, replaceChildren } from "../dom.js";
import { session } from "../session.js";
import { icon } from "./icons.js";
import { themeSwitch } from "./theme-switch.js";
import { toast } from "./toast.js";

const wordmark = () =>
  element(
    "a.wordmark",
    { href: "/", "aria-label": "Tandem" },
    element("img", { src: "/icon.svg", alt: "", width: 34, height: 34 }),
    element("span", {}, "Tandem"),
  );

function links({ user, may }) {
  return [
    user && { href: "/", name: "home", text: "Home" },
    { href: user ? "/latest" : "/", name: "latest", text: "Latest" },
    { href: "/trends", name: "trends", text: "Trends" },
    { href: "/search", name: "search", text: "Search" },
    user && { href: `/people/${user.username}`, name: "person", text: "Profile" },
    may("users:read") && { href: "/users", name: "users", text: "Users" },
    may("sync:read") && { href: "/sync", name: "sync", text: "Sync" },
    user && { href: "/settings", name: "settings", text: "Settings" },
    { href: "/about", name: "about", text: "About" },
  ].filter(Boolean);
}

const list = element("ul", {});
const account = element("div.account", {});

export const banner = {
  element: [
    wordmark(),
    element("nav", { "aria-label": "Main" }, list),
    account,
    themeSwitch(),
  ],

  /** Show the links that the user's scopes allow. */
  update({ user }) {
    const may = (scope) => session.may(scope);
    replaceChildren(
      list,
      links({ user, may }).map(({ href, name, text }) =>
        element("li", {}, element("a", { href }, icon(name), element("span", {}, text))),
      ),
    );
    replaceChildren(account, user ? currentUser(user) : signUpOrLogIn());
    this.mark(location.pathname);
  },

  /** Mark the link to the current page. */
  mark(path) {
    for (const link of list.querySelectorAll("a")) {
      if (link.pathname === path) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  },
};

function currentUser(user) {
  return [
    element("p.who", {}, element("strong", {}, user.name), element("span", {}, `@${user.username}`)),
    element("button.quiet", { type: "button", onclick: logOut }, "Log out"),
  ];
}

function signUpOrLogIn() {
  return [
    element("a.button.primary", { href: "/register" }, "Sign up"),
    element("a.button", { href: "/login" }, "Log in"),
  ];
}

async function logOut() {
  try {
    await session.logOut();
    toast("You are logged out.");
  } catch (error) {
    toast(error.message);
  }
}
