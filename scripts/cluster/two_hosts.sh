#!/usr/bin/env bash
# Train on two hosts and on one, and compare: the losses of 20 steps are the same to 1e-5. Takes about two minutes.
# usage: scripts/cluster/two_hosts.sh --out DIR [--steps N]
# As root. The hosts are network namespaces of this machine; torchrun's rendezvous and gloo go over the link between
# them. DIR/one and DIR/two become run folders, DIR/logs holds what each host said, DIR/corpus is kept for the next time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"

steps=20
begin "$@"
rm -rf "$out/one" "$out/two"

echo "one host ..."
"$python" -P -m textssl pretrain mlm "${settings[@]}" "out=$out/one" >"$out/logs/one.txt" 2>&1 ||
    fail "the run on one host ended: see $out/logs/one.txt"

echo "two hosts ..."
make_hosts 2
launch 2 2 0 "${settings[@]}" "out=$out/two" >"$out/logs/two-host-2.txt" 2>&1 &
launch 1 2 0 "${settings[@]}" "out=$out/two" >"$out/logs/two-host-1.txt" 2>&1 ||
    fail "the run on two hosts ended: see $out/logs/two-host-1.txt"
wait $! || fail "the second host ended: see $out/logs/two-host-2.txt"

"$python" -P "$root/scripts/cluster/same_losses.py" "$out/one" "$out/two" --processes 1 2
