#!/bin/bash
# The rows of bench/run, which reads this file: one function a row. Each measures its baseline and the worker in the round
# $round, prints a line for both and adds to its ratios.

# shellcheck disable=SC2034,SC2154 # bench/run reads the one and sets the other
declare -A meaning=(
    [noop]="no-op / raw Kafka loop"
    [echo]="no-op, one at a time, p50 less that of a raw Kafka echo, ms"
    [waiting_64]="64 jobs of 20 ms / concurrency by job time"
    [waiting_512]="512 jobs of 100 ms / concurrency by job time"
    [local]="local / fork+exec loop"
    [self_managed]="self_managed / concurrency by job time"
    [aliyun_codeinterpreter]="aliyun_codeinterpreter / concurrency by job time"
    [e2b]="e2b / concurrency by job time"
    [ssh]="ssh, waits, beyond the program / channel with true"
    [ssh_hello]="ssh, hello, beyond the program / channel with hello, likewise"
)

use_noop() { # PREFIX CONCURRENCY: as use_worker, with the provider that does nothing
    read -r -a worker <<<"$bin/noop_worker $(options "$@")"
}

row_noop() {
    local raw
    measure "raw$round" 400000 16 10000 "$bin/raw_loop" "$KAFKA" "raw$round.requests" "raw$round.results"
    raw=${figures[0]}
    line "raw Kafka loop" "${figures[@]}"

    settings "noop$round" noop '{}'
    use_noop "noop$round" 64
    measure "noop$round" 400000 16 10000 "${worker[@]}"
    line "sandpiper, no-op" "${figures[@]}"
    ratios[noop]+=" $(ratio "${figures[0]}" "$raw")"
}

# One job at a time.
row_echo() {
    local raw
    echo_of "rawecho$round" "raw Kafka echo" \
        "$bin/raw_loop" "$KAFKA" "rawecho$round.requests" "rawecho$round.results"
    raw=$p50
    settings "echo$round" noop '{}'
    use_noop "echo$round" 64
    echo_of "echo$round" "sandpiper, echo" "${worker[@]}"
    ratios[echo]+=" $(awk -v a="$p50" -v b="$raw" 'BEGIN { printf "%.2f", a - b }')"
}

echo_of() { # PREFIX NAME COMMAND...: the command answers; leaves its p50 in `p50`
    topics "$1"
    background "$dir/background.log" "${@:3}"
    trips "$1" 1000 1 bench/hello.py
    p50=$(trip p50_ms)
    line "$2" "" "$p50" "$(trip p99_ms)" "$(peak_mb)"
    end_last
}

# Executors that wait, and nothing else: how many of them wait at any time.
row_waiting() {
    waiting_row 64 20 40000
    waiting_row 512 100 60000
}

waiting_row() { # CONCURRENCY MILLISECONDS JOBS
    local most prefix=waiting$1-$round
    settings "$prefix" noop "{\"delay_ms\":$2}"
    use_noop "$prefix" "$1"
    measure "$prefix" "$3" 16 320 "${worker[@]}"
    line "sandpiper, $1 waiting" "${figures[@]}"
    most=$(ratio "$1" "$(ratio "$2" 1000)")
    line "$1 at $2 ms" "$most" "" "" ""
    ratios[waiting_$1]+=" $(ratio "${figures[0]}" "$most")"
}

# Kafka is fed meanwhile at the rate at which the worker worked.
row_local() {
    local ours fork jobs=800 concurrency=16
    settings "local$round" local "{\"isolation\":\"none\",\"work_dir\":\"$dir/work\"}"
    use_worker "local$round" $concurrency
    measure "local$round" $jobs 2 200 "${worker[@]}"
    ours=${figures[0]}
    line "sandpiper, local" "${figures[@]}"

    topics "fork$round"
    fork=$("$bin/fork_loop" "$KAFKA" "fork$round.requests" $jobs $concurrency "${ours%.*}" \
        "$(readlink -f /usr/bin/python3)" bench/hello.py | figure jobs_per_s)
    line "fork+exec loop" "$fork" "" "" ""
    ratios[local]+=" $(ratio "$ours" "$fork")"
}

# Jobs at a service that takes a fixed time for each and executes nothing.
row_self_managed() { service_row self_managed '"endpoint":"URL"'; }
row_aliyun_codeinterpreter() {
    service_row aliyun_codeinterpreter '"access_key_id":"LTAI1","access_key_secret":"s","account_id":"1",
        "control_endpoint":"URL","data_endpoint":"URL"'
}
row_e2b() { service_row e2b '"api_key":"e2b_0","api_url":"URL","sandbox_url":"URL"'; }

service_row() { # PROVIDER SETTINGS: members, in which URL stands for the service's address
    local port most jobs=20000 concurrency=256 job_ms=200 out=$dir/load_server.$1.$round prefix=$1$round
    : >"$out"
    background "$out" "$bin/load_server" "$1" $job_ms
    until port=$(sed -n 's/^ready //p' "$out") && [ -n "$port" ]; do sleep 0.1; done
    settings "$prefix" "$1" "{${2//URL/http://127.0.0.1:$port}}"
    use_worker "$prefix" $concurrency
    measure "$prefix" $jobs 16 320 "${worker[@]}"
    line "sandpiper, $1" "${figures[@]}"
    end_last
    most=$(ratio "$concurrency" "$(ratio $job_ms 1000)")
    line "$concurrency at $job_ms ms" "$most" "" "" ""
    echo "       $(figure connections <"$out") connections to the service, $(figure most_connections <"$out") at once"
    [ "$(figure made <"$out")" = "$(figure ended <"$out")" ] || {
        echo "bench: sandboxes are left at the service" >&2
        exit 1
    }
    ratios[$1]+=" $(ratio "${figures[0]}" "$most")"
}

# The far end is this machine: a private sshd, as the tests start it, and a folder of its own. The interpreter there tells
# what each program took by itself (timed_python). The program `waits` does; `hello` computes, and 16 of it fight over the
# processors with what is measured, so it is compared with itself in a bare channel.
row_ssh() {
    local jobs=500 in_flight=16 sessions=10 far=$dir/far python=$PWD/$bin/timed_python connections
    mkdir -p "$far"
    start_sshd
    settings "ssh$round" ssh "{\"host\":\"127.0.0.1\",\"port\":${sshd[1]},\"username\":\"${sshd[2]}\",
        \"private_key\":\"${sshd[3]}\",\"host_key_fingerprint\":\"${sshd[4]}\",\"max_sessions\":$sessions,
        \"python_bin\":\"$python\",\"work_dir\":\"$far\"}"
    use_worker "ssh$round" $in_flight
    topics "ssh$round"
    background "$dir/background.log" "${worker[@]}"
    ssh_trips waits
    local waits=$beyond
    ssh_trips hello
    local hello=$beyond
    end_last
    nothing_left "$far"
    end_last
    connections=$(figure connections <"$dir/sshd")

    start_sshd
    channels true
    ratios[ssh]+=" $(ratio "$waits" "$beyond")"
    channels hello "$python -uB $PWD/bench/hello.py"
    ratios[ssh_hello]+=" $(ratio "$hello" "$beyond")"
    end_last
    echo "       TCP connections: $connections, $(figure connections <"$dir/sshd") for the channels"
}

ssh_trips() { # PROGRAM: leaves what p50 is beyond the program in `beyond`
    trips "ssh$round" "$jobs" "$in_flight" "bench/$1.py"
    line "sandpiper, ssh, $1" "" "$(trip p50_ms)" "$(trip p99_ms)" "$(peak_mb)"
    beyond=$(trip beyond_p50_ms)
    line "  beyond the program" "" "$beyond" "" ""
}

channels() { # NAME [COMMAND]: likewise
    local figures
    figures=$("$bin/ssh_channel" 127.0.0.1 "${sshd[@]:1}" "$sessions" "$jobs" "$in_flight" "${@:2}")
    beyond=$(figure p50_ms <<<"$figures")
    line "channel with $1" "" "$beyond" "$(figure p99_ms <<<"$figures")" ""
}

start_sshd() { # fills the array `sshd`: ready, port, user, key, fingerprint
    : >"$dir/sshd"
    background "$dir/sshd" "$bin/sshd"
    until read -r -a sshd < <(grep '^ready ' "$dir/sshd"); do sleep 0.1; done
}

nothing_left() { # FOLDER: no file in it, no process that speaks of it; the last job's may take a moment
    local end=$((SECONDS + 5))
    until [ -z "$(ls -A "$1")" ] && ! pgrep -f "$1/" >/dev/null; do
        [ $SECONDS -lt $end ] || {
            echo "bench: left at the far end: $(ls -A "$1") $(pgrep -fa "$1/")" >&2
            exit 1
        }
        sleep 0.1
    done
}
