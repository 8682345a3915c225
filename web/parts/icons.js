/* Line drawings of our own, 24 by 24. */

import { drawn } from "../dom.js";

const PATHS = {
  home: "M4 11.5 12 4l8 7.5V20h-5.5v-5h-5v5H4z",
  latest: "M4 6h16M4 12h16M4 18h10",
  trends: "M9 4 7 20M17 4l-2 16M4 9h16M4 15h16",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.5c.8-4 3.8-6 7.5-6s6.7 2 7.5 6",
  settings: "M4 7h9m5 0h2M4 17h2m5 0h9M13 4.500v5M11 14.500v5",
  users: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.6-3.8 3-5.5 6.5-5.500s5.9 1.7 6.5 5.500M16 4.300a3.5 3.5 0 0 1 0 6.400M18 14.800c2 .8 3.1 2.5 3.5 5.2",
  sync: "M4 12a8 8 0 0 1 14-5.300L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.300L4 15M4 20v-5h5",
  about: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 7.800v.2",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20",
  reply: "M20 12a7.5 7 0 0 1-11 6.200L4 20l1.5-4.200A7 7 0 1 1 20 12z",
  repost: "M7 20 3.5 16.5 7 13M4 16.500h10.500a3 3 0 0 0 3-3V11M17 4l3.5 3.500L17 11M20 7.500H9.500a3 3 0 0 0-3 3V13",
  quote: "M5 17c2.5-1 3.5-3 3.5-5H5V6.500h5V12c0 3.5-1.5 6-4.5 7M14 17c2.5-1 3.5-3 3.5-5H14V6.500h5V12c0 3.5-1.5 6-4.5 7",
  like: "M12 20S4 15.2 4 9.400A4.4 4.4 0 0 1 12 7a4.4 4.4 0 0 1 8 2.400C20 15.2 12 20 12 20z",
  theme: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 3v18M12 8.500l5.5-3M12 13l8.5-4.500M12 17.500l8-4.5",
};

/** One of them, which says nothing to who can't see it. */
export const icon = (name) =>
  drawn("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, drawn("path", { d: PATHS[name] }));
