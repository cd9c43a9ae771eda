#!/usr/bin/python3
"""usage: generate_pkcs7.py [certificates | pkcs7 | foreign]…

Writes the vectors of this folder: certificates/ and pkcs7/; `foreign` takes pkcs7/{go,openssl}_*.json anew from
those programs, which draw random numbers.

Shares no code with the crate: DER and both RSA paddings are written by hand, AES-GCM comes from the `cryptography`
package. What stands in pkcs7/ is otherwise a function of its name.

Each vector is one JSON object:
  comment         what is special about it
  key             the private key, relative to this folder
  certificate     what is given with the key, or null
  expect          "opened", or what the error says
  element_base64  the element
"""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

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


# --- DER ---------------------------------------------------------------------------------------------------------

def tlv(tag, *parts):
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(dotted):
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in [40 * first + second, *rest]:
        groups = [arc & 0x7f]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7f)
        out += bytes(reversed(groups))
    return tlv(6, out)


def integer(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


NULL = tlv(5)
DATA, ENVELOPED, AUTH_ENVELOPED = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.3", "1.2.840.113549.1.9.16.1.23"
RSA, OAEP, MGF1 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7", "1.2.840.113549.1.1.8"
SHA1, SHA256 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1"
GCM = {16: "2.16.840.1.101.3.4.1.6", 24: "2.16.840.1.101.3.4.1.26", 32: "2.16.840.1.101.3.4.1.46"}


# --- certificates ------------------------------------------------------------------------------------------------

def certificate(name, key, serial, issuer=None, signer=None):
    text = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = text if issuer is None else issuer
    builder = x509.CertificateBuilder(issuer, text, key.public_key(), serial, datetime.datetime(2026, 1, 1),
                                      datetime.datetime(2046, 1, 1))
    signer = signer or key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)


def certificates(folder):
    os.makedirs(folder, exist_ok=True)

    def put(name, *made):
        with open(f"{folder}/{name}", "wb") as out:
            for one in made:
                out.write(one.public_bytes(serialization.Encoding.PEM))

    put("rsa.cert.pem", certificate("rsa", OTHER, 0x1001))
    put("renewed.cert.pem", certificate("rsa", OTHER, 0x1002))
    put("serial-20-octets.cert.pem", certificate("rsa", OTHER, (1 << 159) - 1))
    long_name = x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Käse & Söhne, \"Bern\""),
        x509.NameAttribute(NameOID.COMMON_NAME, "line\nbreak \x1b[31m"),
    ])
    put("odd-issuer.cert.pem", certificate("odd", OTHER, 0x80, long_name, KEY))
    # The name of a certificate that x509.key.pem has too, so that both claim the same envelopes.
    mine = x509.load_pem_x509_certificate(read("skopeo/x509.cert.pem"))
    put("same-name.cert.pem", certificate("x509", OTHER, mine.serial_number, mine.issuer, KEY))
    leaf = certificate("leaf", OTHER, 7, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]), KEY)
    authority = certificate("ca", KEY, 1)
    put("bad.chain.pem", leaf, authority)
    put("two.cert.pem", certificate("rsa", OTHER, 0x1001), certificate("x509", KEY, 0x2001))
    put("bad.ec.cert.pem", certificate("ec", ec.derive_private_key(7, ec.SECP256R1()), 1))
    put("bad.secp256k1.cert.pem", certificate("ec", ec.derive_private_key(7, ec.SECP256K1()), 1))
    put("bad.ed25519.cert.pem", certificate("ed", ed25519.Ed25519PrivateKey.from_private_bytes(octets("ed", 32)), 1))
    put("bad.rsa1024.cert.pem", certificate("weak", serialization.load_pem_private_key(
        read("keys/bad.rsa1024.pem"), None), 1))
    der = certificate("rsa", OTHER, 0x1001).public_bytes(serialization.Encoding.DER)
    for name, content in {
        "rsa.cert.der": der,
        "bad.trailing.cert.der": der + b"\0",
        "bad.truncated.cert.der": der[:-1],
        "key-and-certificate.pem": read("skopeo/rsa.pem") + read("certificates/rsa.cert.pem"),
        "key-and-chain.pem": read("skopeo/rsa.pem") + read("certificates/bad.chain.pem"),
        "key-and-ec-certificate.pem": read("skopeo/rsa.pem") + read("certificates/bad.ec.cert.pem"),
    }.items():
        with open(f"{folder}/{name}", "wb") as out:
            out.write(content)


def names(path):
    """Returns issuer (DER) and serial number of a certificate."""
    found = x509.load_pem_x509_certificate(read(path))
    return found.issuer.public_bytes(), found.serial_number


# --- envelopes ---------------------------------------------------------------------------------------------------

def pkcs1(label, message, size, ps_len=None, lead=b"\0\2", separator=b"\0"):
    """EME-PKCS1-v1_5 (RFC 8017, section 7.2.1), to be broken at every place."""
    ps_len = size - len(message) - 3 if ps_len is None else ps_len
    padding = bytes(octet or 1 for octet in octets(label + "ps", ps_len))
    return (lead + padding + separator + message).ljust(size, b"\1")


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
    size = (numbers.n.bit_length() + 7) // 8
    return pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(size, "big")


def go_parameters(nonce, icv=b"\x10"):
    return tlv(0x10, tlv(0x30, tlv(0x84, nonce), tlv(2, icv)))


def rfc_parameters(nonce, icv=b"\x10"):
    return tlv(0x30, tlv(4, nonce), tlv(2, icv) if icv else b"")


class Envelope:
    """The parts of an envelope before they are put together, for a test to change."""

    def __init__(self, label, key_len=16):
        self.label, self.key_len = label, key_len
        self.cek = octets(label + "cek", key_len)
        self.nonce = octets(label + "nonce", 12)
        self.type, self.version, self.inner_type = oid(ENVELOPED), integer(0), oid(DATA)
        self.sealed = AESGCM(self.cek).encrypt(self.nonce, SECRET, None)
        self.parameters = go_parameters(self.nonce)
        self.content_algorithm = oid(GCM[key_len])
        self.content_tag = 0x80
        self.originator = self.attributes = b""
        self.recipients = [self.recipient()]

    def block(self, key=KEY, **changes):
        return power(key, pkcs1(self.label, changes.pop("message", self.cek), key.key_size // 8, **changes))

    def recipient(self, **changes):
        """Returns a KeyTransRecipientInfo; each part can be given as its whole encoding."""
        issuer, serial = names("skopeo/x509.cert.pem")
        part = {"version": integer(0), "issuer": issuer, "serial": integer(serial), "algorithm": oid(RSA),
                "parameters": b"", "encrypted_key": None, "more": b"", **changes}
        if part["encrypted_key"] is None:
            part["encrypted_key"] = tlv(4, self.block())
        name = part.get("name", tlv(0x30, part["issuer"], part["serial"]))
        return tlv(0x30, part["version"], name, tlv(0x30, part["algorithm"], part["parameters"]), part["encrypted_key"],
                   part["more"])

    def encrypted(self):
        content = self.sealed if self.content_tag == 0x80 else tlv(4, self.sealed)
        return tlv(0x30, self.inner_type, tlv(0x30, self.content_algorithm, self.parameters),
                   tlv(self.content_tag, content))

    def data(self):
        return tlv(0x30, self.version, self.originator, tlv(0x31, *self.recipients), self.encrypted(), self.attributes)

    def render(self):
        return tlv(0x30, self.type, tlv(0xa0, self.data()))


OPENED = "opened"
ANOTHER = "wrapped for another key"


def malformed(reason):
    return f"malformed wrapped key: {reason}"


def unsupported(name):
    return f"unsupported key-wrapping algorithm `{name}`"


def writer(folder, prefix=""):
    os.makedirs(folder, exist_ok=True)

    def write(name, comment, expect, element, key="skopeo/x509.key.pem", cert="skopeo/x509.cert.pem"):
        vector = {"comment": comment, "key": key, "certificate": cert, "expect": expect,
                  "element_base64": base64.b64encode(element).decode()}
        with open(f"{folder}/{prefix}{name}.json", "w", encoding="utf-8") as out:
            json.dump(vector, out, indent=1)
            out.write("\n")
    return write


def pkcs7_vectors(put):
    def change(name, comment, expect, key_len=16, /, **members):
        """Puts an envelope of which members are replaced; a function gets the envelope."""
        envelope = Envelope(name, key_len)
        for member, value in members.items():
            setattr(envelope, member, value(envelope) if callable(value) else value)
        put(name, comment, expect, envelope.render())

    def recipient(name, comment, expect, /, **parts):
        envelope = Envelope(name)
        parts = {part: value(envelope) if callable(value) else value for part, value in parts.items()}
        envelope.recipients = [envelope.recipient(**parts)]
        put(name, comment, expect, envelope.render())

    # What opens.
    change("valid_primitive", "as ocicrypt writes since 1.2.1", OPENED)
    change("valid_constructed", "as ocicrypt wrote up to 1.2.0", OPENED, content_tag=0xa0)
    for key_len in GCM:
        change(f"valid_aes{8 * key_len}_go_parameters", "key length", OPENED, key_len)
        change(f"valid_aes{8 * key_len}_rfc5084", "the standard's parameters", OPENED, key_len,
               parameters=lambda e: rfc_parameters(e.nonce))
    recipient("valid_null_parameters", "as RFC 3370 has it", OPENED, parameters=NULL)
    for name, algorithm, parameters in [
        ("sha1", "sha1", tlv(0x30)),
        ("sha256", "sha256", tlv(0x30, tlv(0xa0, tlv(0x30, oid(SHA256), NULL)),
                                 tlv(0xa1, tlv(0x30, oid(MGF1), tlv(0x30, oid(SHA256), NULL))))),
    ]:
        recipient(f"valid_oaep_{name}", "RSAES-OAEP", OPENED, algorithm=oid(OAEP), parameters=parameters,
                  encrypted_key=lambda e: tlv(4, power(KEY, oaep(e.label, e.cek, 256, algorithm))))
    change("originator_info", "certificates of the sender are passed over", OPENED, originator=tlv(0xa0, tlv(0xa0)),
           version=integer(2))

    # Authenticated envelopes (RFC 5083).
    def auth(name, comment, expect, key_len=16, parameters=None, mac=None, attributes=b"", more=b"", version=integer(0)):
        e = Envelope(name, key_len)
        e.parameters = parameters(e) if parameters else rfc_parameters(e.nonce)
        sealed, tag = e.sealed[:-16], e.sealed[-16:]
        e.sealed, e.type, e.version = sealed, oid(AUTH_ENVELOPED), version
        e.attributes = attributes + (tlv(4, tag) if mac is None else mac(tag)) + more
        put(name, comment, expect, e.render())

    auth("auth_aes128", "AuthEnvelopedData", OPENED)
    auth("auth_aes256", "AuthEnvelopedData", OPENED, 32)
    auth("auth_mac_missing", "no mac", malformed("DER ends early"), mac=lambda tag: b"")
    auth("auth_mac_empty", "mac of 0 octets", malformed("mac is not of 16 octets"), mac=lambda tag: tlv(4))
    auth("auth_mac_short", "mac cut to 4 octets", malformed("mac is not of 16 octets"), mac=lambda tag: tlv(4, tag[:4]))
    auth("auth_mac_15", "mac of 15 octets", malformed("mac is not of 16 octets"), mac=lambda tag: tlv(4, tag[:15]))
    auth("auth_mac_17", "mac of 17 octets", malformed("mac is not of 16 octets"), mac=lambda tag: tlv(4, tag, b"\0"))
    auth("auth_mac_flipped", "mac of another content", ANOTHER, mac=lambda tag: tlv(4, bytes([tag[0] ^ 1]), tag[1:]))
    auth("auth_mac_not_octets", "mac of another type", malformed("mac"), mac=lambda tag: tlv(3, b"\0", tag))
    auth("auth_attributes", "authenticated attributes", unsupported("authAttrs"), attributes=tlv(0xa1, tlv(0x30)))
    auth("auth_unauthenticated_attributes", "attributes behind the mac", unsupported("unauthAttrs"),
         more=tlv(0xa2, tlv(0x30)))
    auth("auth_trailing", "octets behind the mac", malformed("octets left over"), more=NULL)
    auth("auth_version_2", "a version that AuthEnvelopedData has not", malformed("version that does not exist"),
         version=integer(2))

    # Several recipients.
    def other(e, path="certificates/rsa.cert.pem", **parts):
        issuer, serial = names(path)
        return e.recipient(issuer=issuer, serial=integer(serial), encrypted_key=tlv(4, e.block(OTHER)), **parts)

    change("recipients_last_fits", "for others and then for us", OPENED,
           recipients=lambda e: [other(e), other(e, "certificates/renewed.cert.pem"), e.recipient()])
    change("recipients_first_fits", "for us and then for others", OPENED, recipients=lambda e: [e.recipient(), other(e)])
    change("recipients_none_fits", "for others", ANOTHER,
           recipients=lambda e: [other(e), other(e, "certificates/renewed.cert.pem")])
    change("recipients_twice", "for us twice, the first time damaged", OPENED, recipients=lambda e: [
        e.recipient(encrypted_key=tlv(4, bytes(256))), e.recipient()])
    change("recipients_twice_alike", "for us twice", OPENED, recipients=lambda e: 2 * [e.recipient()])
    change("recipients_64", "as many as there may be, and ours is the last", OPENED,
           recipients=lambda e: 31 * [other(e, parameters=NULL)] + 32 * [tlv(0xa1)] + [e.recipient()])
    change("recipients_65", "one too many", malformed("too many recipients"),
           recipients=lambda e: [e.recipient()] + 64 * [tlv(0xa1)])
    change("recipients_empty", "for nobody", malformed("no recipient"), recipients=[])
    strange = {"key_agreement": 0xa1, "kek": 0xa2, "password": 0xa3, "other": 0xa4}
    for name, tag in strange.items():
        change(f"{name}_beside_ours", "a kind we do not implement", OPENED, version=integer(3),
               recipients=lambda e: [tlv(tag, b"\xff\xff"), e.recipient()])
    for name, tag, kind in [("key_agreement", 0xa1, "KeyAgreeRecipientInfo"), ("kek", 0xa2, "KEKRecipientInfo"),
                            ("password", 0xa3, "PasswordRecipientInfo"), ("other", 0xa4, "OtherRecipientInfo")]:
        change(f"{name}_alone", "a kind we do not implement", unsupported(kind), recipients=[tlv(tag)])
    change("recipient_tag_5", "a kind that does not exist", malformed("recipient"), recipients=[tlv(0xa5)])
    change("recipient_primitive", "a kind that is not constructed", malformed("recipient"), recipients=[tlv(0x81)])
    by_key = {"version": integer(2), "name": tlv(0x80, octets("ski", 20))}
    change("key_identifier_beside_ours", "named by key identifier", OPENED, version=integer(2),
           recipients=lambda e: [e.recipient(**by_key), e.recipient()])
    recipient("key_identifier_alone", "named by key identifier", unsupported("subjectKeyIdentifier"), **by_key)
    recipient("key_identifier_version_0", "named by key identifier, in a version without", malformed(
        "issuer and serial number"), **{**by_key, "version": integer(0)})
    recipient("issuer_version_2", "named by issuer, in a version without", malformed("recipient's name"),
              version=integer(2))
    change("unknown_transport_beside_ours", "an algorithm we do not implement, for our certificate", OPENED,
           recipients=lambda e: [e.recipient(algorithm=oid("1.2.3.4")), e.recipient()])
    recipient("unknown_transport_alone", "an algorithm we do not implement", unsupported("1.2.3.4"), algorithm=oid("1.2.3.4"))
    recipient("rsa_with_parameters", "rsaEncryption with parameters", unsupported("rsaEncryption with parameters"),
              parameters=tlv(0x30))
    recipient("oaep_no_parameters", "RSAES-OAEP needs them", unsupported("RSAES-OAEP with these parameters"),
              algorithm=oid(OAEP))
    recipient("oaep_mixed_hashes", "SHA-256, with SHA-1 in mask generation", unsupported("RSAES-OAEP with these parameters"),
              algorithm=oid(OAEP), parameters=tlv(0x30, tlv(0xa0, tlv(0x30, oid(SHA256), NULL))))
    recipient("oaep_md5", "a hash we do not implement", unsupported("RSAES-OAEP with these parameters"), algorithm=oid(OAEP),
              parameters=tlv(0x30, tlv(0xa0, tlv(0x30, oid("1.2.840.113549.2.5"), NULL)),
                             tlv(0xa1, tlv(0x30, oid(MGF1), tlv(0x30, oid("1.2.840.113549.2.5"), NULL)))))
    recipient("oaep_label", "a label", unsupported("RSAES-OAEP with these parameters"), algorithm=oid(OAEP),
              parameters=tlv(0x30, tlv(0xa2, tlv(0x30, oid("1.2.840.113549.1.1.9"), tlv(4, b"label")))))
    recipient("oaep_pkcs1_inside", "says OAEP and is v1.5", ANOTHER, algorithm=oid(OAEP), parameters=tlv(0x30))
    recipient("pkcs1_oaep_inside", "says v1.5 and is OAEP", ANOTHER,
              encrypted_key=lambda e: tlv(4, power(KEY, oaep(e.label, e.cek, 256, "sha1"))))

    # Whose it is.
    issuer, serial = names("skopeo/x509.cert.pem")
    recipient("other_serial", "our issuer, another serial number", ANOTHER, serial=integer(serial + 1))
    recipient("other_issuer", "our serial number, another issuer", ANOTHER, issuer=names("certificates/rsa.cert.pem")[0])
    recipient("other_key", "our name, another's key", ANOTHER, encrypted_key=lambda e: tlv(4, e.block(OTHER)))
    e = Envelope("no_certificate")
    put("no_certificate", "the private key without its certificate",
        "wrapped for a certificate, and no certificate was given with the key", e.render(), cert=None)
    e = Envelope("renewed")
    e.recipients = [other(e, "certificates/renewed.cert.pem")]
    put("renewed", "a later certificate of the same key", OPENED, e.render(), "skopeo/rsa.pem",
        "certificates/renewed.cert.pem")
    put("renewed_old_certificate", "only an earlier certificate of the same key is given", ANOTHER, e.render(),
        "skopeo/rsa.pem", "certificates/rsa.cert.pem")
    e = Envelope("serial_20_octets")
    e.recipients = [other(e, "certificates/serial-20-octets.cert.pem")]
    put("serial_20_octets", "the longest serial number", OPENED, e.render(), "skopeo/rsa.pem",
        "certificates/serial-20-octets.cert.pem")
    e = Envelope("odd_issuer")
    e.recipients = [other(e, "certificates/odd-issuer.cert.pem")]
    put("odd_issuer", "an issuer with several parts and characters", OPENED, e.render(), "skopeo/rsa.pem",
        "certificates/odd-issuer.cert.pem")
    e = Envelope("same_name")
    put("same_name", "another's key under our name", ANOTHER, e.render(), "skopeo/rsa.pem", "certificates/same-name.cert.pem")

    # What a padding oracle would tell: all alike.
    for name, comment, changes in [
        ("lead_01", "block type 1", {"lead": b"\0\1"}),
        ("lead_00", "block type 0", {"lead": b"\0\0"}),
        ("first_octet", "first octet not zero", {"lead": b"\1\2"}),
        ("no_separator", "no zero octet at all", {"separator": b"\1"}),
        ("ps_7", "padding of 7 octets, and the rest a message", {"ps_len": 7}),
        ("ps_8", "the shortest padding, and a message of 245 octets", {"ps_len": 8}),
        ("ps_0", "no padding", {"ps_len": 0}),
        ("cek_0", "a key of 0 octets", {"message": b""}),
        ("cek_15", "a key of 15 octets", {"message": octets("cek_15", 15)}),
        ("cek_17", "a key of 17 octets", {"message": octets("cek_17", 17)}),
        ("cek_32", "a key of 32 octets", {"message": octets("cek_32", 32)}),
        ("cek_other", "another key of 16 octets", {"message": octets("cek_other", 16)}),
    ]:
        recipient(f"padding_{name}", comment, ANOTHER, encrypted_key=lambda e: tlv(4, e.block(**changes)))
    modulus = KEY.public_key().public_numbers().n.to_bytes(256, "big")
    for name, comment, value in [("zero", "the number zero", bytes(256)), ("one", "the number one", bytes(255) + b"\1"),
                                 ("modulus", "the modulus itself", modulus), ("ones", "above the modulus", b"\xff" * 256)]:
        recipient(f"encrypted_key_{name}", comment, ANOTHER, encrypted_key=tlv(4, value))

    # Content algorithms.
    for name, dotted, text in [
        ("aes128_cbc", "2.16.840.1.101.3.4.1.2", "aes128-CBC"), ("aes192_cbc", "2.16.840.1.101.3.4.1.22", "aes192-CBC"),
        ("aes256_cbc", "2.16.840.1.101.3.4.1.42", "aes256-CBC"), ("des_ede3_cbc", "1.2.840.113549.3.7", "des-ede3-cbc"),
        ("des_cbc", "1.3.14.3.2.7", "des-cbc"), ("rc2_cbc", "1.2.840.113549.3.2", "rc2-cbc"),
        ("aes128_ccm", "2.16.840.1.101.3.4.1.7", "aes128-CCM"), ("aes128_wrap", "2.16.840.1.101.3.4.1.5",
                                                                   "2.16.840.1.101.3.4.1.5"),
    ]:
        change(f"content_{name}", "a content encryption we do not implement", unsupported(text),
               content_algorithm=oid(dotted), parameters=tlv(4, octets(name, 16)))
    change("content_aes256_claimed", "says 256 bits and has a key of 128", ANOTHER, content_algorithm=oid(GCM[32]))
    change("content_type", "an inner type that is not data", unsupported("signedData"), inner_type=oid("1.2.840.113549.1.7.2"))
    for name, dotted, text in [("signed", "1.2.840.113549.1.7.2", "signedData"), ("data", DATA, "1.2.840.113549.1.7.1"),
                               ("encrypted", "1.2.840.113549.1.7.6", "encryptedData"), ("unknown", "1.2.3", "1.2.3")]:
        change(f"type_{name}", "an outer type that is no envelope", unsupported(text), type=oid(dotted))
    change("attributes", "unprotected attributes", unsupported("unprotectedAttrs"), attributes=tlv(0xa1, tlv(0x30)))

    # GCM.
    tags = malformed("GCM tag is not of 16 octets")
    for name, shape in [("go", go_parameters), ("rfc5084", rfc_parameters)]:
        for length in [0, 4, 8, 12, 15, 17, 32, 128]:
            change(f"gcm_{name}_tag_{length}", f"asks for a tag of {length} octets", tags,
                   parameters=lambda e: shape(e.nonce, integer(length)[2:]))
        change(f"gcm_{name}_tag_272", "asks for a tag of 272 octets", tags, parameters=lambda e: shape(e.nonce, b"\1\x10"))
        for length in [0, 1, 8, 11, 13, 16, 128]:
            change(f"gcm_{name}_nonce_{length}", f"a nonce of {length} octets", malformed("GCM nonce is not of 12 octets"),
                   parameters=lambda e: shape(octets("nonce", length)))
    change("gcm_tag_default", "no length of the tag: 12 octets, by default", tags,
           parameters=lambda e: rfc_parameters(e.nonce, None))
    change("gcm_tag_cut_to_4", "asks for a tag of 4 octets and has one", tags,
           parameters=lambda e: go_parameters(e.nonce, b"\4"), sealed=lambda e: e.sealed[:-12])
    change("gcm_tag_cut_quietly", "asks for a tag of 16 octets and has 4", ANOTHER, sealed=lambda e: e.sealed[:-12])
    parameters = malformed("GCM parameters")
    for name, comment, value in [
        ("octets", "a nonce without a structure", lambda e: tlv(4, e.nonce)),
        ("rfc_in_go", "the standard's nonce in Go's structure",
         lambda e: tlv(0x10, tlv(0x30, tlv(4, e.nonce), tlv(2, b"\x10")))),
        ("go_in_rfc", "Go's nonce in the standard's structure", lambda e: tlv(0x30, tlv(0x84, e.nonce), tlv(2, b"\x10"))),
        ("go_flat", "Go's structure without the inner one", lambda e: tlv(0x10, tlv(0x84, e.nonce), tlv(2, b"\x10"))),
        ("go_constructed", "Go's structure in a constructed one", lambda e: tlv(0x30, tlv(0x30, tlv(0x84, e.nonce), tlv(2, b"\x10")))),
        ("nonce_constructed", "a constructed nonce", lambda e: tlv(0x10, tlv(0x30, tlv(0xa4, e.nonce), tlv(2, b"\x10")))),
        ("tag_not_integer", "the tag's length is no number", lambda e: tlv(0x30, tlv(4, e.nonce), tlv(4, b"\x10"))),
        ("null", "NULL", lambda e: NULL),
    ]:
        change(f"gcm_parameters_{name}", comment, parameters, parameters=value)
    change("gcm_parameters_missing", "no parameters", malformed("DER ends early"), parameters=b"")
    change("gcm_parameters_twice", "parameters twice", malformed("octets left over"),
           parameters=lambda e: 2 * go_parameters(e.nonce))
    change("gcm_parameters_more", "one more member", malformed("octets left over"),
           parameters=lambda e: tlv(0x10, tlv(0x30, tlv(0x84, e.nonce), tlv(2, b"\x10"), NULL)))
    change("gcm_parameters_beside", "octets beside the inner structure", malformed("octets left over"),
           parameters=lambda e: tlv(0x10, tlv(0x30, tlv(0x84, e.nonce), tlv(2, b"\x10")), NULL))
    change("gcm_tag_long_integer", "16 with a leading zero", malformed("INTEGER not in its shortest form"),
           parameters=lambda e: go_parameters(e.nonce, b"\0\x10"))
    change("gcm_tag_empty_integer", "a number without octets", malformed("INTEGER without octets"),
           parameters=lambda e: go_parameters(e.nonce, b""))
    change("gcm_tag_negative", "a negative number", tags, parameters=lambda e: go_parameters(e.nonce, b"\xf0"))

    def flipped(data, position):
        return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1:]
    change("flipped_ciphertext", "one bit", ANOTHER, sealed=lambda e: flipped(e.sealed, 20))
    change("flipped_tag", "one bit", ANOTHER, sealed=lambda e: flipped(e.sealed, len(e.sealed) - 1))
    change("flipped_nonce", "one bit", ANOTHER, parameters=lambda e: go_parameters(flipped(e.nonce, 3)))
    recipient("flipped_encrypted_key", "one bit", ANOTHER, encrypted_key=lambda e: tlv(4, flipped(e.block(), 100)))

    # Every field at every class of length.
    early, over = malformed("DER ends early"), malformed("octets left over")
    content = "content is shorter than its tag"
    for length, expect in [(0, malformed(content)), (1, malformed(content)), (15, malformed(content)), (16, ANOTHER),
                           (17, ANOTHER), (208, ANOTHER)]:
        change(f"content_of_{length}", f"content cut to {length} octets", expect, sealed=lambda e: e.sealed[:length])
    change("content_longer", "one octet more", ANOTHER, sealed=lambda e: e.sealed + b"\0")
    for length in [0, 1, 128, 255, 257, 512]:
        recipient(f"encrypted_key_of_{length}", f"a ciphertext of {length} octets", ANOTHER,
                  encrypted_key=lambda e: tlv(4, (e.block() + bytes(256))[:length]))
    recipient("encrypted_key_missing", "no ciphertext", early, encrypted_key=b"")
    recipient("encrypted_key_not_octets", "a ciphertext of another type", malformed("encrypted key"),
              encrypted_key=lambda e: tlv(3, b"\0", e.block()))
    recipient("encrypted_key_constructed", "a ciphertext in pieces", malformed("encrypted key"),
              encrypted_key=lambda e: tlv(0x24, tlv(4, e.block())))
    numbers = {"empty": (b"", malformed("INTEGER without octets")), "long": (b"\0\0", malformed("INTEGER not in its shortest form")),
               "1": (b"\1", malformed("version that does not exist")), "5": (b"\5", malformed("version that does not exist")),
               "256": (b"\1\0", malformed("version that does not exist")), "minus": (b"\xff", malformed("version that does not exist")),
               "minus_long": (b"\xff\xff", malformed("INTEGER not in its shortest form"))}
    for name, (value, expect) in numbers.items():
        change(f"version_{name}", "version", expect, version=tlv(2, value))
        recipient(f"recipient_version_{name}", "version of a recipient", expect, version=tlv(2, value))
    for value in [2, 3, 4]:
        change(f"version_{value}", "a version that is read alike", OPENED, version=integer(value))
    recipient("recipient_version_3", "version of a recipient", malformed("version that does not exist"), version=integer(3))
    change("version_missing", "no version", malformed("version"), version=b"")
    change("version_not_integer", "a version of another type", malformed("version"), version=tlv(10, b"\0"))
    recipient("recipient_version_missing", "no version", malformed("version"), version=b"")
    for name, value, expect in [
        ("empty", tlv(0x30), ANOTHER), ("missing", b"", malformed("issuer")), ("set", tlv(0x31), malformed("issuer")),
        ("shorter", issuer[:1] + bytes([issuer[1] - 1]) + issuer[2:-1], ANOTHER),
        ("longer", issuer[:1] + bytes([issuer[1] + 1]) + issuer[2:] + b"\0", ANOTHER),
        ("huge", tlv(0x30, bytes(4000)), ANOTHER),
    ]:
        recipient(f"issuer_{name}", "issuer", expect, issuer=value)
    raw = integer(serial)[2:]
    for name, value, expect in [
        ("empty", tlv(2), malformed("INTEGER without octets")), ("missing", b"", early),
        ("zero", tlv(2, b"\0"), ANOTHER), ("shorter", tlv(2, raw[:-1]), ANOTHER), ("longer", tlv(2, raw, b"\0"), ANOTHER),
        ("padded", tlv(2, b"\0\0", raw), malformed("INTEGER not in its shortest form")),
        ("negative", tlv(2, b"\x80"), ANOTHER), ("huge", tlv(2, b"\1" * 4000), ANOTHER),
        ("not_integer", tlv(4, raw), malformed("serial number")), ("twice", 2 * tlv(2, raw), over),
    ]:
        recipient(f"serial_{name}", "serial number", expect, serial=value)
    for field, what in [("content_algorithm", "content encryption algorithm"), ("inner_type", "type of the encrypted content"),
                        ("type", "not a ContentInfo")]:
        for name, value, expect in [
            ("empty", tlv(6), malformed(what)), ("missing", b"", None), ("ends_in_arc", tlv(6, b"\x2a\x86"), malformed(what)),
            ("not_oid", tlv(13, b"\x2a\x03"), malformed(what)), ("huge", tlv(6, b"\x2a" + b"\x81" * 200 + b"\1"), malformed(what)),
        ]:
            change(f"{field}_{name}", f"object identifier: {name}", expect or malformed(what), **{field: value})
    for name, value in [("empty", tlv(6)), ("missing", b""), ("ends_in_arc", tlv(6, b"\x2a\x86")), ("not_oid", tlv(13, b"\x2a\x03"))]:
        recipient(f"key_algorithm_{name}", "object identifier", malformed("key encryption algorithm"), algorithm=value)
    recipient("key_algorithm_more", "three members", malformed("key encryption algorithm"), parameters=NULL + NULL)
    recipient("recipient_more", "one more member", over, more=NULL)
    change("data_more", "one more member", over, attributes=NULL)

    # Content that is not where it should be.
    good = Envelope("shapes")
    head = tlv(0x30, good.content_algorithm, good.parameters)

    def shape(name, comment, expect, *parts):
        e = Envelope("shapes")
        e.encrypted = lambda: tlv(0x30, *parts)
        put(name, comment, expect, e.render())
    pieces = tlv(4, good.sealed[:100]), tlv(4, good.sealed[100:])
    shape("content_in_pieces", "two OCTET STRINGs", over, good.inner_type, head, tlv(0xa0, *pieces))
    shape("content_nested", "an OCTET STRING in pieces", malformed("encrypted content"), good.inner_type, head,
          tlv(0xa0, tlv(0x24, *pieces)))
    shape("content_constructed_empty", "no OCTET STRING", early, good.inner_type, head, tlv(0xa0))
    shape("content_missing", "no content", early, good.inner_type, head)
    shape("content_untagged", "an OCTET STRING without tag", malformed("encrypted content"), good.inner_type, head,
          tlv(4, good.sealed))
    shape("content_tag_1", "another tag", malformed("encrypted content"), good.inner_type, head, tlv(0x81, good.sealed))
    shape("content_twice", "content twice", over, good.inner_type, head, 2 * tlv(0x80, good.sealed))

    # Encodings.
    def raw(name, comment, expect, element):
        put(name, comment, expect, element)

    def long_form(tag, content, size):
        return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content

    def indefinite(tag, content):
        return bytes([tag, 0x80]) + content + b"\0\0"
    whole, data = good.render(), good.data()
    ber, long = malformed("indefinite length: BER, not DER"), malformed("length not in its shortest form")
    inner = whole[4:]
    raw("empty", "nothing", early, b"")
    raw("one_octet", "a tag alone", early, b"\x30")
    raw("length_without_octets", "a length that says how long it is", early, b"\x30\x82")
    raw("length_reserved", "a length of 127 octets", early, b"\x30\xff" + b"\1" * 127)
    raw("length_of_8", "a length beyond all memory", early, b"\x30\x88" + b"\xff" * 8 + inner)
    raw("length_of_4", "a length beyond the element", early, b"\x30\x84\x7f\xff\xff\xff" + inner)
    raw("length_one_more", "a length one above the rest", early, b"\x30\x82" + (len(inner) + 1).to_bytes(2, "big") + inner)
    raw("length_one_less", "a length one below the rest", over, b"\x30\x82" + (len(inner) - 1).to_bytes(2, "big") + inner)
    raw("trailing", "an octet behind", over, whole + b"\0")
    raw("trailing_element", "an element behind", over, whole + NULL)
    raw("twice", "two envelopes", over, whole + whole)
    raw("trailing_line_break", "a line break behind", over, whole + b"\n")
    raw("leading", "an octet in front", malformed("not a ContentInfo"), b"\0" + whole)
    raw("pem", "PEM", malformed("not a ContentInfo"), b"-----BEGIN CMS-----\n" + base64.encodebytes(whole) + b"-----END CMS-----\n")
    raw("base64", "base64 once more", malformed("not a ContentInfo"), base64.b64encode(whole))
    raw("jwe", "a JWE", malformed("not a ContentInfo"), read("skopeo/jwe-ec256.jwe.json"))
    raw("data_alone", "an EnvelopedData without its ContentInfo", malformed("not a ContentInfo"), data)
    raw("set_outside", "a SET in place of a SEQUENCE", malformed("not a ContentInfo"), tlv(0x31, inner))
    raw("too_long", "longer than any element", malformed("element too long"), tlv(0x30, bytes(16 * 1024)))
    change("tag_above_30", "a tag of several octets", malformed("tag number above 30"), recipients=[b"\xbf\x81\x01\x00"])
    raw("explicit_missing", "a type without content", early, tlv(0x30, good.type))
    raw("explicit_empty", "content without content", early, tlv(0x30, good.type, tlv(0xa0)))
    raw("explicit_twice", "two contents", over, tlv(0x30, good.type, tlv(0xa0, data, data)))
    raw("explicit_tag_1", "another tag", malformed("content of a ContentInfo"), tlv(0x30, good.type, tlv(0xa1, data)))
    raw("explicit_primitive", "the tag, primitive", malformed("content of a ContentInfo"), tlv(0x30, good.type, tlv(0x80, data)))
    raw("nested_4000", "structures within each other", malformed("not a ContentInfo"), nested(0x30, 4000))
    raw("nested_content_4000", "structures within each other, where content should be", malformed("version"),
        tlv(0x30, good.type, tlv(0xa0, nested(0x30, 4000))))
    raw("indefinite_outside", "BER", ber, indefinite(0x30, inner))
    raw("indefinite_explicit", "BER", ber, tlv(0x30, good.type, indefinite(0xa0, data)))
    raw("indefinite_data", "BER", ber, tlv(0x30, good.type, tlv(0xa0, indefinite(0x30, data[4:]))))
    for size in [3, 4]:
        raw(f"long_length_{size}_outside", "a length with leading zeros", long, long_form(0x30, inner, size))
    raw("long_length_of_small", "81 in front of a small length", long, tlv(0x30, b"\x06\x81\x09" + good.type[2:], tlv(0xa0, data)))
    raw("long_length_zero", "81 00", long, tlv(0x30, good.type, tlv(0xa0, tlv(0x30, b"\x02\x81\x00", data))))
    shape("indefinite_content", "BER", ber, good.inner_type, head, indefinite(0xa0, tlv(4, good.sealed)))
    shape("long_length_content", "a length with a leading zero", long, good.inner_type, head,
          long_form(0x80, good.sealed, 2))
    shape("long_length_algorithm", "a length with a leading zero", long, good.inner_type,
          long_form(0x30, good.content_algorithm + good.parameters, 1), tlv(0x80, good.sealed))
    change("indefinite_recipients", "BER", ber, data=lambda e: lambda: tlv(
        0x30, e.version, indefinite(0x31, e.recipients[0]), e.encrypted()))
    change("recipients_sequence", "a SEQUENCE in place of a SET", malformed("recipients"), data=lambda e: lambda: tlv(
        0x30, e.version, tlv(0x30, e.recipients[0]), e.encrypted()))
    change("recipients_missing", "no recipients", malformed("recipients"), data=lambda e: lambda: tlv(
        0x30, e.version, e.encrypted()))
    change("encrypted_missing", "no content", early, data=lambda e: lambda: tlv(0x30, e.version, tlv(0x31, *e.recipients)))


def nested(tag, depth):
    out = b""
    for _ in range(depth):
        out = tlv(tag, out)
    return out


# --- other programs ----------------------------------------------------------------------------------------------

def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout


def foreign(folder):
    put = writer(folder)
    mine, other, renewed = (f"{HERE}/{name}" for name in [
        "skopeo/x509.cert.pem", "certificates/rsa.cert.pem", "certificates/renewed.cert.pem"])
    secret = f"{HERE}/skopeo/jwe-ec256.secret.json"

    def cms(*options, certs=(mine,)):
        certs = () if "-recip" in options else certs
        return run("openssl", "cms", "-encrypt", "-binary", "-in", secret, "-outform", "DER", *options, *certs)
    oaep = ("-recip", mine, "-keyopt", "rsa_padding_mode:oaep")
    put("openssl_aes128_gcm", "openssl cms -aes-128-gcm: AuthEnvelopedData", OPENED, cms("-aes-128-gcm"))
    put("openssl_aes256_gcm", "openssl cms -aes-256-gcm", OPENED, cms("-aes-256-gcm"))
    put("openssl_aes192_gcm", "openssl cms -aes-192-gcm", OPENED, cms("-aes-192-gcm"))
    put("openssl_last_fits", "three recipients", OPENED, cms("-aes-256-gcm", certs=(other, renewed, mine)))
    put("openssl_none_fits", "two recipients", ANOTHER, cms("-aes-256-gcm", certs=(other, renewed)))
    put("openssl_oaep", "RSAES-OAEP", OPENED, cms("-aes-256-gcm", *oaep))
    put("openssl_oaep_sha256", "RSAES-OAEP with SHA-256", OPENED, cms(
        "-aes-256-gcm", *oaep, "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"))
    put("openssl_oaep_mixed", "RSAES-OAEP with SHA-256, SHA-1 in mask generation",
        unsupported("RSAES-OAEP with these parameters"), cms(
            "-aes-256-gcm", *oaep, "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha1"))
    put("openssl_keyid", "named by key identifier", unsupported("subjectKeyIdentifier"), cms("-aes-256-gcm", "-keyid"))
    put("openssl_kek", "a symmetric key beside a certificate", OPENED, cms(
        "-aes-256-gcm", "-secretkey", "00" * 16, "-secretkeyid", "01"))
    put("openssl_ec_beside_ours", "an elliptic-curve recipient beside ours", OPENED, cms(
        "-aes-256-gcm", certs=(f"{HERE}/keys/p256.cert.pem", mine)))
    put("openssl_ec_alone", "an elliptic-curve recipient", unsupported("KeyAgreeRecipientInfo"), cms(
        "-aes-256-gcm", certs=(f"{HERE}/keys/p256.cert.pem",)))
    put("openssl_aes256_cbc", "openssl cms -aes256", unsupported("aes256-CBC"), cms("-aes256"))
    put("openssl_des3", "openssl cms -des3", unsupported("des-ede3-cbc"), cms("-des3"))
    put("openssl_stream", "openssl cms -stream", malformed("indefinite length: BER, not DER"), cms("-aes-256-gcm", "-stream"))
    put("openssl_smime", "openssl smime -aes128", unsupported("aes128-CBC"), run(
        "openssl", "smime", "-encrypt", "-aes128", "-binary", "-in", secret, "-outform", "DER", mine))
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/main.go", "w", encoding="utf-8") as out:
            out.write(GO)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": f"{folder}/cache"}
        run("go", "build", "-o", f"{folder}/go", f"{folder}/main.go", env=environment)

        def go(algorithm, *certs):
            return run(f"{folder}/go", algorithm, secret, *certs)
        put("go_aes128_gcm", "what ocicrypt writes", OPENED, go("aes128-gcm", mine))
        put("go_aes256_gcm", "the library's other GCM", OPENED, go("aes256-gcm", mine))
        put("go_last_fits", "one call, three recipients", OPENED, go("aes128-gcm", other, renewed, mine))
        put("go_none_fits", "one call, two recipients", ANOTHER, go("aes128-gcm", other, renewed))
        put("go_aes128_cbc", "the library's CBC", unsupported("aes128-CBC"), go("aes128-cbc", mine))
        put("go_aes256_cbc", "the library's CBC", unsupported("aes256-CBC"), go("aes256-cbc", mine))
        put("go_des_cbc", "the library's default", unsupported("des-cbc"), go("des-cbc", mine))


GO = """
package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/fullsailor/pkcs7"
)

func main() {
	pkcs7.ContentEncryptionAlgorithm = map[string]int{
		"des-cbc": pkcs7.EncryptionAlgorithmDESCBC, "aes128-cbc": pkcs7.EncryptionAlgorithmAES128CBC,
		"aes256-cbc": pkcs7.EncryptionAlgorithmAES256CBC, "aes128-gcm": pkcs7.EncryptionAlgorithmAES128GCM,
		"aes256-gcm": pkcs7.EncryptionAlgorithmAES256GCM}[os.Args[1]]
	content, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	var certs []*x509.Certificate
	for _, name := range os.Args[3:] {
		file, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		block, _ := pem.Decode(file)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic(err)
		}
		certs = append(certs, cert)
	}
	out, err := pkcs7.Encrypt(content, certs)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(out)
}
"""


def main(steps):
    known = {"certificates": lambda: certificates(f"{HERE}/certificates"),
             "pkcs7": lambda: pkcs7_vectors(writer(f"{HERE}/pkcs7")), "foreign": lambda: foreign(f"{HERE}/pkcs7")}
    for name in steps or ["certificates", "pkcs7"]:
        known[name]()


main(sys.argv[1:])
