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

const within = (database) => (collection, ...actions) => ({
  resource: { db: database, collection },
  actions: actions.flat(),
});
const on = within("tweets");

// The roles are in `admin`, because only those may have privileges in several databases.
function grant(name, password, privileges) {
  const role = `${name}_role`;
  if (admin.getRole(role)) admin.updateRole(role, { privileges, roles: [] });
  else admin.createRole({ role, privileges, roles: [] });
  const roles = [{ role, db: "admin" }];
  if (!/^[A-Za-z0-9._-]+$/.test(password)) {
    throw new Error(`the password of ${name} may contain letters, digits, '.', '_' and '-' only: it is part of a URL`);
  }
  if (tweets.getUser(name)) {
    // Other roles of the account stay, such as those for your own databases.
    tweets.updateUser(name, { pwd: password });
    tweets.grantRolesToUser(name, roles);
  } else {
    tweets.createUser({ user: name, pwd: password, roles });
  }
  // Releases up to 0.1.0 had the roles in `tweets`.
  if (tweets.getRole(role)) tweets.dropRole(role);
}

// tweet-service owns its collections. It only reads the copy of the users, with its tombstones (`users_copy`), which may
// still move from `tweets` to `auth`.
grant("tweet_service", process.env.MONGO_TWEET_PASSWORD, [
  on("", READ, "listCollections", "changeStream"),
  ...[
    ...["tweets", "likes", "follows", "tweet_counts"],
    ...["imported_profiles", "imports", "idempotency_keys", "rate_limits"],
  ].map((name) => on(name, WRITE, SCHEMA)),
  ...["users_copy", "sync_moves"].map((name) => within("auth")(name, "find")),
]);

// sync-service owns the copies of its routes (`users` is a view of `users_copy`). MongoDB grants privileges by name and
// without patterns, so the copy of each new route must be named here, with its database: `shop_copy.products`. A name
// without a database is one in `tweets`. A copy that moves to its database is dropped in `tweets`.
const named = (process.env.SYNC_COLLECTIONS || "").split(",").map((name) => name.trim()).filter(Boolean);
const copies = ["auth.users", ...named].map((name) => ["tweets", ...name.split(".")].slice(-2));
const databases = [...new Set(copies.map(([database]) => database))];
grant("sync_service", process.env.MONGO_SYNC_PASSWORD, [
  // dropIndex: when a route is changed to keep tombstones, the index that purges them is dropped.
  ...copies
    .flatMap(([database, name]) => [[database, `${name}_copy`], [database, name]])
    .map(([database, name]) => within(database)(name, READ, WRITE, SCHEMA, "dropIndex")),
  ...copies
    .flatMap(([, name]) => [`${name}_copy`, name])
    .map((name) => on(name, READ, WRITE, SCHEMA, "dropIndex", "dropCollection")),
  ...["tweets", ...databases].flatMap((database) => [
    within(database)("", "listCollections"),
    within(database)("system.views", "find"),
  ]),
  // The states of moves are in the databases to which copies move.
  ...databases.map((database) => within(database)("sync_moves", READ, WRITE, SCHEMA)),
  // The sources of its copies, to compare them, and to notice drop, rename and $out, which cause no event of a document:
  // by one change stream of their database.
  on("", "find", "changeStream"),
]);

// Debezium reads the captured collections and the change stream of the database. Its snapshots of added collections mark
// their place in the change stream by documents of `debezium_signals`.
grant("debezium", process.env.MONGO_DEBEZIUM_PASSWORD, [
  on("", READ, "listCollections", "changeStream"),
  on("debezium_signals", WRITE),
]);
