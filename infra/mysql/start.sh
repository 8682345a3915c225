#!/bin/bash
# Starts mysqld. The image takes a data folder for complete as soon as it exists. A first start that was interrupted would
# leave a server without accounts, so its remains are deleted, and it is repeated: `.initializing` marks them.
set -euo pipefail

data=${TANDEM_DATA:-/var/lib/mysql}
if [[ -e $data/.initializing ]]; then
    echo "The first start was interrupted; it is repeated."
    find "$data" -mindepth 1 -delete
fi
if [[ -z $(ls -A "$data") ]]; then
    touch "$data/.initializing"
fi
exec docker-entrypoint.sh mysqld
