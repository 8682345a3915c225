let taken = "";

/**
 * The token of a mailed link: it stands behind the `#`, which no server sees. It is taken out of the address, so that
 * it is not on the screen or in the history; whoever leaves the page needs the mail again.
 */
export function mailedToken(signal) {
  const { hash, pathname } = location;
  const token = new URLSearchParams(hash.slice(1)).get("token");
  if (token !== null) {
    taken = token;
    history.replaceState(null, "", pathname);
  }
  // A page is made anew, and not left, when somebody logs in or out.
  signal.addEventListener("abort", () => {
    if (location.pathname !== pathname) taken = "";
  });
  return taken;
}
