/*
 * The shell: it routes addresses to pages, shows them, and updates the frame around them.
 *
 * A page is a module in pages/ with a default export
 *
 *     async function page({ params, query, session, signal, navigate }) → Element
 *
 * `params` are the named parts of the path, `query` is a URLSearchParams, `session` is the current session (session.js).
 * `signal` aborts when the user leaves the page: pass it to all requests and listeners. `navigate(path, { replace,
 * notice })` goes to another page and shows `notice` there. The element has one `h1`, which becomes the title and gets
 * the focus. If a page throws, its error is shown instead; the message of an `ApiError` (api.js) is written for users. A
 * login or logout creates the page again.
 *
 * Links are plain `a href`; this module handles those to our own pages. Parts of pages are in parts/, dom.js creates
 * elements, api.js sends requests, live.js receives events.
 */

import { replaceChildren } from "./dom.js";
import { loginPath, navigate, nextOf } from "./navigation.js";
import { session } from "./session.js";
import { banner } from "./parts/banner.js";
import { aside } from "./parts/aside.js";
import { failure, forbidden } from "./parts/failure.js";
import { toast } from "./parts/toast.js";

/* `for`: "guests" are visitors without a login, "users" have one, a scope admits its holders. Others are redirected. */
const ROUTES = [
  { path: "/", page: "home" },
  { path: "/latest", page: "latest" },
  { path: "/trends", page: "trends" },
  { path: "/search", page: "search" },
  { path: "/hashtags/:tag", page: "hashtag" },
  { path: "/tweets/:id", page: "tweet" },
  { path: "/people/:username", page: "profile" },
  { path: "/people/:username/followers", page: "followers" },
  { path: "/people/:username/following", page: "following" },
  { path: "/login", page: "login", for: "guests" },
  { path: "/register", page: "register", for: "guests" },
  { path: "/forgot-password", page: "forgot-password" },
  { path: "/reset-password", page: "reset-password" },
  { path: "/confirm-email", page: "confirm-email" },
  { path: "/undo-email", page: "undo-email" },
  { path: "/settings", page: "settings", for: "users" },
  { path: "/users", page: "users", for: "users:read" },
  { path: "/sync", page: "sync", for: "sync:read" },
  { path: "/about", page: "about" },
].map((route) => ({ ...route, segments: route.path.split("/") }));

const main = document.getElementById("main");

let leave = new AbortController();

/** The route of a path, with the values of its `:names`; null if there is none. */
function routeOf(path) {
  const segments = path === "/" ? ["", ""] : path.replace(/\/$/, "").split("/");
  for (const route of ROUTES) {
    if (route.segments.length !== segments.length) continue;
    if (!route.segments.every((name, at) => name.startsWith(":") || name === segments[at])) continue;
    const named = route.segments.flatMap((name, at) => (name.startsWith(":") ? [[name.slice(1), segments[at]]] : []));
    try {
      return { ...route, params: Object.fromEntries(named.map(([name, text]) => [name, decodeURIComponent(text)])) };
    } catch {
      return null; // the address is not valid percent-encoding
    }
  }
  return null;
}

/** The path to redirect to; null if the route may be shown. */
function redirectOf(route) {
  if (route?.for === "guests" && session.user !== null) return nextOf(location);
  const needsLogin = route?.for !== undefined && route.for !== "guests" && session.user === null;
  return needsLogin ? loginPath() : null;
}

async function show({ isFirst = false, scroll = 0 } = {}) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const route = routeOf(location.pathname);
  const redirect = redirectOf(route);
  if (redirect !== null) return navigate(redirect, { replace: true });
  main.setAttribute("aria-busy", "true");
  document.body.dataset.page = route?.page ?? "none";
  banner.mark(location.pathname);
  const content = await load(route, signal);
  if (signal.aborted) return undefined;
  replaceChildren(main, content);
  main.removeAttribute("aria-busy");
  arrive({ isFirst, scroll });
  return undefined;
}

async function load(route, signal) {
  try {
    if (route === null) return failure.notFound();
    if (route.for?.includes(":") && !session.may(route.for)) return forbidden();
    const { default: page } = await import(`./pages/${route.page}.js`);
    const query = new URLSearchParams(location.search);
    return await page({ params: route.params, query, session, signal, navigate });
  } catch (error) {
    if (signal.aborted) return null;
    return failure(error, { retry: () => show() });
  }
}

/** Set the title, and move the focus, so that screen readers announce the page. */
function arrive({ isFirst, scroll }) {
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} · Tandem` : "Tandem";
  if (isFirst) return;
  const start = main.querySelector("[autofocus]") ?? heading ?? main;
  if (start === heading) heading.tabIndex = -1;
  start.focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

function identity() {
  return session.user && `${session.user.id} ${session.user.role}`;
}

/** Whether this module handles the click, and not the browser. */
function isHandled(event, link) {
  const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  const isPage = link.origin === location.origin && !link.pathname.startsWith("/api/") && !link.pathname.includes(".");
  return isPlain && isPage && !link.target && !link.hasAttribute("download") && !event.defaultPrevented;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || !isHandled(event, link)) return;
  event.preventDefault();
  if (link.classList.contains("skip")) main.focus();
  else navigate(link.pathname + link.search + link.hash);
});
window.addEventListener("popstate", ({ state }) => show({ scroll: state?.scroll }));
window.addEventListener("tandem:navigate", () => show());

replaceChildren(document.getElementById("banner"), banner.element);
replaceChildren(document.getElementById("aside"), aside());
try {
  await session.restore();
} catch {
  toast("Tandem is not responding, so you are not logged in. Reload the page in a moment.");
}
let shownFor = identity();
session.addEventListener("change", () => {
  banner.update(session);
  // A changed name needs no new page.
  if (identity() !== shownFor) show();
  shownFor = identity();
});
session.addEventListener("ended", () => toast("Your session has ended. Please log in again."));
banner.update(session);
await show({ isFirst: true });
