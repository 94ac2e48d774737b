#!/usr/bin/env bash
# Everything that has to pass: formatting, linting, types, and all tests, slow ones included.
# usage: scripts/test.sh [pytest arguments]      e.g. scripts/test.sh -m "not slow"     scripts/test.sh tests/data
#            A process a core runs the tests, beside the check of types, which arguments leave out; give -n 0 for one,
#            as a debugger needs it. Where single files are named, one process is the quicker.
#        scripts/test.sh --lowest [--torch VERSION] [arguments]    the fast tests with the lowest versions of
#            pyproject.toml, in .venv-lowest; what needs the extras eval, fast and notebooks is left out. torch is the tested
#            one unless a version is given: older ones are built for GPUs, and large.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ "${1:-}" == --lowest ]]; then
    shift
    torch=()
    if [[ "${1:-}" == --torch ]]; then
        torch=("$1" "${2:-}")
        shift "$(($# > 1 ? 2 : 1))"
    fi
    scripts/install.sh --lowest ${torch[@]+"${torch[@]}"}
    exec .venv-lowest/bin/python -m pytest -m "not slow" --ignore tests/evaluation/tasks/test_mteb_adapter.py \
        --ignore tests/test_notebooks.py "$@"
fi
scripts/install.sh dev
python=.venv/bin/python
"$python" -m ruff format --check .
"$python" -m ruff check .

cores=$(getconf _NPROCESSORS_ONLN)
workers=(-n "$((cores < 8 ? cores : 8))" --dist worksteal)
for argument in "$@"; do
    case "$argument" in
        *.py | *.py::* | -n* | --numprocesses* | --pdb) workers=() ;;
    esac
done
export OMP_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE # or every process of the tests would compile textssl anew
if (($#)); then
    exec "$python" -m pytest ${workers[@]+"${workers[@]}"} "$@"
fi
types=$(mktemp)
# With more room for what is new, node collects its garbage in fewer rounds: a quarter less work.
NODE_OPTIONS="--max-semi-space-size=128 ${NODE_OPTIONS:-}" "$python" -m pyright >"$types" 2>&1 &
checking=$!
trap 'kill "$checking" 2>/dev/null || true; rm -f "$types"' EXIT
passed=0
"$python" -m pytest "${workers[@]}" || passed=$?
wait "$checking" || passed=$?
cat "$types"
exit "$passed"
