/* About Tandem. */

import { element } from "../dom.js";

const link = (href, text) => element("a", { href }, text);

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
      element("li", {}, element("strong", {}, "Single writes."), " MySQL owns your account, MongoDB owns your tweets. No program writes to both."),
      element("li", {}, element("strong", {}, "Change data capture."), " Debezium reads the databases’ logs and writes every change to Kafka, in order."),
      element("li", {}, element("strong", {}, "Sync."), " One service applies each change to the other store, exactly once in effect, through kills and restarts."),
      element("li", {}, element("strong", {}, "Proof."), " A command compares both stores row by row."),
    ),
    element("h2", {}, "APIs"),
    element("p", {}, "This web page is a client of three services:"),
    element(
      "ul",
      {},
      element("li", {}, link("/api/auth/docs", "Accounts"), ", sessions and keys"),
      element("li", {}, link("/api/tweets/docs", "Tweets"), ", users and follows"),
      element("li", {}, link("/api/sync/docs", "Sync"), ", and its ", link("/api/sync/v1/status", "current status")),
    ),
    element("h2", {}, "Your data"),
    element("p", {}, "Tandem sets one cookie. It keeps you logged in, no script can read it, and only the login endpoints receive it. Under Settings you can download all data about you, and delete your account from both stores."),
  );
}
