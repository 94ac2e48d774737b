#!/usr/bin/env bash
# Long campaigns: proofs too slow for every change (kill and resume, process counts, speed against a peer).
# usage: scripts/verify.sh list
#        scripts/verify.sh NAME [arguments of the campaign]
# A campaign is one file, scripts/verify/NAME.sh or scripts/verify/NAME.py, whose first comment or docstring line
# says in one sentence what it proves and how long that takes. It exits 0 when the proof holds, prints what it
# measured, and writes nothing outside a temporary folder or the folder given by --out.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
campaigns="$root/scripts/verify"

headline() { # the first line that is neither the interpreter line nor empty, without its comment marks
    sed -n -e '1{/^#!/d;}' -e '/[^[:space:]]/{s/^[#" ]*//;s/"""$//;p;q;}' "$1"
}

list() {
    local file name
    for file in "$campaigns"/*.sh "$campaigns"/*.py; do
        [[ -f "$file" ]] || continue # a pattern without a match stays as it is
        name="$(basename "$file")"
        printf '%-24s %s\n' "${name%.*}" "$(headline "$file")"
    done
}

case "${1:-list}" in
list)
    list
    exit 0
    ;;
-h | --help)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

name="$1"
shift
if [[ -f "$campaigns/$name.py" ]]; then
    runner=("$root/.venv/bin/python" "$campaigns/$name.py")
elif [[ -f "$campaigns/$name.sh" ]]; then
    runner=(bash "$campaigns/$name.sh")
else
    echo "verify.sh: there is no campaign named $name; these exist:" >&2
    list >&2
    exit 2
fi
"$root/scripts/install.sh" dev
exec "${runner[@]}" "$@"
