#!/bin/bash
# Starts mongod as a member of a replica set with authentication. Members authenticate with a shared key, which mongod
# reads from a file that only its user may read.
set -euo pipefail

# mongod would log an invalid key.
if [[ ! ${MONGO_REPLICA_SET_KEY:?} =~ ^[A-Za-z0-9+/=]{6,1024}$ ]]; then
    echo "MONGO_REPLICA_SET_KEY must have 6 to 1024 characters of base64" >&2
    exit 1
fi
data=${TANDEM_DATA:-/data/db} root_password=${MONGO_INITDB_ROOT_PASSWORD:?}
source "${BASH_SOURCE[0]%/*}/first-start.sh"

key=${TANDEM_KEY:-/data/configdb/replica-set.key}
(umask 077 && printf '%s' "$MONGO_REPLICA_SET_KEY" >"$key")
chown mongodb:mongodb "$key"
unset MONGO_REPLICA_SET_KEY
# A connection is a file, and Docker's soft limit may be 1,024.
ulimit -S -n "$(ulimit -H -n)"
# --quiet: no log line for each connection, such as that of the health check.
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile "$key" --bind_ip_all --quiet
