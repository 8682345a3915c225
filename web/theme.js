// Not a module: it runs before the first paint, so that a dark page never flashes white.
document.documentElement.dataset.theme = (() => {
  try {
    return localStorage.getItem("tandem.theme") ?? "system";
  } catch {
    return "system"; // storage is disabled
  }
})();
