#!/usr/bin/env bash
# Chromium for the tests of the web UI, if it is not there: Debian's without its windows, which is three times as fast
# in tests. Installing it needs root.
set -euo pipefail

package=chromium-headless-shell
command -v $package chromium >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: the tests of the web UI need Chromium; on Debian: sudo apt-get install $package" >&2
    exit 1
fi
echo "Installing Chromium for the tests of the web UI"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends $package >/dev/null
