#!/usr/bin/env bash
# Train, check and measure textssl on one GPU: a table, and gpu.json with logs in a folder. Eight minutes on an H100.
# usage: scripts/gpu_check.sh [--dry-run] [--out DIR] [--only PART,...] [--minutes N]
#   --dry-run   every part on the CPU, at tiny sizes, in under three minutes: the check itself is what is checked
#   --out DIR   for gpu.json, table.txt and logs (default: runs/gpu-check)
# Python is $PYTHON, else .venv/bin/python, else python3; packages that it lacks come from .gpu-wheels, which
# scripts/gpu_wheels.sh fills on a machine with a network.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
-h | --help)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

python="${PYTHON:-}"
if [[ -z "$python" ]]; then
    python=python3
    if [[ -x .venv/bin/python ]]; then python=.venv/bin/python; fi
fi
lacking() { # the requirements of textssl that Python has not got
    "$python" - <<'PYTHON'
import importlib.metadata as installed, re, tomllib

names = [re.match(r"[\w.-]+", line)[0] for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]]
found = {one.name.lower().replace("_", "-") for one in installed.distributions() if one.name}
print(*(name for name in names if name.lower().replace("_", "-") not in found))
PYTHON
}
if [[ -n "$(lacking)" && -d .gpu-wheels ]]; then
    site="$(mktemp -d)"
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" .gpu-wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
if [[ -n "$(lacking)" ]]; then
    echo "gpu_check.sh: $python lacks $(lacking): run scripts/install.sh, or scripts/gpu_wheels.sh on a machine with a network" >&2
    exit 2
fi
if [[ -d .gpu-wheels/cache ]]; then export TEXTSSL_CACHE="$PWD/.gpu-wheels/cache"; fi
"$python" -m scripts.gpu_check "$@"
