#!/bin/bash
# Starts mongod as a member of a replica set with authentication. Members authenticate with a shared key, which mongod
# reads from a file that only its user may read.
#
# The image takes a data folder for complete as soon as it exists. A first start that was interrupted would leave a server
# without accounts, so its remains are deleted, and it is repeated: `.initializing` marks them.
set -euo pipefail

data=${TANDEM_DATA:-/data/db}
if [[ -e $data/.initializing ]]; then
    echo "The first start was interrupted; it is repeated."
    find "$data" -mindepth 1 -delete
fi
if [[ -z $(ls -A "$data") ]]; then
    touch "$data/.initializing"
fi

key=${TANDEM_KEY:-/data/configdb/replica-set.key}
(umask 077 && printf '%s' "${MONGO_REPLICA_SET_KEY:?}" >"$key")
chown mongodb:mongodb "$key"
unset MONGO_REPLICA_SET_KEY
# --quiet: no log line for each connection, such as that of the health check.
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile "$key" --bind_ip_all --quiet
