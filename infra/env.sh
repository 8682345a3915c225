#!/bin/sh
# Writes .env from .env.example with random secrets, readable only by its owner. An existing .env stays as it is.
set -eu
umask 077
cd "$(dirname "$0")/.."

if [ -e .env ]; then
    echo ".env exists and stays as it is"
    exit 0
fi

# Letters and digits only: passwords are parts of URLs, and the key of the replica set is base64.
secret() {
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 48
}

new=$(mktemp .env.XXXXXX)
trap 'rm -f "$new"' EXIT
# dash runs no EXIT trap when a signal ends it.
trap 'exit 130' INT TERM HUP
while IFS= read -r line; do
    case $line in
    ENVIRONMENT=*) echo ENVIRONMENT=production ;; # refuses secrets that are not one's own
    [A-Z]*=local-only-* | MONGO_REPLICA_SET_KEY=*) printf '%s=%s\n' "${line%%=*}" "$(secret)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <.env.example >"$new"
# Without `-C` a file that was created in the meantime would be overwritten.
(set -C && cat "$new" >.env)
echo ".env has random secrets; keep a copy of it with your backups"
