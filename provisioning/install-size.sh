#!/usr/bin/env bash
# Install the daemon alone (the lock file a box installs from, and this tree) into a throw-away directory and
# print what it takes on disk, largest package first.
set -euo pipefail
cd "$(dirname "$0")/.."

provisioning/venv.sh daemon
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install -q --require-hashes --only-binary :all: --no-deps --no-compile \
    --target "$target" -r requirements/daemon.lock
.venv/bin/python -m pip install -q --no-deps --no-build-isolation --no-compile --target "$target" .
du -sm --apparent-size "$target"/* | sort -rn | head -15 | sed "s#$target/##" | awk '{printf "%6d MB  %s\n", $1, $2}'
printf '%6d MB  in all\n' "$(du -sm --apparent-size "$target" | cut -f1)"
