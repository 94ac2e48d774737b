#!/usr/bin/env bash
# Lose one of three hosts in the middle of a run: the others name it and end, or go on. Takes about five minutes.
# usage: scripts/cluster/three_hosts.sh --out DIR [--steps N]
# As root; the hosts are network namespaces of this machine. (1) The third host's link goes down, so that nothing says it
# is gone: the others name its rank and end within train.timeout_seconds (20) and 60 more. (2) The third host is killed
# under torchrun's elastic launch (--nnodes 2:3): the other two go on from the newest checkpoint, and the losses are those
# of an unbroken run on one host. DIR/logs holds what each host said.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"

steps=120 timeout_seconds=20
begin "$@"
settings+=(train.checkpoint_every=10 "train.timeout_seconds=$timeout_seconds")
rm -rf "$out/unplugged" "$out/elastic" "$out/whole"

wait_for_step() { # RUN STEP
    local waited
    for waited in $(seq 600); do
        [[ -d "$1/checkpoints/$(printf 'step-%08d' "$2")" ]] && return
        sleep 0.5
    done
    fail "$1 has not come to step $2 in five minutes: see $out/logs"
}

start_three() { # RUN NODES RESTARTS
    local n
    pids=()
    for n in 1 2 3; do
        launch "$n" "$2" "$3" "${settings[@]}" "out=$1" >"$out/logs/$(basename "$1")-host-$n.txt" 2>&1 &
        pids+=("$!")
    done
}

make_hosts 3
echo "three hosts, and the third one's link goes down ..."
start_three "$out/unplugged" 3 0
wait_for_step "$out/unplugged" 20
began="$SECONDS"
ip -n "$prefix-3" link set eth0 down
for n in 0 1; do
    wait "${pids[n]}" && fail "host-$((n + 1)) went on without the third host"
done
took=$((SECONDS - began))
((took <= timeout_seconds + 60)) || fail "the others ended after $took seconds"
words="$(grep -ho 'rank [0-9 and]* of 3 did not answer' "$out"/logs/unplugged-host-[12].txt | sort -u)"
[[ -n "$words" ]] || fail "nobody named the rank that is gone: see $out/logs/unplugged-host-1.txt"
echo "ended after $took seconds: $words"
kill_host "$prefix-3"
ip -n "$prefix-3" link set eth0 up

echo "three hosts under an elastic launch, and the third one is killed ..."
start_three "$out/elastic" 2:3 10 # a rank that joins early finds the other one gone, and that costs a restart
wait_for_step "$out/elastic" 20
began="$SECONDS"
kill_host "$prefix-3"
for n in 0 1; do
    wait "${pids[n]}" || fail "host-$((n + 1)) did not go on: see $out/logs/elastic-host-$((n + 1)).txt"
done
echo "done by two hosts $((SECONDS - began)) seconds later"

echo "the same steps on one host ..."
"$python" -P -m textssl pretrain mlm "${settings[@]}" "out=$out/whole" >"$out/logs/whole.txt" 2>&1 ||
    fail "the run on one host ended: see $out/logs/whole.txt"
"$python" -P "$root/scripts/cluster/same_losses.py" "$out/whole" "$out/elastic" --processes 1 2 --resumed
