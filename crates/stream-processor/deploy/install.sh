#!/bin/sh
# usage: install.sh [--dry-run] install|sync|follow|uninstall
#
# Puts sealift-decoder and containerd's stanzas for it on a node, from a container that sees the node's root as $HOST_ROOT.
#
#   install     the program, the stanzas, and a line in containerd's config.toml that imports them
#   sync        copies private keys from $KEYS_FROM, a mounted Secret, to the node; keys that are gone there go here, too
#   follow      sync, again every $SYNC_SECONDS seconds
#   uninstall   takes all of that away again
#
#   --dry-run   says what would be done, and does nothing
#
# Nothing is half-written: files are made beside their places and moved there. A second run changes nothing. containerd reads its
# configuration when it starts: install says when it must be restarted, and restarts nothing itself.
#
#   HOST_ROOT            the node's root (default: /host)
#   BINARIES             where sealift-decoder and sealift are (default: /usr/local/bin)
#   CONTAINERD_VERSION   (default: what the node's containerd says)
#   CONTAINERD_CONFIG    on the node (default: /etc/containerd/config.toml)
#   AGENT_SOCKET         socket of the node's agent, where there is one
#   KEYS_FROM            (default: /keys)
#   SYNC_SECONDS         (default: 60)
set -eu

HOST_ROOT=${HOST_ROOT-/host}
BINARIES=${BINARIES:-/usr/local/bin}
CONTAINERD_CONFIG=${CONTAINERD_CONFIG:-/etc/containerd/config.toml}
KEYS_FROM=${KEYS_FROM:-/keys}
SYNC_SECONDS=${SYNC_SECONDS:-60}

program=/opt/sealift/bin/sealift-decoder
stanzas=/etc/containerd/conf.d/sealift.toml
keys=/etc/containerd/ocicrypt/keys
marker="# added by sealift's installer"

dry_run=
if [ "${1-}" = --dry-run ]; then
    dry_run=1
    shift
fi

fail() {
    echo "error: $*" >&2
    exit 1
}

# Says what is done, and does it unless only asked to say.
act() {
    echo "$1"
    shift
    [ -n "$dry_run" ] || "$@"
}

# Moves standard input to a file of the node, with a mode; one that is there keeps its own.
place() {
    mkdir -p "$(dirname "$HOST_ROOT$1")"
    [ ! -L "$HOST_ROOT$1" ] || fail "$1 is a symbolic link: change what it points to by hand"
    new=$(mktemp "$HOST_ROOT$1.XXXXXX")
    cat >"$new"
    if [ -f "$HOST_ROOT$1" ]; then
        chmod --reference="$HOST_ROOT$1" "$new"
        chown --reference="$HOST_ROOT$1" "$new"
    else
        chmod "$2" "$new"
    fi
    mv -f "$new" "$HOST_ROOT$1"
}

# Returns whether a file of the node is as it should be.
is_same() {
    [ -f "$HOST_ROOT$1" ] && cmp -s "$2" "$HOST_ROOT$1"
}

place_program() { place "$program" 755 <"$BINARIES/sealift-decoder"; }
place_stanzas() { place "$stanzas" 644 <"$work/stanzas"; }
place_config() { place "$CONTAINERD_CONFIG" 644 <"$work/config"; }

containerd_version() {
    if [ -n "${CONTAINERD_VERSION-}" ]; then
        echo "$CONTAINERD_VERSION"
    else
        chroot "$HOST_ROOT" containerd --version || fail "the node's containerd does not say its version; set CONTAINERD_VERSION"
    fi
}

# Prints config.toml with the stanzas imported. A list of imports that is there must be extended by hand: TOML has no second.
with_import() {
    config=$HOST_ROOT$CONTAINERD_CONFIG
    if [ ! -f "$config" ]; then
        echo "imports = [\"$stanzas\"] $marker"
        return
    fi
    if grep -vE '^[[:space:]]*#' "$config" | grep -qF -e "$stanzas" -e '"/etc/containerd/conf.d/*.toml"' -e "'/etc/containerd/conf.d/*.toml'"; then
        cat "$config"
        return
    fi
    if grep -qE '^[[:space:]]*imports[[:space:]]*=[[:space:]]*\[[[:space:]]*\][[:space:]]*$' "$config"; then
        sed -E "s|^[[:space:]]*imports[[:space:]]*=[[:space:]]*\[[[:space:]]*\][[:space:]]*$|imports = [\"$stanzas\"] $marker|" "$config"
        return
    fi
    if grep -qE '^[[:space:]]*imports[[:space:]]*=' "$config"; then
        fail "$CONTAINERD_CONFIG has imports already: add \"$stanzas\" to them"
    fi
    # In front of every table.
    echo "imports = [\"$stanzas\"] $marker"
    cat "$config"
}

install_all() {
    [ -f "$BINARIES/sealift-decoder" ] || fail "no sealift-decoder in $BINARIES"
    set -- --containerd-version "$(containerd_version)" --decoder "$program" --keys-dir "$keys"
    [ -z "${AGENT_SOCKET-}" ] || set -- "$@" --agent "$AGENT_SOCKET"
    "$BINARIES/sealift" config containerd "$@" >"$work/stanzas"
    with_import >"$work/config"
    restart=
    is_same "$program" "$BINARIES/sealift-decoder" || act "write $program" place_program
    if ! is_same "$stanzas" "$work/stanzas"; then
        act "write $stanzas" place_stanzas
        restart=1
    fi
    if ! is_same "$CONTAINERD_CONFIG" "$work/config"; then
        act "import it in $CONTAINERD_CONFIG" place_config
        restart=1
    fi
    if [ -n "$restart" ]; then
        echo "restart containerd on this node: systemctl restart containerd"
    else
        echo "nothing to do"
    fi
}

# Lists the files of a mounted Secret: symbolic links, whose machinery begins with two dots.
secret_names() {
    for path in "$KEYS_FROM"/*; do
        [ ! -f "$path" ] || basename "$path"
    done
}

place_key() { place "$keys/$1" 600 <"$KEYS_FROM/$1"; }
remove_key() { rm -f "$HOST_ROOT$keys/$1"; }

sync_keys() {
    [ -d "$KEYS_FROM" ] || fail "no folder $KEYS_FROM"
    if [ -z "$dry_run" ]; then
        mkdir -p "$HOST_ROOT$keys"
        chmod 700 "$HOST_ROOT$keys"
    fi
    secret_names >"$work/names"
    while read -r name; do
        is_same "$keys/$name" "$KEYS_FROM/$name" || act "write $keys/$name" place_key "$name"
    done <"$work/names"
    list=$HOST_ROOT$keys/.from-secret
    # Only what came from the Secret: other keys on the node are none of our business.
    if [ -f "$list" ]; then
        while read -r name; do
            grep -qxF "$name" "$work/names" || act "remove $keys/$name" remove_key "$name"
        done <"$list"
    fi
    if [ -z "$dry_run" ] && ! cmp -s "$work/names" "$list"; then
        place "$keys/.from-secret" 600 <"$work/names"
    fi
}

uninstall_all() {
    config=$HOST_ROOT$CONTAINERD_CONFIG
    # First nobody imports it any more: containerd does not start without a file that it is told to import.
    if grep -qF "$marker" "$config" 2>/dev/null; then
        grep -vF "$marker" "$config" >"$work/config" || true
        act "take the import out of $CONTAINERD_CONFIG" place_config
        echo "restart containerd on this node: systemctl restart containerd"
    elif grep -vE '^[[:space:]]*#' "$config" 2>/dev/null | grep -qF "$stanzas"; then
        fail "$CONTAINERD_CONFIG imports $stanzas: take that out first"
    fi
    if [ -f "$HOST_ROOT$keys/.from-secret" ]; then
        while read -r name; do
            act "remove $keys/$name" remove_key "$name"
        done <"$HOST_ROOT$keys/.from-secret"
        act "remove $keys/.from-secret" remove_key .from-secret
    fi
    for path in "$stanzas" "$program"; do
        [ ! -f "$HOST_ROOT$path" ] || act "remove $path" rm -f "$HOST_ROOT$path"
    done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case ${1-} in
    install) install_all ;;
    sync) sync_keys ;;
    follow)
        while :; do
            sync_keys
            sleep "$SYNC_SECONDS"
        done
        ;;
    uninstall) uninstall_all ;;
    -h | --help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" ;;
    *) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
