#!/usr/bin/env bash
# Seals $SOURCE to $DESTINATION for every line of $RECIPIENTS, with every line of $OPTIONS as one argument.
set -euo pipefail

arguments=()
while IFS= read -r recipient; do
    [ -z "$recipient" ] || arguments+=(-r "$recipient")
done <<<"$RECIPIENTS"
while IFS= read -r option; do
    [ -z "$option" ] || arguments+=("$option")
done <<<"${OPTIONS-}"
if [ -z "${SOURCE-}" ] || [ -z "${DESTINATION-}" ]; then
    echo "error: source and destination must be given" >&2
    exit 2
fi
exec sealift encrypt "$SOURCE" "$DESTINATION" --github-output "${arguments[@]}"
