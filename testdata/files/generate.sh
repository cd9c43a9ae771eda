#!/usr/bin/env bash
# usage: testdata/files/generate.sh
#
# Makes a tar with GNU tar, and packs it with Debian's Go libraries (see README.md). Needs them and a Go compiler.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/layer/etc" "$work/layer/$(printf 'long%.0s' {1..40})" "$work/gopath/src/generate"
cd "$work/layer"
printf 'root:x:0:0::/root:/bin/sh\n' >etc/passwd
: >etc/empty
# 2500 octets, in three pieces where pieces have 1000.
for line in $(seq 1 250); do printf 'line %03d.\n' "$line"; done >etc/long
ln -s ../etc/passwd etc/link
ln etc/passwd etc/hard
printf 'gr\303\274n\n' >"$(printf 'long%.0s' {1..40})/$(printf 'gr\303\274n')"
mkfifo etc/pipe
# The rolling checksum of zstd:chunked cuts about every 64 KiB; these octets are cut.
noise() { openssl enc -aes-256-ctr -K "$(printf '00%.0s' {1..32})" -iv "$(printf '%032x' "$1")" -in /dev/zero 2>/dev/null | head -c "$2"; }
noise 0 200000 >etc/noise || true
cd - >/dev/null
tar --create --file "$work/layer.tar" --directory "$work/layer" --sort=name --owner=7 --group=8 --numeric-owner --mtime='1994-11-06 08:49:37Z' \
    --mode='u=rwX,go=rX' --format=gnu etc "$(printf 'long%.0s' {1..40})"
cp generate.go "$work/gopath/src/generate/"
GO111MODULE=off GOFLAGS='' GOPATH="$work/gopath:${GOPATH:-/usr/share/gocode}" go run generate "$work/layer.tar"
