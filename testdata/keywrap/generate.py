#!/usr/bin/python3
"""usage: generate.py [FOLDER…]

Writes the vectors of this folder: jwe/, customer_key/ and keys/.

Shares no code with the crate: primitives come from the `cryptography` package and hashlib, key files from the
openssl command. Elements are a function of their names, so that running this again changes nothing in jwe/ and
customer_key/; keys/ holds random keys where the shape of the file is the point.

Each element vector is one JSON object:
  comment  what is special about it
  key      the private key that opens it: a file in keys/ or a customer key in hex
  expect   "opened", or what the error says
  element  the element as text (or element_base64)
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys

from cryptography.hazmat.primitives import hashes, keywrap, padding, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = open(f"{HERE}/skopeo/jwe-ec256.secret.json", "rb").read()
CURVES = {"P-256": (ec.SECP256R1(), 32), "P-384": (ec.SECP384R1(), 48), "P-521": (ec.SECP521R1(), 66)}
WRAPS = {"ECDH-ES+A128KW": 16, "ECDH-ES+A192KW": 24, "ECDH-ES+A256KW": 32}
ENCS = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64}
RSA = serialization.load_pem_private_key(open(f"{HERE}/skopeo/rsa.pem", "rb").read(), None)


def octets(label, length):
    """Octets that depend on nothing but a label."""
    return hashlib.shake_256(label.encode()).digest(length)


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64(data):
    return base64.b64encode(data).decode()


def ec_key(label, crv):
    curve, length = CURVES[crv]
    return ec.derive_private_key(int.from_bytes(octets(label, length - 1), "big"), curve)


def coordinates(key, crv):
    numbers = key.public_key().public_numbers()
    return [value.to_bytes(CURVES[crv][1], "big") for value in (numbers.x, numbers.y)]


def jwk(key, crv):
    x, y = coordinates(key, crv)
    return {"kty": "EC", "crv": crv, "x": b64u(x), "y": b64u(y)}


KEYS = {"p256.pem": ("P-256", ec_key("recipient", "P-256")), "p384.pem": ("P-384", ec_key("recipient", "P-384")),
        "p521.pem": ("P-521", ec_key("recipient", "P-521"))}


# --- JWE ---------------------------------------------------------------------------------------------------------

def compact_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def concat_kdf(z, alg, length, apu=b"", apv=b""):
    def field(data):
        return len(data).to_bytes(4, "big") + data
    info = field(alg.encode()) + field(apu) + field(apv) + (8 * length).to_bytes(4, "big")
    return hashlib.sha256((1).to_bytes(4, "big") + z + info).digest()[:length]


def oaep(message, seed, name):
    """RSAES-OAEP encryption by hand, so that the seed is ours (RFC 8017, section 7.1.1)."""
    def digest(data):
        return hashlib.new(name, data).digest()

    def mgf(source, length):
        out = b"".join(digest(source + i.to_bytes(4, "big")) for i in range(length // len(seed) + 1))
        return out[:length]
    numbers = RSA.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    block = digest(b"") + bytes(size - len(message) - 2 * len(seed) - 2) + b"\1" + message
    masked = bytes(a ^ b for a, b in zip(block, mgf(seed, len(block))))
    masked_seed = bytes(a ^ b for a, b in zip(seed, mgf(masked, len(seed))))
    number = int.from_bytes(b"\0" + masked_seed + masked, "big")
    return pow(number, numbers.e, numbers.n).to_bytes(size, "big")


def seal(enc, cek, iv, aad, plaintext=SECRET):
    if enc.endswith("GCM"):
        sealed = AESGCM(cek).encrypt(iv, plaintext, aad)
        return sealed[:-16], sealed[-16:]
    half = len(cek) // 2
    pad = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(cek[half:]), modes.CBC(iv)).encryptor()
    ciphertext = cipher.update(pad.update(plaintext) + pad.finalize()) + cipher.finalize()
    bits = (8 * len(aad)).to_bytes(8, "big")
    tag = hmac.new(cek[:half], aad + iv + ciphertext + bits, f"sha{8 * len(cek)}" if half != 24 else "sha384").digest()
    return ciphertext, tag[:half]


def wrap_for(label, key, alg, cek, apu=None, apv=None):
    """Returns the header members and the encrypted key for one recipient."""
    if alg.startswith("RSA"):
        name, length = ("sha1", 20) if alg == "RSA-OAEP" else ("sha256", 32)
        return {"alg": alg}, oaep(cek, octets(label + "seed", length), name)
    crv, private = KEYS[key]
    ephemeral = ec_key(label + "ephemeral", crv)
    z = ephemeral.exchange(ec.ECDH(), private.public_key())
    kek = concat_kdf(z, alg, WRAPS[alg], apu or b"", apv or b"")
    header = {"alg": alg, "epk": jwk(ephemeral, crv)}
    if apu is not None:
        header["apu"] = b64u(apu)
    if apv is not None:
        header["apv"] = b64u(apv)
    return header, keywrap.aes_key_wrap(kek, cek)


class Message:
    """The parts of a JWE before they are put together, for a test to change."""

    def __init__(self, label, key="p256.pem", alg="ECDH-ES+A256KW", enc="A256GCM", cek_len=None, **kdf):
        self.label, self.key, self.enc = label, key, enc
        self.cek = octets(label + "cek", cek_len or ENCS[enc])
        self.sealing_cek = octets(label + "cek", ENCS[enc]) if cek_len else self.cek
        self.iv = octets(label + "iv", 12 if enc.endswith("GCM") else 16)
        self.header, self.encrypted_key = wrap_for(label, key, alg, self.cek, **kdf)

    def protected(self, **more):
        return {**{k: v for k, v in self.header.items() if k == "alg"}, "enc": self.enc,
                **{k: v for k, v in self.header.items() if k != "alg"}, **more}

    def assemble(self, protected=None, aad=None, **outer):
        """Returns a flattened object; `protected` may be raw octets, `outer` adds or replaces members."""
        if protected is None:
            protected = self.protected()
        raw = protected if isinstance(protected, bytes) else compact_json(protected)
        encoded = b64u(raw) if raw else ""
        authenticated = encoded.encode() + (b"." + aad.encode() if aad is not None else b"")
        ciphertext, tag = seal(self.enc, self.sealing_cek, self.iv, authenticated)
        result = {"protected": encoded} if raw else {}
        result.update({"encrypted_key": b64u(self.encrypted_key), "iv": b64u(self.iv),
                       "ciphertext": b64u(ciphertext), "tag": b64u(tag)})
        if aad is not None:
            result["aad"] = aad
        result.update(outer)
        return {name: value for name, value in result.items() if value is not None}


def flip(text):
    """Flips one bit of a base64url member."""
    data = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    data[len(data) // 2] ^= 1
    return b64u(bytes(data))


def malformed(reason):
    return f"malformed wrapped key: {reason}"


def unsupported(name):
    return f"unsupported key-wrapping algorithm `{name}`"


OPENED, OTHER_KEY, ALTERED = "opened", "wrapped for another key", "wrapped key failed authentication"


def jwe_vectors(write):
    def vector(name, comment, element, expect, key="p256.pem"):
        if isinstance(element, dict):
            element = compact_json(element)
        write(name, comment, key, expect, element)

    # What must open.
    for enc in ENCS:
        vector(f"enc_{enc.lower()}", f"content encryption {enc}", Message(enc, enc=enc).assemble(), OPENED)
    for key, (crv, _) in KEYS.items():
        for alg in WRAPS:
            vector(f"alg_{alg.lower().replace('+', '_')}_{crv.lower()}", f"{alg} on {crv}",
                   Message(alg + crv, key, alg).assemble(), OPENED, key)
    for alg in ("RSA-OAEP", "RSA-OAEP-256"):
        vector(f"alg_{alg.lower()}", alg, Message(alg, "rsa.pem", alg).assemble(), OPENED, "rsa.pem")
    message = Message("compact")
    flat = message.assemble()
    parts = [flat[name] for name in ("protected", "encrypted_key", "iv", "ciphertext", "tag")]
    vector("compact", "compact serialisation", ".".join(parts).encode(), OPENED)
    vector("white_space", "white space around and inside the JSON",
           b"\n  " + json.dumps(flat, indent=2).encode() + b"\n", OPENED)
    vector("unknown_member", "a member nobody knows is ignored (RFC 7516, section 7.2.1)",
           message.assemble(comment="x"), OPENED)
    vector("kid", "a key id of another name does not exclude a key",
           message.assemble(message.protected(kid="someone")), OPENED)
    vector("header_unprotected", "alg and epk in the per-recipient header",
           message.assemble({"enc": "A256GCM"}, header=message.header), OPENED)
    vector("header_shared", "alg and epk in the shared unprotected header",
           message.assemble({"enc": "A256GCM"}, unprotected=message.header), OPENED)
    vector("header_three_places", "parameters in all three places",
           message.assemble({"enc": "A256GCM"}, unprotected={"alg": message.header["alg"]},
                            header={"epk": message.header["epk"], "kid": "x"}), OPENED)
    vector("no_protected_header", "no integrity-protected parameter at all",
           message.assemble(b"", header=message.protected()), OPENED)
    vector("additional_data", "the aad member", message.assemble(aad=b64u(b"more")), OPENED)
    vector("apu_apv", "party info", Message("party", apu=b"Alice", apv=b"Bob").assemble(), OPENED)

    def general(label, recipients, protected, stray=True, **more):
        """An object for several recipients as go-jose writes it."""
        base = Message(label)
        entries = []
        for number, (key, alg) in enumerate(recipients):
            header, wrapped = wrap_for(f"{label}{number}", key, alg, base.cek)
            entries.append({"header": header, "encrypted_key": b64u(wrapped)})
        base.encrypted_key = base64.urlsafe_b64decode(entries[0]["encrypted_key"] + "==")
        result = base.assemble(protected)
        key = result.pop("encrypted_key")
        result = {"protected": result.pop("protected"), "recipients": entries,
                  **({"encrypted_key": key} if stray else {}), **result, **more}
        return result

    enc = {"enc": "A256GCM"}
    pair = [("rsa.pem", "RSA-OAEP"), ("p256.pem", "ECDH-ES+A256KW"), ("p384.pem", "ECDH-ES+A256KW")]
    for number, (key, _) in enumerate(pair):
        vector(f"go_general_{number + 1}", "go-jose object with the stray top-level encrypted_key; recipient "
               f"{number + 1} of 3", general("go", pair, enc), OPENED, key)
    vector("general_no_stray", "general serialisation by the book", general("book", pair, enc, stray=False), OPENED)
    vector("general_same_alg_twice", "the second recipient of one algorithm",
           general("twice", [("p384.pem", "ECDH-ES+A256KW"), ("p256.pem", "ECDH-ES+A256KW")], enc), OPENED)
    beside = general("beside", pair, enc, stray=False)
    beside["recipients"].insert(0, {"header": {"alg": "HPKE-0", "ek": "x"}, "encrypted_key": "AAAA"})
    vector("unknown_alg_beside_good", "an unknown algorithm beside a good recipient", beside, OPENED)
    bad = general("badepk", pair, enc, stray=False)
    bad["recipients"].insert(0, {"header": {"alg": "ECDH-ES+A256KW", "epk": {"kty": "EC", "crv": "P-256", "x": "AA",
                                                                              "y": "AA"}}, "encrypted_key": "AAAA"})
    vector("bad_epk_beside_good", "a malformed recipient beside a good one", bad, OPENED)
    many = general("many", pair[1:2], enc, stray=False)
    filler = {"header": {"alg": "x"}, "encrypted_key": "AAAA"}
    many["recipients"] = [filler] * 63 + many["recipients"]
    vector("recipients_64", "as many recipients as are read", many, OPENED)

    # What must not.
    too_many = dict(many, recipients=[filler] + many["recipients"])
    vector("recipients_65", "one recipient too many", too_many, malformed("too many recipients"))
    vector("recipients_none", "an empty list", dict(many, recipients=[]), malformed("no recipient"))
    vector("recipients_and_header", "flattened and general at once", dict(many, header={"kid": "x"}),
           malformed("`header` beside `recipients`"))
    stray = general("stray", pair[1:2], enc)
    vector("stray_key_contradicts", "top-level encrypted_key is not the first recipient's",
           dict(stray, encrypted_key=flip(stray["encrypted_key"])),
           malformed("top-level `encrypted_key` contradicts `recipients`"))
    for member in ("tag", "ciphertext", "iv"):
        vector(f"flipped_{member}", f"one bit of {member}", dict(flat, **{member: flip(flat[member])}), ALTERED)
    vector("flipped_encrypted_key", "one bit of the wrapped key",
           dict(flat, encrypted_key=flip(flat["encrypted_key"])), OTHER_KEY)
    vector("protected_respelt", "the same header with a blank more is another message",
           dict(flat, protected=b64u(json.dumps(message.protected()).encode())), ALTERED)
    vector("additional_data_changed", "the aad member altered",
           dict(message.assemble(aad=b64u(b"more")), aad=b64u(b"less")), ALTERED)
    vector("additional_data_dropped", "the aad member removed",
           {k: v for k, v in message.assemble(aad=b64u(b"more")).items() if k != "aad"}, ALTERED)
    vector("cek_too_short", "an AES-128 key for A256GCM", Message("shortcek", cek_len=16).assemble(), ALTERED)
    cbc = Message("cbc", enc="A256CBC-HS512").assemble()
    vector("cbc_flipped_tag", "one bit of the HMAC", dict(cbc, tag=flip(cbc["tag"])), ALTERED)
    vector("cbc_flipped_ciphertext", "one bit of the ciphertext", dict(cbc, ciphertext=flip(cbc["ciphertext"])), ALTERED)
    vector("cbc_tag_untruncated", "the whole HMAC as tag", dict(cbc, tag=cbc["tag"] + cbc["tag"][:40]),
           malformed("`tag` of the wrong length"))

    rsa_flat = Message("rsa", "rsa.pem", "RSA-OAEP").assemble()
    for member in ("tag", "ciphertext", "encrypted_key"):
        vector(f"rsa_flipped_{member}", f"one bit of {member}: told like any other failure of RSA",
               dict(rsa_flat, **{member: flip(rsa_flat[member])}), OTHER_KEY, "rsa.pem")
    vector("rsa_cek_too_short", "a good padding around a key of the wrong length",
           Message("rsashort", "rsa.pem", "RSA-OAEP", cek_len=16).assemble(), OTHER_KEY, "rsa.pem")
    vector("rsa_wrong_hash", "RSA-OAEP-256 labelled RSA-OAEP",
           dict(rsa_flat, encrypted_key=b64u(wrap_for("h", "rsa.pem", "RSA-OAEP-256", Message("rsa").cek)[1])),
           OTHER_KEY, "rsa.pem")
    vector("rsa_short_encrypted_key", "an encrypted key shorter than the modulus",
           dict(rsa_flat, encrypted_key="AAAA"), OTHER_KEY, "rsa.pem")
    vector("rsa_number_beyond_modulus", "an encrypted key not below the modulus",
           dict(rsa_flat, encrypted_key=b64u(b"\xff" * 256)), OTHER_KEY, "rsa.pem")
    vector("rsa_for_ec_key", "an RSA recipient and an EC key", rsa_flat, OTHER_KEY)
    vector("ec_for_rsa_key", "an EC recipient and an RSA key", flat, OTHER_KEY, "rsa.pem")
    vector("other_key_same_curve", "wrapped for another P-256 key", flat, OTHER_KEY, "p256-other.pem")

    def with_epk(change):
        epk = dict(message.header["epk"])
        change(epk)
        return message.assemble(message.protected(epk=epk))
    off = "`epk` is not a point of its curve"
    vector("epk_wrong_curve", "an ephemeral key on another curve",
           message.assemble(message.protected(epk=jwk(KEYS["p384.pem"][1], "P-384"))), OTHER_KEY)
    vector("epk_not_on_curve", "invalid-curve attack", with_epk(lambda e: e.update(y=flip(e["y"]))), malformed(off))
    vector("epk_swapped", "x and y exchanged", with_epk(lambda e: e.update(x=e["y"], y=e["x"])), malformed(off))
    zero = b64u(bytes(32))
    vector("epk_zero", "the point (0, 0), a favourite spelling of the identity",
           with_epk(lambda e: e.update(x=zero, y=zero)), malformed(off))
    vector("epk_empty", "empty coordinates", with_epk(lambda e: e.update(x="", y="")), malformed(off))
    prime = b64u((2**256 - 2**224 + 2**192 + 2**96 - 1).to_bytes(32, "big"))
    vector("epk_not_reduced", "x is the field prime", with_epk(lambda e: e.update(x=prime)), malformed(off))
    x = base64.urlsafe_b64decode(message.header["epk"]["x"] + "=")
    vector("epk_short", "x without its first octet", with_epk(lambda e: e.update(x=b64u(x[1:]))), malformed(off))
    vector("epk_long", "x with a zero before it", with_epk(lambda e: e.update(x=b64u(b"\0" + x))), malformed(off))
    y = base64.urlsafe_b64decode(message.header["epk"]["y"] + "=")
    vector("epk_split_elsewhere", "the right octets, cut between x and y one octet too late",
           with_epk(lambda e: e.update(x=b64u(x + y[:1]), y=b64u(y[1:]))), malformed(off))
    vector("epk_with_private_key", "a private key in epk", with_epk(lambda e: e.update(d="AA")),
           malformed("`epk` with a private key"))
    vector("epk_without_crv", "no curve", with_epk(lambda e: e.pop("crv")), malformed("`epk` without `crv`"))
    vector("epk_missing", "no ephemeral key", message.assemble({"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}),
           malformed("no `epk`"))
    vector("epk_x25519", "an ephemeral key of another type",
           message.assemble(message.protected(epk={"kty": "OKP", "crv": "X25519", "x": "AA"})), unsupported("epk OKP"))
    vector("epk_secp256k1", "a curve we do not know", with_epk(lambda e: e.update(crv="secp256k1")),
           unsupported("epk secp256k1"))
    vector("apu_changed", "party info that was not agreed on", message.assemble(message.protected(apu=b64u(b"x"))),
           OTHER_KEY)

    duplicate = "duplicate JSON member"
    vector("duplicate_member", "tag twice", compact_json(flat)[:-1] + b',"tag":"x"}', malformed(duplicate))
    raw = compact_json(message.protected())
    vector("duplicate_in_protected", "alg twice, once escaped",
           message.assemble(raw[:-1] + b',"\\u0061lg":"dir"}'), malformed(duplicate))
    vector("duplicate_in_epk", "crv twice", message.assemble(raw.replace(b'"epk":{', b'"epk":{"crv":"P-384",')),
           malformed(duplicate))
    two = "header parameter in two places"
    vector("name_protected_and_header", "alg protected and per recipient",
           message.assemble(header={"alg": "RSA-OAEP"}), malformed(two))
    vector("name_protected_and_shared", "kid protected and shared",
           message.assemble(message.protected(kid="a"), unprotected={"kid": "a"}), malformed(two))
    vector("name_shared_and_header", "kid shared and per recipient",
           message.assemble(unprotected={"kid": "a"}, header={"kid": "a"}), malformed(two))
    vector("crit", "an extension that must be understood",
           message.assemble(message.protected(crit=["exp"], exp=1)), unsupported("crit"))
    vector("crit_unprotected", "crit where it may not stand", message.assemble(header={"crit": ["exp"]}),
           unsupported("crit"))
    vector("zip", "compression", message.assemble(message.protected(zip="DEF")), unsupported("zip=DEF"))
    for alg in ("dir", "RSA1_5", "RSA-OAEP-512", "ECDH-ES", "A256KW", "PBES2-HS256+A128KW", "none", "rsa-oaep"):
        vector(f"unknown_alg_{alg.lower().replace('+', '_')}", f"alg {alg}", message.assemble(message.protected(alg=alg)),
               unsupported(alg))
    vector("unknown_enc", "enc XC20P", message.assemble(message.protected(enc="XC20P")), unsupported("XC20P"))
    vector("missing_alg", "no alg", message.assemble({"enc": "A256GCM"}), malformed("no `alg`"))
    vector("missing_enc", "no enc", message.assemble({"alg": "RSA-OAEP"}), malformed("no `enc`"))
    wrong_type = "header parameter of the wrong type"
    vector("alg_not_text", "alg is a number", message.assemble(message.protected(alg=1)), malformed(wrong_type))
    vector("kid_not_text", "kid is a list", message.assemble(message.protected(kid=["a"])), malformed(wrong_type))
    mixed = general("mixed", pair[1:], {"kid": "x"}, stray=False)
    for entry, name in zip(mixed["recipients"], ("A256GCM", "A128GCM")):
        entry["header"]["enc"] = name
    vector("enc_differs", "recipients that disagree on enc", mixed, malformed("recipients differ in `enc`"))

    not_url = malformed("not canonical base64url")
    vector("tag_padded", "base64url with padding", dict(flat, tag=flat["tag"] + "=="), not_url)
    vector("tag_not_canonical", "unused bits are set", dict(flat, tag=flat["tag"][:-1] + "B"), not_url)
    vector("iv_standard_alphabet", "base64 instead of base64url", dict(flat, iv="////////////////"), not_url)
    vector("ciphertext_line_break", "a line break inside", dict(flat, ciphertext=flat["ciphertext"] + "\n"), not_url)
    vector("protected_padded", "padding after the header", dict(flat, protected=flat["protected"] + "=="),
           malformed("protected header"))
    vector("protected_array", "the header is an array", message.assemble(b"[]"), malformed("protected header"))
    vector("protected_not_json", "the header is no JSON", message.assemble(b"{alg"), malformed("not JSON"))
    vector("protected_trailing", "octets after the header", message.assemble(raw + b"{}"), malformed("not JSON"))
    vector("protected_too_long", "a header of more than 4 KiB",
           message.assemble(message.protected(kid="x" * 5000)), malformed("header too long"))
    vector("tag_truncated", "a tag of 12 octets", dict(flat, tag=flat["tag"][:16]),
           malformed("`tag` of the wrong length"))
    vector("tag_missing", "no tag", {k: v for k, v in flat.items() if k != "tag"},
           malformed("`tag` of the wrong length"))
    vector("iv_16", "an iv of 16 octets for GCM", dict(flat, iv=b64u(bytes(16))), malformed("`iv` of the wrong length"))
    vector("tag_null", "tag is null", dict(flat, tag=None), malformed("member of the wrong type"))
    vector("encrypted_key_missing", "no encrypted key",
           {k: v for k, v in flat.items() if k != "encrypted_key"}, OTHER_KEY)
    vector("too_deep", "nine levels",
           compact_json(flat)[:-1] + b',"x":' + b"[" * 8 + b"]" * 8 + b"}", malformed("JSON nested too deeply"))
    vector("too_long", "one octet more than 16 KiB",
           compact_json(flat) + b" " * (16 * 1024 + 1 - len(compact_json(flat))), malformed("element too long"))
    vector("trailing_octets", "something after the object", compact_json(flat) + b"x", malformed("not JSON"))
    vector("byte_order_mark", "a byte order mark", b"\xef\xbb\xbf" + compact_json(flat), malformed("not a JWE"))
    vector("not_utf8", "a member name that is not UTF-8", compact_json(flat)[:-1] + b',"\xff":1}', malformed("not JSON"))
    vector("empty", "nothing", b"", malformed("not a JWE"))
    vector("json_array", "an array", b"[]", malformed("not a JWE"))
    vector("compact_4_parts", "compact without its tag", ".".join(parts[:4]).encode(), malformed("not a JWE"))
    vector("compact_6_parts", "compact with a part too many", ".".join(parts + [""]).encode(), malformed("not a JWE"))
    vector("compact_jws", "a signed token", ".".join(parts[:3]).encode(), malformed("not a JWE"))
    vector("compact_no_header", "compact without header", ".".join([""] + parts[1:]).encode(), malformed("not JSON"))
    vector("recipients_not_array", "recipients is an object", dict(flat, recipients={}),
           malformed("`recipients` is not an array"))
    vector("recipient_not_object", "a recipient is text", dict(flat, recipients=["x"]),
           malformed("recipient is not an object"))
    vector("header_not_object", "header is text", dict(flat, header="x"), malformed("header is not an object"))


# --- customer keys -----------------------------------------------------------------------------------------------

def customer_vectors(write):
    key = octets("customer key", 32)
    info = b"sealift/v1/aes256"

    def element(label, key=key, name=None, ct=None, **changes):
        salt = octets(label + "salt", 32)
        kid = hashlib.sha256(key).hexdigest()
        kek = HKDF(hashes.SHA256(), 32, salt, info).derive(key)
        sealed = AESGCM(kek).encrypt(bytes(12), SECRET, info + b"\n" + (name or kid).encode())
        value = {"v": 1, "type": "aes256", "kid": kid, "salt": b64(salt), "ct": b64(ct(sealed) if ct else sealed)}
        value.update(changes)
        return {k: v for k, v in value.items() if v is not None}

    def vector(name, comment, value, expect, key=key):
        value = compact_json(value) if isinstance(value, dict) else value
        write(name, comment, key.hex(), expect, value)

    good = element("good")
    vector("valid", "as written", good, OPENED)
    vector("unknown_member", "a member nobody knows", dict(good, comment="x"), OPENED)
    other = octets("other key", 32)
    vector("other_key", "the name of another key", good, OTHER_KEY, other)
    vector("wrong_key_right_name", "sealed with another key under this key's name",
           dict(element("good", other), kid=good["kid"]), ALTERED)
    vector("name_not_bound", "additional data with another name", element("bound", name="0" * 64), ALTERED)
    vector("salt_changed", "one bit of the salt",
           dict(good, salt=b64(bytes([octets("goodsalt", 32)[0] ^ 1]) + octets("goodsalt", 32)[1:])), ALTERED)
    vector("ct_flipped", "one bit of the ciphertext",
           element("good", ct=lambda s: bytes([s[0] ^ 1]) + s[1:]), ALTERED)
    vector("tag_flipped", "one bit of the tag", element("good", ct=lambda s: s[:-1] + bytes([s[-1] ^ 1])), ALTERED)
    vector("ct_truncated", "the last octet is gone", element("good", ct=lambda s: s[:-1]), ALTERED)
    vector("ct_shorter_than_tag", "15 octets", element("good", ct=lambda s: s[:15]),
           malformed("`ct` shorter than its tag"))
    vector("salt_31", "a salt of 31 octets", dict(good, salt=b64(bytes(31))), malformed("`salt` of the wrong length"))
    vector("salt_unpadded", "base64 without padding", dict(good, salt=good["salt"].rstrip("=")),
           malformed("not canonical base64"))
    vector("ct_base64url", "the other alphabet", dict(good, ct="____"), malformed("not canonical base64"))
    vector("kid_upper_case", "a name in capitals", dict(good, kid=good["kid"].upper()),
           malformed("`kid` is not a hex SHA-256"))
    vector("kid_short", "a name of 16 digits", dict(good, kid=good["kid"][:16]), malformed("`kid` is not a hex SHA-256"))
    for name in ("kid", "salt", "ct", "type"):
        vector(f"no_{name}", f"{name} is missing", {k: v for k, v in good.items() if k != name},
               malformed("missing or mistyped member"))
    vector("no_v", "no version", {k: v for k, v in good.items() if k != "v"}, malformed("no version"))
    vector("v_text", "version is text", dict(good, v="1"), malformed("no version"))
    vector("v_2", "a later version", dict(good, v=2), unsupported("aes256 v2"))
    vector("type_xwing", "a type of later", {"v": 1, "type": "xwing", "kid": "x"}, unsupported("xwing"))
    vector("type_kms", "another type of later", {"v": 1, "type": "kms", "uri": "x"}, unsupported("kms"))
    vector("threshold", "a threshold wrap", b"SLW1" + bytes(200), unsupported("threshold"))
    vector("duplicate_member", "kid twice", compact_json(good)[:-1] + b',"kid":"x"}', malformed("duplicate JSON member"))
    vector("trailing_octets", "something after the object", compact_json(good) + b"x", malformed("not JSON"))
    vector("too_long", "one octet more than 16 KiB",
           compact_json(good) + b" " * (16 * 1024 + 1 - len(compact_json(good))), malformed("element too long"))
    vector("not_json", "neither form", b"hello", malformed("not JSON"))
    vector("empty", "nothing", b"", malformed("not JSON"))
    vector("not_an_object", "an array", b"[]", malformed("not a JSON object"))


# --- key files ---------------------------------------------------------------------------------------------------

def key_files(folder):
    entries = []

    def path(name):
        return f"{folder}/{name}"

    def fingerprint(key):
        public = key.public_key() if hasattr(key, "public_key") else key
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def put(name, kind, data, expect, password=None):
        """Writes a file and what reading it as `kind` gives: fingerprints, or an error."""
        if data is not None:
            with open(path(name), "wb") as out:
                out.write(data if isinstance(data, bytes) else data.encode())
        entries.append({"file": name, "kind": kind, "password": password, "expect": expect})

    def openssl(*args, data=None):
        done = subprocess.run(["openssl", *args], input=data, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"openssl {args}: {done.stderr.decode()}")
        return done.stdout

    def private(key, form="PKCS8", encoding="PEM"):
        return key.private_bytes(getattr(serialization.Encoding, encoding), getattr(serialization.PrivateFormat, form),
                                 serialization.NoEncryption())

    def public(key, encoding="PEM", form="SubjectPublicKeyInfo"):
        return key.public_key().public_bytes(getattr(serialization.Encoding, encoding),
                                             getattr(serialization.PublicFormat, form))

    prints = {"rsa.pem": fingerprint(RSA), **{name: fingerprint(key) for name, (_, key) in KEYS.items()}}
    p256 = KEYS["p256.pem"][1]
    mine = [prints["p256.pem"]]
    for name, key in [("rsa.pem", RSA), *((name, key) for name, (_, key) in KEYS.items())]:
        stem = name[:-4]
        put(name, "private", private(key), [prints[name]])
        put(f"{stem}.pub.pem", "public", public(key), [prints[name]])
        put(f"{stem}.pkcs8.der", "private", private(key, encoding="DER"), [prints[name]])
        put(f"{stem}.spki.der", "public", public(key, "DER"), [prints[name]])
        put(f"{stem}.traditional.pem", "private", private(key, "TraditionalOpenSSL"), [prints[name]])
        put(f"{stem}.traditional.der", "private", private(key, "TraditionalOpenSSL", "DER"), [prints[name]])
    put("p256-other.pem", "private", private(ec_key("another", "P-256")), [fingerprint(ec_key("another", "P-256"))])
    put("rsa.pkcs1.pub.pem", "public", public(RSA, form="PKCS1"), [prints["rsa.pem"]])
    put("rsa.pkcs1.pub.der", "public", public(RSA, "DER", "PKCS1"), [prints["rsa.pem"]])
    traditional = private(p256, "TraditionalOpenSSL")
    parameters = openssl("ecparam", "-name", "prime256v1")
    put("p256.parameters.pem", "private", parameters + traditional, mine)
    put("p256.crlf.pem", "private", private(p256).replace(b"\n", b"\r\n"), mine)
    put("p256.text.pem", "private", b"Bag Attributes\n    friendlyName: x\n" + private(p256) + b"trailing text\n", mine)
    certificate = openssl("req", "-x509", "-new", "-key", path("p256.pem"), "-subj", "/CN=test", "-days", "1")
    put("p256.cert.pem", "public", certificate, mine)
    put("p256.cert.der", "public", openssl("x509", "-outform", "DER", data=certificate), mine)
    request = openssl("req", "-new", "-key", path("p384.pem"), "-subj", "/CN=leaf")
    leaf = openssl("x509", "-req", "-CA", path("p256.cert.pem"), "-CAkey", path("p256.pem"), "-set_serial", "2",
                   data=request)
    put("leaf.cert.pem", "public", leaf, [prints["p384.pem"]])
    put("bad.chain.pem", "public", leaf + certificate,
        "the file holds a certificate and its issuer; give the certificate alone")
    same_name = openssl("req", "-x509", "-new", "-key", path("p384.pem"), "-subj", "/CN=test", "-days", "1")
    put("two.cert.pem", "public", certificate + same_name, mine + [prints["p384.pem"]])
    put("p256.digit-first.pub.pem", "public", b"0 a comment\n" + public(p256), mine)
    put("bundle.pem", "private", certificate + private(p256), mine)
    put("two.pem", "private", private(p256) + private(RSA), mine + [prints["rsa.pem"]])
    put("two.pub.pem", "public", public(p256) + public(RSA), mine + [prints["rsa.pem"]])

    # Encrypted.
    password, wrong, missing = "päss word:1", "wrong password for this key", "key is encrypted and no password was given"

    def encrypted(name, *options, key="p256.pem", expect=None):
        data = openssl("pkcs8", "-topk8", "-in", path(key), "-passout", f"pass:{password}", *options)
        put(name, "private", data, expect or [prints[key]], password)
    encrypted("enc.pbkdf2-sha256-aes256.pem", "-v2", "aes-256-cbc")
    encrypted("enc.pbkdf2-sha256-aes128.pem", "-v2", "aes-128-cbc")
    encrypted("enc.pbkdf2-sha1-aes256.pem", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1")
    encrypted("enc.pbkdf2-sha512-aes256.pem", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512")
    encrypted("enc.scrypt-aes256.pem", "-scrypt")
    encrypted("enc.rsa.pem", "-v2", "aes-256-cbc", key="rsa.pem")
    encrypted("enc.pbkdf2.der", "-v2", "aes-256-cbc", "-outform", "DER")
    encrypted("enc.pbes2-des3.pem", "-v2", "des3", expect="unsupported key encryption `not PBES2 with AES`")
    encrypted("enc.pbes1.pem", "-v1", "PBE-SHA1-3DES",
              expect="unsupported key encryption `not PBES2 with AES`")
    costly = "unsupported key encryption `key derivation beyond the cost limit`"
    encrypted("enc.pbkdf2-endless.pem", "-v2", "aes-256-cbc", "-iter", str(2**24), expect=costly)
    scrypt = openssl("pkcs8", "-topk8", "-in", path("p256.pem"), "-passout", "pass:x", "-outform", "DER",
                     "-scrypt")
    cost = bytes.fromhex("02024000020108")  # INTEGER N, INTEGER r; the latter becomes 127: 254 MiB
    assert scrypt.count(cost) == 1
    put("enc.scrypt-huge.der", "private", scrypt.replace(cost, cost[:-1] + b"\x7f"), costly, "x")
    put("enc.pbkdf2.der", "private", None, missing)
    put("enc.pbkdf2.der", "private", None, wrong, "other")
    put("enc.scrypt-aes256.pem", "private", None, wrong, "other")
    for name, cipher in [("128", "aes-128-cbc"), ("192", "aes-192-cbc"), ("256", "aes-256-cbc")]:
        data = openssl("rsa", "-traditional", f"-{cipher}", "-in", path("rsa.pem"), "-passout", f"pass:{password}")
        put(f"legacy.aes{name}.pem", "private", data, [prints["rsa.pem"]], password)
        put(f"legacy.aes{name}.pem", "private", None, wrong, "other")
        put(f"legacy.aes{name}.pem", "private", None, missing)
    data = openssl("ec", "-aes256", "-in", path("p256.pem"), "-passout", f"pass:{password}")
    put("legacy.ec.pem", "private", data, mine, password)
    data = openssl("rsa", "-traditional", "-des3", "-in", path("rsa.pem"), "-passout", f"pass:{password}")
    put("legacy.des3.pem", "private", data, "unsupported key encryption `DES-EDE3-CBC`", password)
    info = b"malformed key: Proc-Type without DEK-Info, or reverse"
    put("legacy.no-dek-info.pem", "private", data.replace(b"DEK-Info", b"X-Info"), info.decode(), password)

    # Of 256 wrong passwords one decrypts to a padding that looks right; what it uncovers is still no key.
    def unlucky(derive, iv, ciphertext):
        for number in range(100_000):
            guess = f"wrong {number}"
            cipher = Cipher(algorithms.AES(derive(guess.encode())), modes.CBC(iv)).decryptor()
            pad = padding.PKCS7(128).unpadder()
            try:
                pad.update(cipher.update(ciphertext) + cipher.finalize())
                pad.finalize()
                return guess
            except ValueError:
                continue
        sys.exit("no such password")

    lines = open(path("legacy.aes128.pem"), encoding="ascii").read().split("\n")
    iv = bytes.fromhex(lines[2].split(",")[1])
    guess = unlucky(lambda guess: hashlib.md5(guess + iv[:8]).digest(), iv, base64.b64decode("".join(lines[4:-2])))
    put("legacy.aes128.pem", "private", None, wrong, guess)
    der = open(path("enc.pbkdf2.der"), "rb").read()
    at = der.index(bytes.fromhex("06092a864886f70d01050c")) + 15  # OID of PBKDF2, SEQUENCE, OCTET STRING
    salt = der[at:at + der[at - 1]]
    at = der.index(bytes.fromhex("060960864801650304012a0410")) + 13  # OID of AES-256-CBC, OCTET STRING
    iv = der[at:at + 16]
    ciphertext = der[at + 16 + (2 if der[at + 17] < 128 else 3):]
    guess = unlucky(lambda guess: hashlib.pbkdf2_hmac("sha256", guess, salt, 2048), iv, ciphertext)
    put("enc.pbkdf2.der", "private", None, wrong, guess)

    # JWK.
    def uint(value):
        return b64u(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    n = RSA.private_numbers()
    rsa_public = {"kty": "RSA", "n": uint(n.public_numbers.n), "e": uint(n.public_numbers.e)}
    rsa_private = {**rsa_public, "d": uint(n.d), "p": uint(n.p), "q": uint(n.q), "dp": uint(n.dmp1), "dq": uint(n.dmq1),
                   "qi": uint(n.iqmp)}
    ec_public = jwk(p256, "P-256")
    ec_private = {**ec_public, "d": b64u(p256.private_numbers().private_value.to_bytes(32, "big"))}
    p521 = KEYS["p521.pem"][1]
    put("rsa.jwk", "public", compact_json(rsa_public), [prints["rsa.pem"]])
    put("rsa.private.jwk", "private", compact_json(rsa_private), [prints["rsa.pem"]])
    put("p256.jwk", "public", compact_json({**ec_public, "kid": "a", "use": "enc"}), mine)
    put("p256.private.jwk", "private", json.dumps({**ec_private, "kid": "a"}, indent=1), mine)
    put("p521.private.jwk", "private", compact_json(
        {**jwk(p521, "P-521"), "d": b64u(p521.private_numbers().private_value.to_bytes(66, "big"))}), [prints["p521.pem"]])
    put("set.jwks", "public", compact_json({"keys": [rsa_public, ec_public]}), [prints["rsa.pem"]] + mine)
    put("set.private.jwks", "private", compact_json({"keys": [rsa_private, ec_private]}), [prints["rsa.pem"]] + mine)

    # What must be refused.
    public_expected = "this is a private key; a recipient is named by its public key"
    private_expected = "this is a public key; a private key is needed here"
    none = "not a key in PEM, DER or JWK form"
    for name in ("p256.pem", "rsa.pkcs8.der", "p256.private.jwk", "rsa.traditional.der", "enc.pbkdf2.der"):
        put(name, "public", None, public_expected)
    for name in ("p256.pub.pem", "p256.spki.der", "p256.jwk", "p256.cert.pem", "p256.cert.der"):
        put(name, "private", None, private_expected)

    def refuse(name, kind, data, expect):
        put(name, kind, data, expect)
    for kind in ("public", "private"):
        refuse(f"bad.empty.{kind}", kind, b"", none)
        refuse(f"bad.text.{kind}", kind, b"hello\n", none)
        refuse(f"bad.sequence.{kind}", kind, bytes.fromhex("3003020101"), none)
        refuse(f"bad.json.{kind}", kind, b"{}", none)
        refuse(f"bad.set-empty.{kind}", kind, b'{"keys":[]}', none)
        refuse(f"bad.oct.{kind}", kind, compact_json({"kty": "oct", "k": b64u(bytes(32))}),
               "unsupported key type `kty=oct`")
        refuse(f"bad.set-101.{kind}", kind, compact_json({"keys": [{}] * 101}), "more than 100 keys in one file")
        refuse(f"bad.deep.{kind}", kind, b'{"kty":' + b"[" * 8 + b"]" * 8 + b"}",
               "malformed key: JSON nested too deeply")
        refuse(f"bad.duplicate.{kind}", kind, b'{"kty":"EC","kty":"RSA"}', "malformed key: duplicate JSON member")
    pem = private(p256)
    refuse("bad.no-end.pem", "private", pem[:-20], "malformed key: PEM without end")
    refuse("bad.labels-differ.pem", "private", pem.replace(b"END PRIVATE", b"END PUBLIC"),
           "malformed key: PEM ends with another label")
    refuse("bad.base64.pem", "private", pem.replace(b"\n", b"\n!", 1), "malformed key: PEM is not base64")
    refuse("bad.openssh.pem", "private", private(p256, "OpenSSH"), "unsupported key type `OPENSSH PRIVATE KEY`")
    refuse("bad.request.pem", "public", openssl("req", "-new", "-key", path("p256.pem"), "-subj", "/CN=x"),
           "unsupported key type `CERTIFICATE REQUEST`")
    refuse("bad.truncated.der", "private", private(p256, encoding="DER")[:-1], none)
    refuse("bad.trailing.der", "public", public(p256, "DER") + b"\0", none)
    refuse("bad.trailing.pem", "public", "-----BEGIN PUBLIC KEY-----\n" + b64(public(p256, "DER") + b"\0")
           + "\n-----END PUBLIC KEY-----\n", "malformed key: SubjectPublicKeyInfo")
    weak = rsa.generate_private_key(65537, 1024)
    for name, kind, data in [("pem", "private", private(weak)), ("pub.pem", "public", public(weak)),
                             ("jwk", "public", compact_json({"kty": "RSA", "e": "AQAB",
                                                             "n": uint(weak.public_key().public_numbers().n)}))]:
        refuse(f"bad.rsa1024.{name}", kind, data, "RSA key of 1024 bits is too weak; at least 2048 are needed")
    odd = rsa.generate_private_key(65537, 2047)
    refuse("bad.rsa2047.pub.pem", "public", public(odd), "RSA key of 2047 bits is too weak; at least 2048 are needed")
    huge = {"kty": "RSA", "e": "AQAB", "n": b64u(b"\x80" + bytes(1029) + b"\1")}
    refuse("bad.rsa8248.jwk", "public", compact_json(huge), "unsupported key type `RSA of 8248 bits`")
    refuse("bad.rsa-exponent-1.jwk", "public", compact_json({**rsa_public, "e": "AQ"}), "malformed key: RSA public key")
    refuse("bad.rsa-no-primes.jwk", "private", compact_json({**rsa_public, "d": uint(n.d)}),
           "unsupported key type `RSA JWK without its primes`")
    refuse("bad.rsa-inconsistent.jwk", "private", compact_json({**rsa_private, "p": rsa_private["q"]}),
           "malformed key: RSA private key")
    refuse("bad.use-sig.jwk", "public", compact_json({**ec_public, "use": "sig"}), "unsupported key type `use=sig`")
    refuse("bad.alg.jwk", "public", compact_json({**ec_public, "alg": "RSA-OAEP"}), "unsupported key type `alg=RSA-OAEP`")
    refuse("bad.alg-ecdh-es.jwk", "public", compact_json({**ec_public, "alg": "ECDH-ES"}),
           "unsupported key type `alg=ECDH-ES`")
    put("p256.kid-256.jwk", "public", compact_json({**ec_public, "kid": "<" * 256}), mine)
    refuse("bad.kid-257.jwk", "public", compact_json({**ec_public, "kid": "a" * 257}),
           "malformed key: `kid` longer than 256 octets")
    refuse("bad.kid-257.private.jwk", "private", compact_json({**ec_private, "kid": "a" * 257}),
           "malformed key: `kid` longer than 256 octets")
    refuse("bad.point.jwk", "public", compact_json({**ec_public, "y": flip(ec_public["y"])}),
           "malformed key: JWK is not a point of its curve")
    refuse("bad.short-scalar.jwk", "private", compact_json({**ec_private, "d": "AQ"}),
           "malformed key: JWK scalar of the wrong length")
    refuse("bad.zero-scalar.jwk", "private", compact_json({**ec_private, "d": b64u(bytes(32))}),
           "malformed key: EC private key out of range")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    refuse("bad.order-scalar.jwk", "private", compact_json({**ec_private, "d": b64u(order.to_bytes(32, "big"))}),
           "malformed key: EC private key out of range")
    other = jwk(ec_key("another", "P-256"), "P-256")
    refuse("bad.mismatch.jwk", "private", compact_json({**other, "d": ec_private["d"]}),
           "malformed key: public key belongs to another key")
    x, y = coordinates(p256, "P-256")
    ox, oy = coordinates(ec_key("another", "P-256"), "P-256")
    refuse("bad.mismatch.sec1.der", "private", private(p256, "TraditionalOpenSSL", "DER").replace(x + y, ox + oy),
           "malformed key: public key belongs to another key")
    refuse("bad.point.spki.der", "public", public(p256, "DER").replace(y, oy),
           "malformed key: not an uncompressed point of its curve")

    def tlv(tag, *parts):
        content = b"".join(parts)
        return bytes([tag, len(content)]) + content
    scalar = p256.private_numbers().private_value.to_bytes(32, "big")
    oid_p256, oid_p384 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06052b81040022")
    bare = [tlv(2, b"\1"), tlv(4, scalar)]
    put("p256.no-public.sec1.der", "private", tlv(0x30, *bare, tlv(0xa0, oid_p256)), mine)
    put("p256.short-scalar.sec1.der", "private",
        tlv(0x30, bare[0], tlv(4, scalar.lstrip(b"\0")), tlv(0xa0, oid_p256)), mine)
    refuse("bad.no-curve.sec1.der", "private", tlv(0x30, *bare), "malformed key: EC private key names no curve")
    algorithm = tlv(0x30, bytes.fromhex("06072a8648ce3d0201"), oid_p256)
    refuse("bad.two-curves.pkcs8.der", "private",
           tlv(0x30, tlv(2, b"\0"), algorithm, tlv(4, tlv(0x30, *bare, tlv(0xa0, oid_p384)))),
           "malformed key: EC private key names two curves")
    for name, curve, text in [("secp256k1", ec.SECP256K1(), "secp256k1"), ("p224", ec.SECP224R1(), "P-224"),
                              ("brainpool", ec.BrainpoolP256R1(), "brainpoolP256r1")]:
        key = ec.generate_private_key(curve)
        refuse(f"bad.{name}.pem", "private", private(key), f"unsupported curve `{text}`")
        refuse(f"bad.{name}.pub.pem", "public", public(key), f"unsupported curve `{text}`")
    refuse("bad.secp256k1.jwk", "public", compact_json({**ec_public, "crv": "secp256k1"}), "unsupported curve `secp256k1`")
    explicit = openssl("ec", "-in", path("p256.pem"), "-pubout", "-param_enc", "explicit")
    refuse("bad.explicit.pub.pem", "public", explicit, "unsupported curve `explicit parameters`")
    compressed = openssl("ec", "-in", path("p256.pem"), "-pubout", "-conv_form", "compressed")
    refuse("bad.compressed.pub.pem", "public", compressed, "malformed key: not an uncompressed point of its curve")
    sec1 = openssl("ec", "-in", path("p256.pem"), "-conv_form", "compressed")
    put("p256.compressed.sec1.pem", "private", sec1, mine)
    for name, key in [("Ed25519", ed25519.Ed25519PrivateKey.generate()), ("X25519", x25519.X25519PrivateKey.generate()),
                      ("DSA", dsa.generate_private_key(2048))]:
        refuse(f"bad.{name.lower()}.pem", "private", private(key), f"unsupported key type `{name}`")
        refuse(f"bad.{name.lower()}.pub.pem", "public", public(key), f"unsupported key type `{name}`")
    pss = openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    refuse("bad.rsa-pss.pem", "private", pss, "unsupported key type `RSASSA-PSS`")
    refuse("bad.second-key.pem", "private", private(p256) + private(ed25519.Ed25519PrivateKey.generate()),
           "unsupported key type `Ed25519`")
    with open(path("index.json"), "w", encoding="utf-8") as out:
        json.dump(entries, out, indent=1, ensure_ascii=False)
        out.write("\n")


def element_writer(folder):
    def write(name, comment, key, expect, element):
        vector = {"comment": comment, "key": key, "expect": expect}
        try:
            vector["element"] = element.decode()
        except UnicodeDecodeError:
            vector["element_base64"] = b64(element)
        target = f"{folder}/{name}.json"
        if os.path.exists(target):
            sys.exit(f"{name} twice")
        with open(target, "w", encoding="utf-8") as out:
            json.dump(vector, out, indent=1)
            out.write("\n")
    return write


def main(folders):
    steps = {"keys": key_files, "jwe": lambda folder: jwe_vectors(element_writer(folder)),
             "customer_key": lambda folder: customer_vectors(element_writer(folder))}
    for name in folders or steps:
        folder = f"{HERE}/{name}"
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        steps[name](folder)


main(sys.argv[1:])
