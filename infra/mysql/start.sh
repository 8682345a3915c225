#!/bin/bash
# Starts mysqld.
set -euo pipefail

data=${TANDEM_DATA:-/var/lib/mysql} root_password=${MYSQL_ROOT_PASSWORD:?}
source "${BASH_SOURCE[0]%/*}/first-start.sh"
exec docker-entrypoint.sh mysqld
