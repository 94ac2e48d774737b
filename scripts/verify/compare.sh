#!/usr/bin/env bash
# A comparison that is killed twice, or stopped and gone on with by two processes, gives the same table (6 minutes).
# usage: scripts/verify/compare.sh [pytest arguments]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OMP_NUM_THREADS=1 exec .venv/bin/python -m pytest -m campaign tests/commands/test_compare.py "$@"
