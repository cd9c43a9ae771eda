#!/usr/bin/env bash
# usage: generate.sh DIR      writes new keys and elements to DIR; needs gnupg 2.2
#
# Keys and messages of OpenPGP as gpg makes them, around the private options in `secret.json`.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
GNUPGHOME=$(mktemp -d /tmp/pgp.XXXXXX)
export GNUPGHOME
chmod 700 "$GNUPGHOME"
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT

pgp() { gpg --batch --quiet --yes --no-tty --pinentry-mode loopback --trust-model always --passphrase "${password-}" "$@"; }
at() { local time=$1; shift; pgp --faked-system-time "$time" "$@"; }
fingerprint() { gpg --batch --with-colons --list-keys "$1" 2>/dev/null | awk -F: '/^fpr/{print $10; exit}'; }
export_both() { pgp --export "$2" >"$out/$1.pub.gpg"; pgp --export-secret-keys "$2" >"$out/$1.sec.gpg"; }
# A key for signing and certificates, with a subkey for encryption.
pair() { local name=$1 first=$2 second=$3 expire=${4:-never}
    at 20260101T000000 --quick-generate-key "$name <$name@example.test>" "$first" sign,cert "$expire"
    at 20260101T000001 --quick-add-key "$(fingerprint "$name@example.test")" "$second" encr "$expire"; }

password=correct
pair rsa2048 rsa2048 rsa2048
export_both rsa2048 rsa2048@example.test
pgp --export-secret-subkeys rsa2048@example.test >"$out/rsa2048-stub.sec.gpg"
pgp --armor --export rsa2048@example.test >"$out/rsa2048.pub.asc"
pgp --armor --export-secret-keys rsa2048@example.test >"$out/rsa2048.sec.asc"
password=
pair cv25519 ed25519 cv25519
export_both cv25519 cv25519@example.test
pgp --armor --export-secret-keys cv25519@example.test >"$out/cv25519.sec.asc"
for curve in 256 384 521; do
    pair "p$curve" "nistp$curve" "nistp$curve"
    export_both "p$curve" "p$curve@example.test"
done
# It expires in 2026-01-02.
pair expired ed25519 cv25519 1d
export_both expired expired@example.test
pair revoked ed25519 cv25519
pgp --import < <(sed 's/^:---/---/' "$GNUPGHOME/openpgp-revocs.d/$(fingerprint revoked@example.test).rev")
export_both revoked revoked@example.test
pair subkey-revoked ed25519 cv25519
printf 'key 1\nrevkey\ny\n0\n\ny\nsave\n' | gpg --quiet --no-tty --pinentry-mode loopback --passphrase '' --command-fd 0 --status-fd 2 \
    --edit-key subkey-revoked@example.test 2>/dev/null
export_both subkey-revoked subkey-revoked@example.test
at 20260101T000000 --quick-generate-key 'sign-only <sign-only@example.test>' rsa2048 sign,cert never
export_both sign-only sign-only@example.test
at 20260101T000000 --quick-generate-key 'primary-only <primary-only@example.test>' rsa2048 sign,cert,encr never
export_both primary-only primary-only@example.test
pair two ed25519 cv25519
pgp --quick-add-uid two@example.test 'Second Name (comment) <second@example.test>'
export_both two two@example.test
# The address of another.
at 20260101T000000 --quick-generate-key 'namesake <cv25519@example.test>' ed25519 sign,cert never
namesake=$(fingerprint namesake)
at 20260101T000001 --quick-add-key "$namesake" cv25519 encr never
pgp --export "$namesake" >"$out/namesake.pub.gpg"
pgp --delete-secret-and-public-key "$namesake"
# Two subkeys: the newer is for the same use.
pair twice ed25519 cv25519
at 20260201T000000 --quick-add-key "$(fingerprint twice@example.test)" rsa2048 encr never
export_both twice twice@example.test
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --allow-weak-digest-algos --cert-digest-algo SHA1 --faked-system-time 20260301T000000 \
    --quick-generate-key 'weak <weak@example.test>' rsa2048 sign,cert never
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --allow-weak-digest-algos --cert-digest-algo SHA1 --faked-system-time 20260301T000001 \
    --quick-add-key "$(fingerprint weak@example.test)" rsa2048 encr never
export_both weak weak@example.test
pgp --export rsa2048@example.test cv25519@example.test expired@example.test two@example.test >"$out/ring.pub.gpg"
pgp --export-secret-keys cv25519@example.test p384@example.test >"$out/ring.sec.gpg"

secret='{"symkey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","digest":"sha256:6d684c383388cfdd6c85ff2d6c51586aae1ca64fbb56c9b1735448085e213186","cipheroptions":{"nonce":"AAECAwQFBgcICQoLDA0ODw=="}}'
printf %s "$secret" >"$out/secret.json"
message() { local name=$1; shift; pgp --compress-algo none --set-filename '' -o "$out/$name.gpg" "$@" "$out/secret.json"; }
for name in rsa2048 cv25519 p256 p384 p521 primary-only; do message "for-$name" -e -r "$name@example.test"; done
message for-several -e -r rsa2048@example.test -r p384@example.test -r cv25519@example.test
message for-hidden -e -R p384@example.test -R cv25519@example.test
message aes128 -e -r cv25519@example.test --cipher-algo AES128
message aes192 -e -r cv25519@example.test --cipher-algo AES192
message cast5 -e -r cv25519@example.test --cipher-algo CAST5
message rsa-cast5 -e -r rsa2048@example.test --cipher-algo CAST5
message signed -e -s -u cv25519@example.test -r cv25519@example.test
password=correct message password -c --cipher-algo AES256
password=correct message password-beside -c -e -r cv25519@example.test
pgp --compress-algo zlib --compress-level 9 -o "$out/compressed.gpg" -e -r cv25519@example.test "$out/secret.json"
# From a pipe, so in pieces of partial length.
{ cat "$out/secret.json"; head -c 9000 /dev/zero | tr '\0' ' '; } | pgp --compress-algo none -o "$out/partial.gpg" -e -r cv25519@example.test
