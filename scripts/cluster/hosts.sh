#!/usr/bin/env bash
# Hosts on one machine, for two_hosts.sh and three_hosts.sh: network namespaces with names and addresses of their own,
# joined by veth pairs to a switch in a namespace of its own. Sourced, and needs root and Debian's iproute2.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
prefix="textssl-$$"
network=10.77.0
port=29517

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

begin() { # ARGUMENTS of the script: out, steps (the script's own unless given) and the settings of its runs
    out=''
    while (($#)); do
        case "$1" in
        --out) out="${2:?--out needs a folder}" && shift 2 ;;
        --steps) steps="${2:?--steps needs a number}" && shift 2 ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" && exit 0 ;;
        *) fail "$1 is unknown; see --help" ;;
        esac
    done
    [[ -n "$out" ]] || fail "--out DIR is missing: the folder of the runs"
    ready
    mkdir -p "$out/logs"
    out="$(cd "$out" && pwd)"
    make_data "$out"
    settings+=("train.max_steps=$steps")
}

ready() { # root, the programs, and textssl with its packages
    [[ "$(id -u)" == 0 ]] || fail "network namespaces are made by root: start it with sudo"
    for program in ip nsenter unshare; do
        command -v "$program" >/dev/null || fail "$program is missing: apt-get install iproute2 util-linux"
    done
    "$root/scripts/install.sh"
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
}

make_hosts() { # NUMBER: host-1, host-2, ... at 10.77.0.1, 10.77.0.2, ...
    local n host switch="$prefix-switch"
    trap drop_hosts EXIT
    names="$(mktemp)"
    echo "127.0.0.1 localhost" >"$names"
    ip netns add "$switch"
    ip -n "$switch" link add bridge type bridge
    ip -n "$switch" link set bridge up
    for n in $(seq "$1"); do
        host="$prefix-$n"
        echo "$network.$n host-$n" >>"$names"
        ip netns add "$host"
        ip -n "$host" link set lo up
        ip -n "$host" link add eth0 type veth peer name "port$n" netns "$switch"
        ip -n "$host" address add "$network.$n/24" dev eth0
        ip -n "$host" link set eth0 up
        ip -n "$switch" link set "port$n" master bridge up
    done
}

drop_hosts() { # the processes on them too; nothing stays
    local name
    for name in $(ip netns list | awk -v prefix="$prefix-" 'index($1, prefix) == 1 {print $1}'); do
        kill_host "$name"
        ip netns delete "$name"
    done
    rm -f "$names"
}

kill_host() { # NAME of a namespace: what a power cut does to its processes
    local pids
    while pids="$(ip netns pids "$1")" && [[ -n "$pids" ]]; do
        kill -KILL $pids 2>/dev/null || true
        sleep 0.1
    done
}

on_host() { # N COMMAND...: with that host's network, name, and view of the others' names
    local n="$1"
    shift
    nsenter --net="/run/netns/$prefix-$n" unshare --uts --mount sh -c \
        'mount --bind "$0" /etc/hosts && hostname "$1" && shift && exec "$@"' "$names" "host-$n" "$@"
}

launch() { # N NODES RESTARTS KEY=VALUE...: this host's share of a run of textssl pretrain
    local n="$1" nodes="$2" restarts="$3"
    shift 3
    on_host "$n" env GLOO_SOCKET_IFNAME=eth0 "$python" -P -m torch.distributed.run \
        --nnodes "$nodes" --nproc-per-node 1 --max-restarts "$restarts" --local-addr "$network.$n" \
        --rdzv-backend c10d --rdzv-endpoint "$network.1:$port" --rdzv-id "$prefix" --rdzv-conf last_call_timeout=5 \
        -m textssl pretrain mlm "$@"
}

make_data() { # DIR: a tokenizer and a corpus of real text, made once
    if [[ ! -d "$1/corpus" ]]; then
        "$python" -P -m textssl tokenizer train --input sample:news --out "$1/tokenizer" --algorithm wordpiece \
            --lowercase --vocab-size 4096
        "$python" -P -m textssl prepare --input sample:news --tokenizer "$1/tokenizer" --out "$1/corpus"
    fi
    settings=("tokenizer=$1/tokenizer" "data.corpus=$1/corpus" train.device=cpu train.precision=float32 train.log_every=1
        train.batch_size=8 data.sequence_length=128 evaluation.every=null "schedule={name: linear, warmup_steps: 5}")
}
