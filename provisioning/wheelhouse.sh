#!/usr/bin/env bash
# Collect everything that a box installs as wheels, for a box without a network:
#   wheelhouse.sh DIRECTORY          then, on the box:
#   python3 -m venv /opt/appliance
#   /opt/appliance/bin/pip install --no-index --find-links DIRECTORY -r DIRECTORY/daemon.lock
#   /opt/appliance/bin/pip install --no-index --no-deps DIRECTORY/hospital_analyzer_appliance-*.whl
# PLATFORM=manylinux_2_35_aarch64 collects for another machine with the same Python version as this one's.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=${1:?usage: wheelhouse.sh DIRECTORY}
mkdir -p "$directory"
export PIP_DISABLE_PIP_VERSION_CHECK=1
elsewhere=()
if [ -n "${PLATFORM:-}" ]; then
    # pip takes a platform tag literally, so the older ones that the same machine accepts are named as well.
    [[ $PLATFORM =~ ^manylinux_2_([0-9]+)_(aarch64|x86_64)$ ]] || {
        echo "wheelhouse.sh: expected PLATFORM=manylinux_2_N_aarch64 or …_x86_64 and got $PLATFORM" >&2
        exit 2
    }
    minor=${BASH_REMATCH[1]} machine=${BASH_REMATCH[2]}
    for n in $(seq 17 "$minor"); do elsewhere+=(--platform "manylinux_2_${n}_$machine"); done
    elsewhere+=(--platform "manylinux2014_$machine" --platform "linux_$machine")
fi
.venv/bin/python -m pip download --require-hashes --only-binary :all: --no-deps \
    "${elsewhere[@]}" --dest "$directory" -r requirements/daemon.lock
.venv/bin/python -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$directory" .
cp requirements/daemon.lock "$directory/"
du -sh "$directory"
