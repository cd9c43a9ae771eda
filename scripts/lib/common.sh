# shellcheck shell=bash
# What every script here needs: where the project is, how to speak, how to be root, where tools are kept.
# Sourced, never run.

# shellcheck disable=SC2034  # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${SEALIFT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sealift/tools}
# shellcheck disable=SC2034  # used by those who source this
cache=${SEALIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealift}
export PATH="$tools/bin:$PATH:/usr/sbin:/sbin"

step() { printf '\n== %s\n' "$*" >&2; }
note() { printf '   %s\n' "$*" >&2; }
warn() { printf '!! %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Prints the comment block that opens a script: its help is its first lines.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"; }

is_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as root: directly, or through sudo where that asks no questions.
as_root() {
    if is_root; then
        "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() { is_root || sudo -n true 2>/dev/null; }

has() { command -v "$1" >/dev/null 2>&1; }

# Prints those of the named programs that are not here.
print_missing() {
    local program
    for program in "$@"; do
        has "$program" || echo "$program"
    done
}

# Tries a command up to three times, waiting a little longer each time: package hosts have bad moments.
retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        [ "$attempt" = 3 ] || { warn "failed (attempt $attempt of 3): $*"; sleep $((attempt * 5)); }
    done
    return 1
}
