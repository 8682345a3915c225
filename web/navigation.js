/* Going from page to page. app.js shows what is at an address. */

import { toast } from "./parts/toast.js";

/** Go to a path of our own. `notice` is said there. */
export function navigate(path, { replace = false, notice = null } = {}) {
  if (replace) history.replaceState(null, "", path);
  else {
    // Where one was on the page that one may come back to.
    history.replaceState({ scroll: window.scrollY }, "");
    history.pushState(null, "", path);
  }
  if (notice !== null) toast(notice);
  window.dispatchEvent(new Event("tandem:navigate"));
}

/** Where a login is meant to lead: a path of our own, never another site. */
export function nextOf({ search, origin }) {
  const given = new URLSearchParams(search).get("next") ?? "/";
  const next = URL.canParse(given, origin) ? new URL(given, origin) : null;
  // A path that begins with two slashes is another site's address.
  return next?.origin === origin && !next.pathname.startsWith("//") ? next.pathname + next.search : "/";
}

/** The login, from which one comes back to here. */
export const loginPath = () => `/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
