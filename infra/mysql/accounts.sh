#!/bin/bash
# Creates schemas and accounts by accounts.sql, as root over TCP. The one-shot service `mysql-init` runs it at every
# `docker compose up`: it is idempotent, applies changed passwords, and continues where an interrupted run ended.
set -euo pipefail

for name in MYSQL_AUTH_PASSWORD MYSQL_SYNC_PASSWORD MYSQL_DEBEZIUM_PASSWORD; do
    case ${!name:-} in
    '' | *[!A-Za-z0-9._-]*)
        echo "$name may contain letters, digits, '.', '_' and '-' only, because it is part of a URL" >&2
        exit 1
        ;;
    esac
done

# In a file of options, a password is in no list of processes.
root=${MYSQL_ROOT_PASSWORD//\\/\\\\}
client() {
    mysql --defaults-extra-file=<(printf '[client]\npassword="%s"\n' "${root//\"/\\\"}") \
        --host="${MYSQL_HOST:-mysql}" --user=root "$@"
}

if ! refusal=$(client --execute "SELECT 1" 2>&1); then
    echo "$refusal" >&2
    echo "MYSQL_ROOT_PASSWORD is applied only at the first start; afterwards, change it in MySQL before you change it here:" \
        "ALTER USER root@localhost, root@'%' IDENTIFIED BY '…'" >&2
    exit 1
fi

sed -e "s/\${MYSQL_AUTH_PASSWORD}/$MYSQL_AUTH_PASSWORD/" \
    -e "s/\${MYSQL_SYNC_PASSWORD}/$MYSQL_SYNC_PASSWORD/" \
    -e "s/\${MYSQL_DEBEZIUM_PASSWORD}/$MYSQL_DEBEZIUM_PASSWORD/" \
    "${BASH_SOURCE[0]%/*}/accounts.sql" | client
echo "schemas and accounts are up to date"
