#!/usr/bin/env bash
# A wheel, installed outside of the repository, does the README's three jobs by name, on sample data (3 minutes).
# usage: scripts/verify/wheel.sh [--out DIR]     DIR is kept; without it everything is made in a temporary folder
# The environment is new and has this wheel; everything else it takes from the .venv of the repository. Building the
# wheel needs hatchling, which pip fetches.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
unset PYTHONPATH PYTHONHOME
if [[ "${1:-}" == --out ]]; then
    work="${2:?--out needs a folder}"
    mkdir -p "$work"
    work="$(cd "$work" && pwd)"
else
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
fi

step() { # what is done, then the command; its output is shown where it fails
    local began=$SECONDS title="$1"
    shift
    set +e # in a condition, `set -e` would not hold inside of a function
    (set -e && "$@") >"$work/step.log" 2>&1
    local code=$?
    set -e
    if ((code != 0)); then
        cat "$work/step.log" >&2
        echo "wheel.sh: this failed with $code: $*" >&2
        exit 1
    fi
    printf '%-58s %4d s\n' "$title" "$((SECONDS - began))"
}

build() {
    rm -rf "$work/dist"
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/dist" "$root"
    "$python" -m zipfile -l "$work"/dist/textssl-*.whl | awk '{print $1}' >"$work/files"
    (cd "$root" && printf 'textssl/%s\n' configs/*.yaml py.typed) >"$work/wanted"
    echo "these belong into the wheel and are not there:"
    ! grep -vxFf "$work/files" "$work/wanted"
}

install() { # the wheel first: pip would take the textssl of the repository for the one that is asked for
    "$python" -m venv --clear "$work/env"
    "$work/env/bin/python" -m pip install --quiet --no-deps "$work"/dist/textssl-*.whl
    local place='import sysconfig; print(sysconfig.get_paths()["purelib"])'
    "$python" -c "$place" >"$("$work/env/bin/python" -c "$place")/repository-packages.pth"
}

own_objective() {
    mkdir -p mine
    printf 'from textssl.objectives.mlm import MaskedLM\n\n\nclass Mine(MaskedLM):\n    "As mlm."\n' >mine/method.py
    "$textssl" pretrain mlm "objective={name: 'mine.method:Mine'}" "${short[@]}" out=own
    grep -q 'mine.method:Mine' own/config.yaml
}

loads_without_textssl() {
    "$work/env/bin/python" -W ignore -c '
import sys
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForMaskedLM, pipeline
AutoModelForMaskedLM.from_pretrained("mlm/model")
assert SentenceTransformer("crops/model", device="cpu").encode(["a text"]).shape[0] == 1
assert pipeline("text-classification", "spam/model", device="cpu")("win a prize now")[0]["label"] in ("ham", "spam")
assert "textssl" not in sys.modules'
}

step "the wheel, with every configuration and py.typed" build
step "installed in an environment of its own" install
textssl="$work/env/bin/textssl"
rm -rf "$work/elsewhere" && mkdir "$work/elsewhere" && cd "$work/elsewhere"
short=(tokenizer=tokenizer data.corpus=corpus train.max_steps=3 train.batch_size=8 evaluation.every=null)

imported="$("$work/env/bin/python" -c 'import textssl; print(textssl.__file__)')"
[[ "$imported" == "$work/env/"* ]] || { echo "wheel.sh: textssl is that of $imported" >&2 && exit 1; }
step "textssl doctor" "$textssl" doctor
step "textssl configs list" "$textssl" configs list
step "textssl configs copy crops" "$textssl" configs copy crops
cmp crops.yaml "$root/configs/crops.yaml"
rm crops.yaml
step "textssl tokenizer train --input sample:news" \
    "$textssl" tokenizer train --input sample:news --out tokenizer --algorithm wordpiece --lowercase --vocab-size 8192
step "textssl prepare --input sample:news" \
    "$textssl" prepare --input sample:news --tokenizer tokenizer --out corpus
step "textssl pretrain mlm" "$textssl" pretrain mlm "${short[@]}" out=mlm
step "textssl pretrain crops" "$textssl" pretrain crops "${short[@]}" out=crops
step "textssl finetune classification (sample:sms)" \
    "$textssl" finetune classification model.pretrained=mlm/model data.train=sample:sms train.max_steps=3 out=spam
step "textssl predict" \
    "$textssl" predict --model spam/model --input sample:sms --out labels.jsonl
step "textssl pretrain mlm with an objective of this folder" own_objective
step "the three models load without textssl" loads_without_textssl
echo "the wheel does it all: $(basename "$work"/dist/*.whl), $(wc -l <labels.jsonl) texts labelled"
