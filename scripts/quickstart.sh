#!/usr/bin/env bash
# Install textssl into .venv (once) and run `textssl quickstart`: sample news, tokenizer, corpus, training, evaluation.
# usage: scripts/quickstart.sh [arguments of `textssl quickstart`]      e.g. scripts/quickstart.sh --out ./first
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$root/scripts/install.sh"
exec "$root/.venv/bin/python" -m textssl quickstart "$@"
