// Creates the replica set and a least-privilege account for each program. The one-shot service `mongo-init` runs it as
// root. It is idempotent; only changed passwords and privileges are updated.

const admin = db.getSiblingDB("admin");
const tweets = db.getSiblingDB("tweets");

if (!admin.hello().setName) {
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
for (let tries = 0; !admin.hello().isWritablePrimary; tries++) {
  if (tries > 120) throw new Error("the replica set has no primary after a minute");
  sleep(500);
}

const READ = ["find", "listIndexes", "collStats"];
const WRITE = ["insert", "update", "remove"];
const SCHEMA = ["createCollection", "createIndex", "collMod"];

const on = (collection, ...actions) => ({ resource: { db: "tweets", collection }, actions: actions.flat() });

function grant(name, password, privileges) {
  const role = `${name}_role`;
  if (tweets.getRole(role)) tweets.updateRole(role, { privileges, roles: [] });
  else tweets.createRole({ role, privileges, roles: [] });
  const account = { pwd: password, roles: [{ role, db: "tweets" }] };
  if (tweets.getUser(name)) tweets.updateUser(name, account);
  else tweets.createUser({ user: name, ...account });
}

// tweet-service owns its collections. It only reads the copy of the users, with its tombstones (`users_copy`).
grant("tweet_service", process.env.MONGO_TWEET_PASSWORD, [
  on("", READ, "listCollections", "changeStream"),
  ...[
    ...["tweets", "likes", "follows", "tweet_counts"],
    ...["imported_profiles", "imports", "idempotency_keys", "rate_limits"],
  ].map((name) => on(name, WRITE, SCHEMA)),
]);

// sync-service owns the copies of its routes (`users` is a view of `users_copy`). MongoDB grants privileges by name and
// without patterns, so the copy of each new route must be named here.
const copies = (process.env.SYNC_COLLECTIONS || "users").split(",").map((name) => name.trim()).filter(Boolean);
grant("sync_service", process.env.MONGO_SYNC_PASSWORD, [
  on("", "listCollections"),
  // dropIndex: when a route is changed to keep tombstones, the index that purges them is dropped.
  ...copies.flatMap((name) => [`${name}_copy`, name]).map((name) => on(name, READ, WRITE, SCHEMA, "dropIndex")),
  on("system.views", "find"),
  // The sources of its copies, to compare them.
  ...["tweets", "likes", "follows"].map((name) => on(name, "find")),
]);

// Debezium reads the captured collections and the change stream of the database.
grant("debezium", process.env.MONGO_DEBEZIUM_PASSWORD, [on("", READ, "listCollections", "changeStream")]);
