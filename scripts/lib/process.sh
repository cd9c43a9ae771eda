# shellcheck shell=bash
# Processes that outlive the script that starts them, known by pid files. Sourced, never run.

# Whether the process still runs; one that waits to be reaped does not.
is_alive() { [ -r "/proc/$1/stat" ] && ! grep -qE '\) [ZX] ' "/proc/$1/stat" 2>/dev/null; }

# Starts a command in the background: NAME.pid holds its pid, NAME.log what it says.
start_process() {
    local name=$1
    shift
    "$@" </dev/null >"$name.log" 2>&1 &
    echo $! >"$name.pid"
}

# Tries a command until it succeeds, for at most 20 s, and gives up early if the process NAME dies.
wait_until() {
    local what=$1 name=$2 attempt
    shift 2
    for attempt in $(seq 200); do
        "$@" 2>/dev/null && return 0
        is_alive "$(cat "$name.pid")" || break
        sleep 0.1
    done
    tail -n 20 "$name.log" >&2
    die "gave up waiting until $what (attempt $attempt)"
}

# Ends the process NAME, if it is there; waits up to 10 s, then kills it.
stop_process() {
    local name=$1 pid
    [ -f "$name.pid" ] || return 0
    pid=$(cat "$name.pid")
    rm -f "$name.pid"
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 200); do
        is_alive "$pid" || return 0
        sleep 0.05
    done
    kill -9 "$pid" 2>/dev/null || true
}
