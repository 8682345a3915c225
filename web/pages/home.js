/* The home timeline; for visitors, an introduction and the latest tweets. */

import { TWEETS } from "../api.js";
import { element } from "../dom.js";
import { newTweet } from "../parts/composer.js";
import { timeline } from "../parts/timeline.js";

export default async function page({ session, signal }) {
  return session.user === null ? welcome(signal) : home(signal);
}

async function home(signal) {
  const list = await timeline(`${TWEETS}/timeline`, {
    live: {},
    empty: "No tweets yet. Write one, or find users to follow under Latest.",
    signal,
  });
  return element("section", {}, element("h1", {}, "Home"), newTweet({ onposted: list.add }), list);
}

async function welcome(signal) {
  const list = await timeline(`${TWEETS}/tweets`, { live: {}, empty: "No tweets yet.", signal });
  return element(
    "section",
    {},
    element("h1", {}, "Two stores, one story"),
    element(
      "p.lead",
      {},
      "Tandem keeps accounts in MySQL and tweets in MongoDB, and each holds a live copy of the other’s public data. ",
      element("a", { href: "/about" }, "How it works"),
    ),
    element("h2", {}, "Latest tweets"),
    list,
  );
}
