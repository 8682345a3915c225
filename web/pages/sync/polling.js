/* Polling. */

/**
 * Call `request`, and again `seconds` after it has ended, until `signal` aborts. A hidden page does not poll. `request` is
 * an async function that handles its own errors.
 */
export function poll(request, { seconds, signal }) {
  let timer = null;
  let isRunning = false;
  async function run() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden || isRunning) return;
    isRunning = true;
    try {
      await request();
    } finally {
      isRunning = false;
      if (!signal.aborted) timer = setTimeout(run, seconds * 1000);
    }
  }
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", run, { signal });
  run();
}
