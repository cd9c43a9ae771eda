#!/usr/bin/python3
"""usage: generate_pkcs11.py

Writes the vectors of pkcs11/. Shares no code with the crate: RSA-OAEP is written by hand, so that what stands there is a
function of its name. The format is that of generate_pkcs7.py; `certificate` is always null, and "opened short" stands for the
first 159 octets of the secret.
"""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives import serialization

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(f"{HERE}/{name}", "rb") as file:
        return file.read()


SECRET = read("skopeo/jwe-ec256.secret.json")
KEY = serialization.load_pem_private_key(read("skopeo/x509.key.pem"), None)
OTHER = serialization.load_pem_private_key(read("skopeo/rsa.pem"), None)


def octets(label, length):
    """Octets that depend on nothing but a label."""
    return hashlib.shake_256(label.encode()).digest(length)


def oaep(label, message, size, name):
    def digest(data):
        return hashlib.new(name, data).digest()

    def mgf(source, length):
        count = -(-length // len(digest(b"")))
        return b"".join(digest(source + i.to_bytes(4, "big")) for i in range(count))[:length]

    seed = octets(label + "seed", len(digest(b"")))
    block = digest(b"") + bytes(size - len(message) - 2 * len(seed) - 2) + b"\1" + message
    masked = bytes(a ^ b for a, b in zip(block, mgf(seed, len(block))))
    return b"\0" + bytes(a ^ b for a, b in zip(seed, mgf(masked, len(seed)))) + masked


def power(key, block):
    numbers = key.public_key().public_numbers()
    return pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(256, "big")


OPENED = "opened"
NOT_FOR_US = "wrapped for another key"
SHORT = SECRET[:159]


def b64(data):
    return base64.b64encode(data).decode()


def blob(name, secret=SHORT, hash="sha1", key=KEY):
    return power(key, oaep(name, secret, 256, hash))


def element(*recipients, **members):
    return {"version": 0, "recipients": list(recipients), **members}


def recipient(octets, hash="sha1", **members):
    return {"version": 0, "blob": b64(octets), "hash": hash, **members}


def vectors():
    def malformed(reason):
        return f"malformed wrapped key: {reason}"

    def unsupported(name):
        return f"unsupported key-wrapping algorithm `{name}`"

    yield "valid_sha1", "as ocicrypt writes it", element(recipient(blob("valid_sha1", SECRET))), OPENED
    one = recipient(blob("no_hash", SECRET))
    del one["hash"]
    yield "valid_no_hash", "as before ocicrypt 1.1.4", element(one), OPENED
    yield "valid_empty_hash", "", element(recipient(blob("empty_hash", SECRET), "")), OPENED
    yield "valid_sha256", "a shorter secret: the key cannot hold a whole one", element(
        recipient(blob("valid_sha256", hash="sha256"), "sha256")), "opened short"
    yield "valid_more_members", "", element(recipient(blob("more", SECRET), kid="x"), comment=[1]), OPENED
    stranger = recipient(blob("stranger", SECRET, key=OTHER))
    yield "valid_last_fits", "two strangers before it", element(
        stranger, recipient(blob("stranger2", hash="sha256", key=OTHER), "sha256"), recipient(blob("last", SECRET))), OPENED
    yield "valid_behind_unknown_hash", "", element(
        recipient(blob("unknown", SECRET), "sha512"), recipient(blob("known", SECRET))), OPENED
    yield "valid_behind_unknown_version", "", element(
        recipient(blob("unknown", SECRET)) | {"version": 7}, recipient(blob("known", SECRET))), OPENED
    yield "stranger", "", element(stranger), NOT_FOR_US
    yield "hash_sha256_is_sha1", "the name of another hash", element(recipient(blob("x", SECRET), "sha256")), NOT_FOR_US
    yield "hash_sha1_is_sha256", "", element(recipient(blob("x", hash="sha256"))), NOT_FOR_US
    yield "hash_sha512", "", element(recipient(blob("x"), "sha512")), unsupported("sha512")
    yield "hash_upper_case", "", element(recipient(blob("x"), "SHA1")), unsupported("SHA1")
    yield "hash_number", "", element(recipient(blob("x"), 1)), malformed("hash is no text")
    yield "version_1", "", element(recipient(blob("x"))) | {"version": 1}, unsupported("pkcs11 version 1")
    yield "recipient_version_1", "", element(recipient(blob("x")) | {"version": 1}), unsupported("pkcs11 version 1")
    yield "version_text", "", element(recipient(blob("x"))) | {"version": "0"}, malformed("version is no number")
    yield "no_recipients", "", element(), malformed("no recipients")
    yield "recipients_null", "", {"version": 0, "recipients": None}, malformed("no list of recipients")
    yield "no_blob", "", element({"version": 0, "hash": "sha1"}), malformed("recipient without blob")
    yield "blob_hex", "", element(recipient(b"") | {"blob": "0x00"}), NOT_FOR_US
    yield "blob_url_safe", "base64url", element(recipient(b"") | {"blob": "-_-_"}), malformed("blob is not base64")
    yield "blob_no_padding", "", element(recipient(b"") | {"blob": b64(blob("x")).rstrip("=")}), malformed("blob is not base64")
    yield "blob_line_breaks", "Go skips them; nobody writes them", element(
        recipient(b"") | {"blob": b64(blob("x"))[:76] + "\n" + b64(blob("x"))[76:]}), malformed("blob is not base64")
    yield "blob_short", "", element(recipient(blob("x")[1:])), NOT_FOR_US
    yield "blob_long", "", element(recipient(b"\0" + blob("x"))), NOT_FOR_US
    yield "blob_beyond_modulus", "not below the modulus", element(recipient(b"\xff" * 256)), NOT_FOR_US
    yield "blob_zero", "", element(recipient(bytes(256))), NOT_FOR_US
    yield "blob_one", "", element(recipient(bytes(255) + b"\1")), NOT_FOR_US
    for name, block in damaged():
        yield name, "", element(recipient(power(KEY, block))), NOT_FOR_US


def damaged():
    """Encoded messages with one thing wrong each."""
    good = oaep("damaged", SHORT, 256, "sha1")
    yield "oaep_first_octet", b"\1" + good[1:]
    for position in (1, 20, 21, 40, 60, 255):
        yield f"oaep_octet_{position}", good[:position] + bytes([good[position] ^ 1]) + good[position + 1:]
    yield "pkcs1_v1_5", b"\0\2" + bytes(o or 1 for o in octets("ps", 94)) + b"\0" + SHORT
    yield "raw", bytes(256 - len(SHORT)) + SHORT


def main():
    folder = f"{HERE}/pkcs11"
    os.makedirs(folder, exist_ok=True)
    for name, comment, value, expect in vectors():
        vector = {
            "comment": comment,
            "key": "skopeo/x509.key.pem",
            "certificate": None,
            "expect": expect,
            "element_base64": b64(json.dumps(value, separators=(",", ":")).encode()),
        }
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(vector, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
