#!/usr/bin/env bash
# Collect what scripts/gpu_check.sh needs on a GPU machine without a network: wheels of packages that are missing there,
# and the sample texts, into .gpu-wheels (which git ignores and which travels with the checkout, under 64 MiB).
# usage: scripts/gpu_wheels.sh [--python 3.12] [NAME ...]
#   NAME: packages, by default those that an image with torch, transformers and sentence-transformers lacks; their
#   versions are those of constraints.txt, for CPython on x86-64 Linux. Anything else there has to be there already.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
python_version=3.12
if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit 0
fi
if [[ "${1:-}" == --python ]]; then
    python_version="${2:?--python needs a version, such as 3.12}"
    shift 2
fi
names=("$@")
if [[ $# -eq 0 ]]; then
    names=(pydantic pydantic_core annotated-types typing-inspection datasets dill multiprocess xxhash
        scikit-learn narwhals joblib threadpoolctl zstandard sentencex rensa typer click)
fi

requirements=()
for name in "${names[@]}"; do
    pinned="$(grep -i "^$name==" constraints.txt || true)"
    if [[ -z "$pinned" ]]; then
        echo "gpu_wheels.sh: $name has no line in constraints.txt" >&2
        exit 2
    fi
    requirements+=("$pinned")
done

platforms=()
for tag in manylinux_2_34_x86_64 manylinux_2_31_x86_64 manylinux_2_28_x86_64 manylinux_2_27_x86_64 \
    manylinux_2_24_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64; do
    platforms+=(--platform "$tag")
done

scripts/install.sh
side="$(mktemp -d "$root/.gpu-wheels-XXXXXX")" # whole or not at all: renamed when everything is there
trap 'rm -rf "$side"' EXIT
.venv/bin/python -m pip download --quiet --no-input --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version "$python_version" --implementation cp "${platforms[@]}" --dest "$side" "${requirements[@]}"
for sample in news bbc sts; do
    TEXTSSL_CACHE="$side/cache" .venv/bin/python -m textssl samples get "$sample" >/dev/null
done
rm -rf "$side/cache/wheels" # the texts are out of them
chmod 755 "$side"
rm -rf .gpu-wheels
mv "$side" .gpu-wheels

size="$(du -sm .gpu-wheels | cut -f1)"
echo ".gpu-wheels: $(find .gpu-wheels -maxdepth 1 -name '*.whl' | wc -l) wheels for Python $python_version and 3 samples, $size MiB"
if ((size > 60)); then
    echo "gpu_wheels.sh: more than 60 MiB may be too much to travel with the checkout" >&2
    exit 1
fi
