#!/bin/bash
# The rows of bench/run, which reads this file: one function a row. Each measures its baseline and the worker in the round
# $round, prints a line for both and adds to its ratios.

# shellcheck disable=SC2034,SC2154 # bench/run reads the one and sets the other
declare -A meaning=(
    [noop]="no-op / raw Kafka loop"
    [local]="local / fork+exec loop"
    [self_managed]="self_managed / concurrency by job time"
    [ssh]="ssh, waits, beyond the program / channel with true"
    [ssh_hello]="ssh, hello, beyond the program / channel with hello, likewise"
)

row_noop() {
    local raw
    measure "raw$round" 400000 16 10000 "$bin/raw_loop" "$KAFKA" "raw$round.requests" "raw$round.results"
    raw=${figures[0]}
    line "raw Kafka loop" "${figures[@]}"

    settings "noop$round" noop '{}'
    # shellcheck disable=SC2046 # one word each
    measure "noop$round" 400000 16 10000 "$bin/noop_worker" $(options "noop$round" ${NOOP_C:-16})
    line "sandpiper, no-op" "${figures[@]}"
    ratios[noop]+=" $(ratio "${figures[0]}" "$raw")"
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

row_self_managed() {
    local port count most jobs=20000 concurrency=256 delay_ms=200 out=$dir/load_server.$round
    background "$out" "$bin/load_server" $delay_ms
    until port=$(sed -n 's/^ready //p' "$out") && [ -n "$port" ]; do sleep 0.1; done
    settings "http$round" self_managed "{\"endpoint\":\"http://127.0.0.1:$port\"}"
    use_worker "http$round" $concurrency
    measure "http$round" $jobs 16 320 "${worker[@]}"
    line "sandpiper, self_managed" "${figures[@]}"
    end_last
    count=$(figure connections <"$out")
    most=$(ratio "$concurrency" "$(ratio $delay_ms 1000)")
    line "$concurrency at $delay_ms ms" "$most" "" "" ""
    echo "       $count connections to the service"
    ratios[self_managed]+=" $(ratio "${figures[0]}" "$most")"
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
