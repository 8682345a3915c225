/* Navigation between pages. app.js shows the page of an address. */

import { toast } from "./parts/toast.js";

/** Go to a path of our own, and show `notice` there. */
export function navigate(path, { replace = false, notice = null } = {}) {
  if (replace) history.replaceState(null, "", path);
  else {
    // The scroll position, for the way back.
    history.replaceState({ scroll: window.scrollY }, "");
    history.pushState(null, "", path);
  }
  if (notice !== null) toast(notice);
  window.dispatchEvent(new Event("tandem:navigate"));
}

/** The path to show after a login: always one of our own, never another site. */
export function nextOf({ search, origin }) {
  const given = new URLSearchParams(search).get("next") ?? "/";
  const next = URL.canParse(given, origin) ? new URL(given, origin) : null;
  // A path that begins with two slashes is another site's address.
  return next?.origin === origin && !next.pathname.startsWith("//") ? next.pathname + next.search : "/";
}

/** The path of the login, which leads back to this page. */
export const loginPath = () => `/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
