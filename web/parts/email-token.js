let current = "";

/**
 * The token of a link from an email. It is after the `#`, so that no server sees it, and is removed from the address, so
 * that the history does not have it. Leaving the page discards it.
 */
export function emailToken(signal) {
  const { hash, pathname } = location;
  const token = new URLSearchParams(hash.slice(1)).get("token");
  if (token !== null) {
    current = token;
    history.replaceState(null, "", pathname);
  }
  // A login or logout creates the page again without leaving it.
  signal.addEventListener("abort", () => {
    if (location.pathname !== pathname) current = "";
  });
  return current;
}
