/* Asking again and again. */

/**
 * Call `ask`, and again `seconds` after it has ended, until `signal` says so; not while the page can't be seen. It is
 * an async function that takes care of its own errors.
 */
export function repeating(ask, { seconds, signal }) {
  let timer = null;
  let isAsking = false;
  async function turn() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden || isAsking) return;
    isAsking = true;
    try {
      await ask();
    } finally {
      isAsking = false;
      if (!signal.aborted) timer = setTimeout(turn, seconds * 1000);
    }
  }
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", turn, { signal });
  turn();
}
