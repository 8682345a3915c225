#!/usr/bin/env bash
# Makes the virtual environment from the hash-pinned lock file: setup.sh PYTHON VENV PACKAGE...
set -euo pipefail

python=$1 venv=$2
shift 2

fail() {
    echo "error: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is not installed; Tandem needs Python 3.11 or newer."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Tandem needs 3.11 or newer (make PYTHON=python3.12 …)."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module is missing; on Debian: apt-get install python3-venv"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@" >"$log" 2>&1 ||
        fail "the Python packages can't be installed; is there a network? ($(grep -m1 -E 'ERROR|Error:' "$log" || tail -n1 "$log"))"
}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" ||
    fail "the virtual environment $venv can't be made; is the disk full?"
echo "Installing the Python packages into $venv"
pip install --require-hashes --requirement requirements.lock
editable=()
for package in "$@"; do
    editable+=(--editable "$package")
done
pip install --no-deps --no-build-isolation "${editable[@]}"
