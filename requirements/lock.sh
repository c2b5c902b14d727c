#!/usr/bin/env bash
# Resolve the lock files for Python 3.10 to 3.12 on x86-64 and aarch64, with hashes and without index addresses.
# Extra words go to uv, e.g. requirements/lock.sh --upgrade
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null; then
    tool=$(mktemp -d)
    trap 'rm -rf "$tool"' EXIT
    python3 -m venv "$tool"
    "$tool/bin/pip" install -q uv
    PATH=$tool/bin:$PATH
fi
compile() {
    local output=$1
    shift
    uv pip compile --quiet --universal --generate-hashes --python-version 3.10 --only-binary :all: \
        --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --output-file "requirements/$output" "$@" >/dev/null
}
# The daemon as a box runs it.
compile daemon.lock pyproject.toml --extra openvino --extra dicom "$@"
# What installing from a working tree needs: the build backend, the same for every package.
compile backend.lock requirements/backend.in "$@"
# Tests and static gates; the daemon's versions stay as they are.
compile dev.lock pyproject.toml --extra openvino --extra dicom --extra onnxruntime --extra test --extra dev \
    --constraints requirements/daemon.lock --constraints requirements/backend.lock "$@"
if grep -lE '(https?|file)://' requirements/*.lock; then
    echo "a lock file names an address; see the list above" >&2
    exit 1
fi
