/* What this is. */

import { element } from "../dom.js";

const link = (href, words) => element("a", { href }, words);

export default async function page() {
  return element(
    "section",
    {},
    element("h1", {}, "About Tandem"),
    element(
      "p.lead",
      {},
      "Accounts live in MySQL, tweets live in MongoDB, and each of the two holds a live copy of the other’s public data.",
    ),
    element(
      "ol.steps",
      {},
      element("li", {}, element("strong", {}, "You write once."), " Each thing has one owner: your account is written to MySQL, your tweets to MongoDB. No program ever writes to both."),
      element("li", {}, element("strong", {}, "The databases tell."), " Debezium reads their logs and puts every change into Kafka, in order."),
      element("li", {}, element("strong", {}, "One service carries it over."), " It applies each change to the other store, once, whatever was killed or restarted meanwhile."),
      element("li", {}, element("strong", {}, "It can be proved."), " A command compares both stores row by row."),
    ),
    element("h2", {}, "Under the surface"),
    element("p", {}, "This page is one client of three services. Their interfaces:"),
    element(
      "ul",
      {},
      element("li", {}, link("/api/auth/docs", "Accounts"), ", sessions and keys"),
      element("li", {}, link("/api/tweets/docs", "Tweets"), ", people and what they do"),
      element("li", {}, link("/api/sync/docs", "Sync"), ", and ", link("/api/sync/v1/status", "how it fares now")),
    ),
    element("h2", {}, "Your data"),
    element("p", {}, "There is one cookie: it keeps you logged in, no script can read it, and it goes to the login’s own addresses only. Under Settings you get a file of everything that is held about you, and can delete your account, from both stores."),
  );
}
