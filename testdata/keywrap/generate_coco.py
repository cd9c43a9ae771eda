#!/usr/bin/python3
"""usage: generate_coco.py

Writes coco/: annotation packets of Confidential Containers, one peculiarity each, in the form that generate.py describes;
`key` is the key-encryption key in hex.

Shares no code with the crate: primitives come from the `cryptography` package. Shapes follow guest-components
(confidential-data-hub, annotation_packet v1 and v2, and ocicrypt-rs/data/sample_kbc_annotation.json); keys, IVs and
contents are our own, a function of their names.
"""

import base64
import hashlib
import json
import os
import shutil

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = open(f"{HERE}/skopeo/jwe-ec256.secret.json", "rb").read()
MALFORMED = "malformed wrapped key: "
MISTYPED = MALFORMED + "missing or mistyped member"
OTHER = "wrapped for another key"


def octets(label, length):
    """Octets that depend on nothing but a label."""
    return hashlib.shake_256(label.encode()).digest(length)


def b64(data):
    return base64.b64encode(data).decode()


KEY = octets("coco key", 32)


def gcm(secret=SECRET, iv=octets("coco iv", 12), key=KEY):
    return {"kid": "kbs:///default/key/1", "wrapped_data": b64(AESGCM(key).encrypt(iv, secret, None)),
            "iv": b64(iv), "wrap_type": "A256GCM"}


def ctr(secret=SECRET, iv=octets("coco counter", 16), key=KEY):
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return {"kid": "kbs:///default/key/1", "wrapped_data": b64(encryptor.update(secret) + encryptor.finalize()),
            "iv": b64(iv), "wrap_type": "A256CTR"}


def v2(packet, **more):
    return {"version": "0.1.0", **packet, "provider": "kbs", "provider_settings": {}, "annotations": {}, **more}


def flipped(packet, position):
    data = bytearray(base64.b64decode(packet["wrapped_data"]))
    data[position] ^= 1
    return {**packet, "wrapped_data": b64(bytes(data))}


def without(packet, name):
    return {member: value for member, value in packet.items() if member != name}


def main():
    folder = f"{HERE}/coco"
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)

    def write(name, comment, expect, packet, key=KEY):
        element = packet if isinstance(packet, str) else json.dumps(packet, separators=(",", ":"))
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump({"comment": comment, "key": key.hex(), "expect": expect, "element": element}, file, indent=1)
            file.write("\n")

    write("gcm_v1", "as coco_keyprovider writes it", "opened", gcm())
    write("gcm_v2", "as CDH reads it, every member", "opened", v2(gcm()))
    write("gcm_v2_defaults", "version without provider", "opened", {"version": "0.1.0", **gcm()})
    write("gcm_indented", "as the sample of ocicrypt-rs is laid out", "opened", json.dumps(gcm(), indent="\t") + "\n")
    write("gcm_zero_iv", "what `sample=true` writes", "opened", gcm(iv=bytes(12)))
    write("ctr_v1", "no authentication", "opened", ctr())
    write("ctr_v2", "no authentication", "opened", v2(ctr()))
    write("ctr_counter_wraps", "the counter passes its end", "opened", ctr(iv=b"\xff" * 16))
    write("unknown_member", "is passed over", "opened", {**gcm(), "later": [{"x": True}]})

    write("gcm_other_key", "", OTHER, gcm(), octets("another key", 32))
    write("ctr_other_key", "", OTHER, ctr(), octets("another key", 32))
    write("gcm_flipped", "first octet", OTHER, flipped(gcm(), 0))
    write("gcm_tag_flipped", "last octet", OTHER, flipped(gcm(), -1))
    write("gcm_short", "less than a tag", OTHER, {**gcm(), "wrapped_data": b64(b"x" * 15)})
    write("gcm_empty", "", OTHER, {**gcm(), "wrapped_data": ""})
    write("ctr_empty", "", OTHER, {**ctr(), "wrapped_data": ""})
    write("ctr_flipped_shape", "the result is no JSON", OTHER, flipped(ctr(), 0))
    write("ctr_not_private_options", "JSON, and no layer key in it", OTHER, ctr(b'{"symkey":"AAAA"}'))
    write("ctr_cut", "", OTHER, ctr(SECRET[:-1]))
    write("gcm_as_ctr", "a downgrade to no authentication", OTHER,
          {**gcm(), "wrap_type": "A256CTR", "iv": b64(octets("coco iv", 12) + b"\0\0\0\2")})
    write("gcm_as_ctr_without_tag", "the same, which the format cannot prevent: see coco.rs", "opened",
          {**gcm(), "wrap_type": "A256CTR", "iv": b64(octets("coco iv", 12) + b"\0\0\0\2"),
           "wrapped_data": b64(base64.b64decode(gcm()["wrapped_data"])[:-16])})
    write("iv_11", "", MALFORMED + "`iv` of the wrong length", {**gcm(), "iv": b64(bytes(11))})
    write("iv_16_for_gcm", "", MALFORMED + "`iv` of the wrong length", {**gcm(), "iv": b64(bytes(16))})
    write("iv_12_for_ctr", "", MALFORMED + "`iv` of the wrong length", {**ctr(), "iv": b64(bytes(12))})
    write("iv_null", "as v2 may have it for other providers", MISTYPED, v2({**gcm(), "iv": None}))
    for name in ("kid", "wrapped_data", "iv", "wrap_type"):
        write(f"no_{name}", "", MISTYPED, without(gcm(), name))
    write("kid_number", "", MISTYPED, {**gcm(), "kid": 1})
    write("version_null", "", MISTYPED, {**gcm(), "version": None})
    write("version_later", "", "unsupported key-wrapping algorithm `version 0.2.0`", v2(gcm(), version="0.2.0"))
    write("provider_aliyun", "a cloud service decrypts", "unsupported key-wrapping algorithm `provider aliyun`",
          v2(gcm(), provider="aliyun"))
    write("wrap_type_other", "", "unsupported key-wrapping algorithm `A128GCM`", {**gcm(), "wrap_type": "A128GCM"})
    write("base64url", "", MALFORMED + "not canonical base64", {**gcm(), "wrapped_data": "_-8="})
    write("unpadded", "", MALFORMED + "not canonical base64", {**gcm(), "iv": "3PQMqtjbR4hxCr8"})
    write("duplicate_member", "", MALFORMED + "duplicate JSON member",
          json.dumps(gcm())[:-1] + ',"wrap_type":"A256CTR"}')
    write("trailing_octets", "", MALFORMED + "not JSON", json.dumps(gcm()) + "x")
    write("not_json", "", MALFORMED + "not JSON", "kbs:///default/key/1")
    write("not_an_object", "", MALFORMED + "not a JSON object", "[]")
    write("nested", "", MALFORMED + "JSON nested too deeply", {**gcm(), "x": [[[[[[[[]]]]]]]]})
    write("too_long", "", MALFORMED + "element too long", {**gcm(), "x": "x" * 16384})
    write("a_set_of_keys", "ours, under this name", OTHER,
          '{"v":1,"type":"sealift.keys","keys":[{"scheme":"jwe","key":"e30="}]}')


main()
