/*
 * The shell: it finds the page of an address, shows it, and keeps the frame around it up to date.
 *
 * A page is a module in pages/ with a default export
 *
 *     async function page({ params, query, session, signal, navigate }) → Element
 *
 * `params` are the parts of the path that the route names, `query` is a URLSearchParams, `session` says who is logged in
 * (session.js), `signal` aborts when one leaves the page: hand it to whatever is requested or listened to;
 * `navigate(path, { replace, notice })` goes elsewhere, and `notice` is said there. The element has one `h1`, which
 * becomes the title and gets the focus. What a page throws is shown in its place, in words; an `ApiError` (api.js) has
 * some. A page is made anew when somebody logs in or out.
 *
 * Links are plain `a href`: those to our own pages are taken care of here. Parts of pages are in parts/, elements are
 * made by dom.js, requests are sent by api.js, events come by live.js.
 */

import { fill } from "./dom.js";
import { loginPath, navigate, nextOf } from "./navigation.js";
import { session } from "./session.js";
import { banner } from "./parts/banner.js";
import { aside } from "./parts/aside.js";
import { failure, forbidden } from "./parts/failure.js";
import { toast } from "./parts/toast.js";

/* `for`: "guests" only who isn't logged in, "people" only who is, a scope only who may that; everybody else is sent on. */
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
  { path: "/settings", page: "settings", for: "people" },
  { path: "/users", page: "users", for: "users:read" },
  { path: "/sync", page: "sync", for: "sync:read" },
  { path: "/about", page: "about" },
].map((route) => ({ ...route, segments: route.path.split("/") }));

const main = document.getElementById("main");

let leave = new AbortController();

/** The route of a path, with what its `:names` stand for; null if there is none. */
function routeOf(path) {
  const segments = path === "/" ? ["", ""] : path.replace(/\/$/, "").split("/");
  for (const route of ROUTES) {
    if (route.segments.length !== segments.length) continue;
    if (!route.segments.every((name, at) => name.startsWith(":") || name === segments[at])) continue;
    const named = route.segments.flatMap((name, at) => (name.startsWith(":") ? [[name.slice(1), segments[at]]] : []));
    try {
      return { ...route, params: Object.fromEntries(named.map(([name, text]) => [name, decodeURIComponent(text)])) };
    } catch {
      return null; // an address that nobody has encoded
    }
  }
  return null;
}

/** Where somebody has to go instead; null if this is the place. */
function detour(route) {
  if (route?.for === "guests" && session.user !== null) return nextOf(location);
  const needsLogin = route?.for !== undefined && route.for !== "guests" && session.user === null;
  return needsLogin ? loginPath() : null;
}

async function show({ isFirst = false, scroll = 0 } = {}) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const route = routeOf(location.pathname);
  const elsewhere = detour(route);
  if (elsewhere !== null) return navigate(elsewhere, { replace: true });
  main.setAttribute("aria-busy", "true");
  document.body.dataset.page = route?.page ?? "none";
  banner.mark(location.pathname);
  const shown = await made(route, signal);
  if (signal.aborted) return undefined;
  fill(main, shown);
  main.removeAttribute("aria-busy");
  arrive({ isFirst, scroll });
  return undefined;
}

async function made(route, signal) {
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

/** Say where one is: in the title, and to who listens rather than looks. */
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

/** Is this click one that we answer, and not the browser? */
function isOurs(event, link) {
  const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  const isPage = link.origin === location.origin && !link.pathname.startsWith("/api/") && !link.pathname.includes(".");
  return isPlain && isPage && !link.target && !link.hasAttribute("download") && !event.defaultPrevented;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || !isOurs(event, link)) return;
  event.preventDefault();
  if (link.classList.contains("skip")) main.focus();
  else navigate(link.pathname + link.search + link.hash);
});
window.addEventListener("popstate", ({ state }) => show({ scroll: state?.scroll }));
window.addEventListener("tandem:navigate", () => show());

fill(document.getElementById("banner"), banner.element);
fill(document.getElementById("aside"), aside());
try {
  await session.restore();
} catch {
  toast("Tandem does not answer at the moment, so you are not logged in yet. Reload the page shortly.");
}
let shownFor = identity();
session.addEventListener("change", () => {
  banner.update(session);
  // Who has changed his name is still the same.
  if (identity() !== shownFor) show();
  shownFor = identity();
});
session.addEventListener("ended", () => toast("Your session has ended. Please log in again."));
banner.update(session);
await show({ isFirst: true });
