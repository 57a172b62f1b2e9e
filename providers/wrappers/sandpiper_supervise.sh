#!/bin/sh
# Runs one program on another machine and cleans up behind it; for any POSIX sh, dash and busybox too.
#
#   sh HOME/sandpiper_supervise.sh run SECONDS INTERPRETER [ARGUMENT ...]
#   sh HOME/sandpiper_supervise.sh once SECONDS INTERPRETER [ARGUMENT ...]
#   sh HOME/sandpiper_supervise.sh end               ends what a run started, from outside
#   sh HOME/sandpiper_supervise.sh remove            the same, then removes HOME
#   sh HOME/sandpiper_supervise.sh probe COMMAND...  says what is missing, a line each; removes HOME
#   sh HOME/sandpiper_supervise.sh sweep MINUTES     removes homes beside it that are older, and itself
#
# HOME is a folder of this run only, whose name ends in a UUID. run: the program starts in HOME/work with
# the arguments of HOME/arguments on descriptor 4. Its output is ours, save that ours ends once nothing of
# it is left. HOME/result then holds a line of 32 bytes, "exit N", "signal N" or "refused WHY", and behind
# it what the program wrote to descriptor 3. While it runs, a line or the end of standard input ends it.
# Afterwards the end of standard input removes HOME. So when the other side dies, all of it goes.
#
# once: the same on a machine that is made for the run and thrown away with it. Its environment is the
# program's, standard input is not looked at, HOME stays. HOME/work/artifacts is made.
#
# What a run started is found by a tag which neither fork nor exec, a cleared environment nor a new
# session gets rid of: a hard limit on resident memory. The kernel does nothing else with that number
# (since Linux 2.4.30), nobody but root can raise it, and /proc shows it. A program may lower it for its
# own reasons, so the limit on file locks, as idle as that one, says the same where the shell can set it.
# Forks are dear, so builtins do what they can.
# shellcheck disable=SC3045 # ulimit's -m, -c, one of -u and -p, and of -w and -x, are everywhere
PROGRAM_PATH=/usr/local/bin:/usr/bin:/bin
locale=
if [ "$1" = once ]; then
    PROGRAM_PATH=$PATH
    [ -z "${LC_ALL+given}" ] || locale=LC_ALL=$LC_ALL
fi
export PATH="$PROGRAM_PATH:$PATH" LC_ALL=C

# The tag of a home: KiB for ulimit, bytes as /proc shows them. They always have as many digits, so that
# none is part of another.
set_tag() {
    kib=$((0x1${1##*-}))
    bytes=$((kib * 1024))
}

# The processes of the list that are more than a name which nobody has taken note of yet.
alive() {
    files=
    for pid in "$@"; do files="$files /proc/$pid/status"; done
    # shellcheck disable=SC2086 # one word each
    grep -Ls '^State:.[ZX]' $files
}

# Hundredths of a second.
now() {
    read -r up _ </proc/uptime
    time=1${up%.*}${up#*.}
}

# Reading what /proc has of every process is most of the work for a short program. Pids count up. No
# machine gives out 32768 of them in a second; so for a while they come round once at most, which the
# last one given out tells.
list_processes() {
    processes='/proc/[0-9]*/limits'
    [ "$began" ] || return
    now
    read -r _ _ _ _ last </proc/loadavg
    read -r most </proc/sys/kernel/pid_max
    if [ $((time - began)) -ge $((most * 100 / 32768)) ] || [ "$last" -le $$ ]; then return; fi
    processes=
    for process in /proc/[0-9]*; do
        if [ "${process#/proc/}" -gt $$ ]; then processes="$processes $process/limits"; fi
    done
}

# What forks faster than it can be killed is stopped first, all of it, until no more is found: the
# program's group at once, and each may lead another, whose processes are not there long enough to be
# told. grep's exit code says nothing, since processes come and go while it reads.
end_all() {
    if [ "$began" ] && read -r group <&9; then kill -STOP "-$group"; fi
    before=
    rounds=0
    while [ $rounds -lt 100 ]; do
        rounds=$((rounds + 1))
        list_processes
        # shellcheck disable=SC2086 # a pattern, or one word each
        found=${processes:+$(grep -lsF "$bytes" $processes)}
        pids=
        groups=
        signal=KILL
        for pid in $found; do
            pid=${pid#/proc/}
            pid=${pid%/limits}
            pids="$pids $pid"
            groups="$groups -$pid"
            case "$before " in *" $pid "*) ;; *) signal=STOP ;; esac
        done
        [ "$pids" ] || return
        # shellcheck disable=SC2086 # one word each
        kill -$signal $pids $groups
        # shellcheck disable=SC2086
        if [ $signal = KILL ] && [ -z "$(alive $pids)" ]; then return; fi
        before=$pids
    done
} 2>/dev/null

# The line at the head of the result file.
record() {
    printf '%-31.31s\n' "$*" 1<>"$home/result"
}

# Whether a process can be given the tag, told without a fork: a limit may be lowered, not raised.
can_tag() {
    ulimit -H -m >"$home/group" && read -r most <"$home/group" || return
    [ "$most" = unlimited ] || [ "$most" -ge "$kib" ]
}

# In a subshell. Some processes stay free for us, should the program use up all that it may have.
start() {
    for most in 4000 2000 1000 500 250; do
        ulimit -u $most 2>/dev/null || ulimit -p $most 2>/dev/null && break
    done
    ulimit -c 0
    ulimit -m "$kib" || exit
    ulimit -w "$bytes" 2>/dev/null || ulimit -x "$bytes" 2>/dev/null
    read -r group _ </proc/self/stat # timeout makes this process the first of a group
    echo "$group" >"$home/group"
    exec 3>>"$home/result" 5<&- 8<&- 9<&-
    if [ -e "$home/arguments" ]; then exec 4<"$home/arguments"; else exec 4</dev/null; fi
    if [ "$command" = once ]; then
        set -- env -u LC_ALL ${locale:+"$locale"} PATH="$PROGRAM_PATH" "$@"
    else
        set -- env -i PATH="$PROGRAM_PATH" HOME="$PWD" LANG=C.UTF-8 TMPDIR="$PWD" "$@"
    fi
    # timeout bounds its life, too, should the other side vanish.
    exec timeout -s KILL "$life" "$@" >&6 2>&7 6>&- 7>&-
}

# The shell tells a signal from an exit code by what it says, except of these two. What the program put in
# the place of the result file is not opened.
conclude() {
    if [ -h "$home/result" ] || [ ! -f "$home/result" ]; then
        remove "$home/result"
    fi
    if [ "$1" -eq 130 ] || [ "$1" -eq 141 ] || { [ "$1" -gt 128 ] && [ "$told" ]; }; then
        record signal $(($1 - 128))
    else
        record exit "$1"
    fi
}

remove() {
    cd /
    rm -rf -- "$1" 2>/dev/null && return
    chmod -R u+rwx -- "$1" 2>/dev/null
    rm -rf -- "$1"
}

# Ends the program when the other side wants it.
watch() {
    (
        read -r _ <&5
        end_all
    ) 2>/dev/null 6>&- 7>&- 9<&8 &
    watcher=$!
}

supervise() {
    life=$1
    shift
    exec 5<&0 6>&1 7>&2 </dev/null >/dev/null 2>"$home/said"
    printf '%31s\n' '' >"$home/result"
    if ! cd -P "$home/work"; then
        record refused folder
    elif ! PATH=$PROGRAM_PATH command -v "$1"; then
        record refused interpreter
    elif ! can_tag; then
        record refused limit
    else
        now
        began=$time
        : >"$home/group"
        exec 8<"$home/group" 9<"$home/group" # for each who asks, before the program can replace it
        [ "$command" = once ] || watch
        (start "$@")
        code=$?
        [ ! -s "$home/said" ] || told=yes # now: bash will tell of the watcher's end, too
        [ "$command" = once ] || kill -KILL "$watcher"
        end_all
        conclude $code
    fi
    exec 6>&- 7>&-
}

run() {
    supervise "$@"
    while read -r _; do :; done <&5
    remove "$home"
}

once() {
    mkdir -p "$home/work/artifacts" 2>/dev/null
    supervise "$@"
}

probe() {
    for command in "$@" timeout env grep find; do
        PATH=$PROGRAM_PATH command -v "$command" >/dev/null || echo "command $command"
    done
    (ulimit -m "$kib" && grep -qsF "$bytes" /proc/self/limits) 2>/dev/null || echo limit
    [ -w "$home/work" ] || echo folder
    remove "$home"
}

# A home's time of change cannot be set back or forth by a program. Where a supervisor lives on, only what
# it runs is ended: it removes its home itself.
sweep() {
    cd -P "${home%/*}" || exit
    user=$(id -u)
    # shellcheck disable=SC2044 # names with blanks are not ours
    for old in $(find . -maxdepth 1 -type d -user "$user" -cmin "+$1" -name 'ragflow-codeexec.*'); do
        old=${old#./}
        case ${old#ragflow-codeexec.} in
        *[!0-9a-f-]*) continue ;;
        ????????-????-????-????-????????????) ;;
        *) continue ;;
        esac
        set_tag "$old"
        end_all
        grep -qsF "$old/" /proc/[0-9]*/cmdline || remove "$PWD/$old"
    done
    remove "$home"
}

began= # when the program was started
told=  # that a signal ended it
home=${0%/*}
case $home in /*) ;; *) home=$PWD/$home ;; esac # to stay right after a change of folder
set_tag "$home"
command=$1
shift
case $command in
end) end_all ;;
remove)
    end_all
    remove "$home"
    ;;
*) "$command" "$@" ;;
esac
