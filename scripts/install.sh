#!/usr/bin/env bash
# Make .venv at the repository root and install textssl into it with the tested set of packages.
# usage: scripts/install.sh [EXTRA]                       e.g. scripts/install.sh dev
#        scripts/install.sh --lowest [--torch VERSION]    .venv-lowest, with the lowest versions that pyproject.toml
#                                                         allows, and pytest; torch is the tested one if not given
# Does nothing, and needs no network, while pyproject.toml and the constraints are as they were at the last install.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
constraints="$root/constraints.txt"
extra="${1:-}"
packages=(-e "$root${extra:+[$extra]}")

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

if [[ "$extra" == --lowest ]]; then
    venv="$root/.venv-lowest"
    constraints="$root/constraints-lowest.txt"
    extra=lowest
    packages=(-e "$root" pytest hypothesis tensorboard)
    if [[ "${2:-}" == --torch ]]; then
        [[ "${3:-}" =~ ^[0-9]+(\.[0-9]+)+$ ]] || fail "--torch needs a version, such as --torch 2.11.0"
        changed="$(mktemp)"
        trap 'rm -f "$changed"' EXIT
        sed "s/^torch==.*/torch==$3/" "$constraints" >"$changed"
        constraints="$changed"
    elif [[ -n "${2:-}" ]]; then
        fail "$2 is unknown; after --lowest comes --torch VERSION or nothing"
    fi
fi

recent_enough() { # a python that runs and is 3.11 or newer
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python $0"
}

# One stamp file a set of extras; its name carries what was installed and where.
key="$({ echo "$root"; cat "$root/pyproject.toml" "$constraints"; } | cksum | cut -d' ' -f1)"
stamp="$venv/.textssl-$key"
python="$venv/bin/python"
if recent_enough "$python" && [[ -e "$stamp-${extra:-base}" ]]; then
    exit 0
fi

if ! recent_enough "$python" || ! "$python" -m pip --version >/dev/null 2>&1; then
    found="$(find_python)"
    echo "making $venv with $("$found" --version)" >&2
    "$found" -m venv --clear "$venv" || fail "could not make $venv (on Debian and Ubuntu: apt install python3-venv)"
fi
echo "installing textssl${extra:+ ($extra)} into $venv" >&2
rm -f "$venv"/.textssl-*
# The constraints matter: a bare torch can pull several GB of a GPU build.
"$python" -m pip install --no-input --disable-pip-version-check --quiet \
    -c "$constraints" "${packages[@]}"
touch "$stamp-base" "$stamp-${extra:-base}"
