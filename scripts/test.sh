#!/usr/bin/env bash
# Everything that has to pass: formatting, linting, types, and all tests, slow ones included.
# usage: scripts/test.sh [pytest arguments]      e.g. scripts/test.sh -m "not slow"     scripts/test.sh tests/data
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/install.sh dev
python=.venv/bin/python
"$python" -m ruff format --check .
"$python" -m ruff check .
"$python" -m pyright
exec "$python" -m pytest "$@"
