#!/bin/sh
# install-locked.sh LOCK PYPROJECT VENV: installs what a package needs, in the versions of the lock file and checked by
# the hashes in the lock file. (`uv pip compile --generate-hashes` would take the hashes from the package index, so that
# a changed lock file would not be noticed.)
set -eu

pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
uv pip compile -q --no-header --no-annotate --no-emit-package service-kit --no-emit-package sync-service --constraint "$1" --output-file "$pins" "$2"
uv pip install -q --no-cache --python "$3" --require-hashes --no-deps --constraint "$1" --requirement "$pins"
