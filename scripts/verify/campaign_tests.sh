#!/usr/bin/env bash
# The tests marked campaign: more objectives killed and moved, a comparison, torchrun, the check of a GPU (15 minutes).
# usage: scripts/verify/campaign_tests.sh [pytest arguments]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OMP_NUM_THREADS=1 exec .venv/bin/python -m pytest -m campaign tests/commands/test_compare.py \
    tests/training/test_resume.py tests/test_main.py tests/test_gpu_check.py "$@"
