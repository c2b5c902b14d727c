#!/usr/bin/env bash
# Make or renew .venv for `daemon` (what a box runs) or `dev` (that, tests and static gates).
# Does nothing when the stamp says that the lock files have not changed since. Installs only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:?usage: venv.sh daemon|dev}
case $level in
    daemon) locks=(requirements/daemon.lock requirements/backend.lock) ;;
    dev) locks=(requirements/dev.lock requirements/backend.lock) ;;
    *) echo "venv.sh: expected daemon or dev and got $level" >&2; exit 2 ;;
esac

exec 9<requirements && flock 9 # two makes at once take turns

python=${PYTHON:-python3}
say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

system_packages() {
    local missing=()
    command -v "$python" >/dev/null || missing+=(python3)
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    [ ${#missing[@]} -eq 0 ] && return
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "Missing system packages: ${missing[*]}. As root: apt-get install ${missing[*]}" >&2
            exit 1
        }
        root=(sudo)
    fi
    say "system packages: ${missing[*]}"
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

fingerprint() { cat pyproject.toml "${locks[@]}" | sha256sum | cut -d' ' -f1; }

stamp=.venv/.installed-$level # names the tree as well: an environment does not survive a move
working() { [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys' 2>/dev/null; }
if working && [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)  $PWD" ]; then
    exit 0
fi

if ! working; then
    system_packages
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "expected Python 3.10 or newer and got $("$python" --version); PYTHON=python3.11 make … picks another" >&2
        exit 1
    }
    say "virtual environment .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(.venv/bin/python -m pip)
requirements=()
for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
say "$level: locked packages into .venv"
"${pip[@]}" install --require-hashes --only-binary :all: --progress-bar off "${requirements[@]}" |
    awk -v total="$(cat "${locks[@]}" | grep -c '==')" '
        /^Ignoring / || /^Requirement already satisfied/ { total--; next }  # for another Python; or there
        /^(Collecting|Processing) / { sub(/.*\//, "", $2); printf "[%d/%d] %s\n", ++n, total, $2; fflush(); next }
        /Downloading .* \(/ { sub(/^.*\(/, "("); print "        " $0; fflush(); next }
        /^Installing collected packages/ { print "installing; this takes a minute"; fflush(); next }
        /^Looking in|^ *Using cached|^ |^Successfully/ { next }
        { print; fflush() }' >&2
say "this tree into .venv"
"${pip[@]}" install -q --no-deps --no-build-isolation --editable .
echo "$(fingerprint)  $PWD" >"$stamp"
