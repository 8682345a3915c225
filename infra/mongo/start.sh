#!/bin/bash
# Starts mongod as a member of a replica set with authentication. Members authenticate with a shared key, which mongod
# reads from a file that only its user may read.
set -euo pipefail

key=/data/configdb/replica-set.key
(umask 077 && printf '%s' "${MONGO_REPLICA_SET_KEY:?}" >"$key")
chown mongodb:mongodb "$key"
unset MONGO_REPLICA_SET_KEY
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile "$key" --bind_ip_all
