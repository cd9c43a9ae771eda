#!/usr/bin/python3
"""Writes the test vectors of the sealed-layer format. Needs python3-cryptography and the zstd command.

Independent of the Rust code: everything follows from crates/layer/SPEC.md. Deterministic: running it again must not
change a file (but for `original/`, where another zstd may pack differently).

A vector is a text header, an empty line, and the octets of the blob. Header lines are `name: value`:

  about          what the vector shows
  media-type     the sealed media type in the descriptor
  annotation     KEY=VALUE of the descriptor, repeated
  expect         outcome of a full open, see describe() in crates/layer/tests/suite/support.rs
  expect-stream  outcome when the end is released without comparing the plaintext's digest, if that differs
  released       octets released at most, and their SHA-256
  layer-key, salt, counter, digest, embedding
                 what reproduces the blob: sealing the plaintext again must give the same octets

The envelope `provider.plain` holds the private options in clear: vectors are about layers, not about envelopes.
"""
import base64
import hashlib
import hmac
import json
import os
import shutil
import struct
import subprocess

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = os.path.dirname(os.path.abspath(__file__))
CHUNK = 16384
MAGIC = b"SEALIFT\x01"
PLAIN = "org.opencontainers.image.enc.keys.provider.plain"
PUBOPTS = "org.opencontainers.image.enc.pubopts"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
TAR = "application/vnd.oci.image.layer.v1.tar"
CHUNKED = "C2SP_CHUNKED_AES_256_GCM"
CTR = "AES_256_CTR_HMAC_SHA256"


def octets(label, size):
    """Reproducible octets that look random."""
    out = b""
    counter = 0
    while len(out) < size:
        out += hashlib.sha256(b"%s/%d" % (label.encode(), counter)).digest()
        counter += 1
    return out[:size]


def b64(data):
    return base64.b64encode(data).decode()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def expand(prk, info, size):
    out = block = b""
    counter = 1
    while len(out) < size:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha512).digest()
        out += block
        counter += 1
    return out[:size]


def derive(key, salt, context):
    okm = expand(key, b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context, 76)
    return okm[:32], okm[32:44], okm[44:]


def chunk_nonce(base, index):
    return (int.from_bytes(base, "big") ^ index).to_bytes(12, "big")


def seal_chunks(aead, base, plain):
    pieces = [plain[i:i + CHUNK] for i in range(0, len(plain), CHUNK)] or [b""]
    if len(pieces[-1]) == CHUNK:
        pieces.append(b"")
    return [AESGCM(aead).encrypt(chunk_nonce(base, i), piece, None) for i, piece in enumerate(pieces)]


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def private(key, digest, nonce=None):
    options = {} if nonce is None else {"nonce": b64(nonce)}
    return compact({"symkey": b64(key), "digest": digest, "cipheroptions": options}).encode()


def public_chunked(commitment):
    return {"cipher": CHUNKED, "hmac": "", "cipheroptions": {"commitment": b64(commitment)}}


class Layer:
    """A layer of the default format, open to being spoilt."""

    def __init__(self, label, plain, media_type=GZIP, digest=None, context_type=None, context_digest=None):
        self.plain = plain
        self.media_type = media_type
        self.key = octets(label + " key", 32)
        self.salt = octets(label + " salt", 24)
        self.digest = sha256(plain) if digest is None else digest
        context = "sealift layer v1\n%s\n%s\n" % (
            context_type or media_type,
            self.digest if context_digest is None else context_digest,
        )
        self.aead, self.base, self.commitment = derive(self.key, self.salt, context.encode())
        self.chunks = seal_chunks(self.aead, self.base, plain)
        self.secret = private(self.key, self.digest)
        self.wraps = {PLAIN: b64(self.secret)}
        self.public = public_chunked(self.commitment)
        self.header = None
        self.declared = None

    def header_octets(self):
        if self.header is not None:
            return self.header
        return compact({"wraps": self.wraps, "pubopts": self.public, "mediaType": self.media_type}).encode()

    def frame(self):
        header = self.header_octets()
        return MAGIC + struct.pack(">I", len(header) if self.declared is None else self.declared) + header

    def blob(self):
        return self.frame() + self.salt + self.commitment + b"".join(self.chunks)

    def annotations(self):
        return {PLAIN: b64(self.secret), PUBOPTS: b64(compact(public_chunked(self.commitment)).encode())}


def write(folder, name, about, blob, annotations, expect, released=b"", media_type=GZIP, **more):
    lines = ["about: " + about, "media-type: %s+encrypted" % media_type]
    lines += ["annotation: %s=%s" % item for item in annotations.items()]
    lines += ["expect: " + expect]
    for key, value in more.items():
        lines += ["%s: %s" % (key.replace("_", "-"), value)]
    lines += ["released: %d %s" % (len(released), sha256(released))]
    path = os.path.join(HERE, folder)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name + ".vec"), "wb") as f:
        f.write("\n".join(lines).encode() + b"\n\n" + blob)


def chunked(name, about, layer, expect, released=b"", blob=None, annotations=None, media_type=None, **more):
    write("chunked", name, about, layer.blob() if blob is None else blob,
          layer.annotations() if annotations is None else annotations,
          expect, released, media_type or layer.media_type, **more)


def good(name, about, layer, **more):
    chunked(name, about, layer, "success", layer.plain, layer_key=layer.key.hex(), salt=layer.salt.hex(),
            digest=layer.digest, **more)


def flip(blob, offset):
    out = bytearray(blob)
    out[offset] ^= 1
    return bytes(out)


def make_chunked():
    # What must open.
    for name, size in (("empty", 0), ("one_octet", 1), ("last_chunk_almost_full", CHUNK - 1), ("last_chunk_empty", CHUNK),
                       ("one_octet_over", CHUNK + 1), ("three_chunks", 2 * CHUNK + 100)):
        good(name, "a plaintext of %d octets" % size, Layer(name, octets(name, size)))
    good("plain_tar", "another media type", Layer("plain tar", octets("plain tar", 500), TAR))
    good("sealed_from_stream", "a plaintext whose digest nobody knew", Layer("stream", octets("stream", 500), digest=""))
    good("sha512_digest", "a plaintext named by its SHA-512",
         Layer("sha512", octets("sha512", 500), digest="sha512:" + hashlib.sha512(octets("sha512", 500)).hexdigest()))
    layer = Layer("no annotations", octets("no annotations", 500))
    chunked("no_annotations", "a blob that describes itself", layer, "success", layer.plain, annotations={})
    layer = Layer("not embedded", octets("not embedded", 500))
    layer.wraps = {}
    good("keys_not_embedded", "a blob without wrapped keys", layer, embedding="annotations-only")
    layer = Layer("unknown members", octets("unknown members", 500))
    layer.header = (b'{"future":{"a":[1,2.5,null]},' + layer.header_octets()[1:])
    chunked("unknown_header_member", "a header member from the future", layer, "success", layer.plain)
    layer = Layer("odd header", octets("odd header", 500))
    layer.header = json.dumps(json.loads(layer.header_octets()), indent=2).encode()
    chunked("header_with_blanks", "a header with blanks and line breaks", layer, "success", layer.plain)
    layer = Layer("many wraps", octets("many wraps", 500))
    other = Layer("many wraps other", b"")
    both = layer.annotations()
    both[PLAIN] = b64(other.secret) + "," + both[PLAIN]
    layer.wraps = {}
    chunked("first_wrap_of_another_layer", "a wrapped key that commits to something else stands first", layer, "success",
            layer.plain, annotations=both)
    both = layer.annotations()
    both[PLAIN] = "%%%," + both[PLAIN]
    chunked("one_element_not_base64", "an element that is not base64 stands first", layer, "success", layer.plain,
            annotations=both)
    layer = Layer("docker", octets("docker", 500))
    chunked("docker_media_type", "a Docker type in the descriptor, normalised before it enters the context", layer, "success",
            layer.plain, media_type="application/vnd.docker.image.rootfs.diff.tar.gzip")

    # No key.
    layer = Layer("nobody", octets("nobody", 100))
    layer.wraps = {}
    chunked("no_wraps", "no wrapped key anywhere", layer, "no-key",
            annotations={PUBOPTS: layer.annotations()[PUBOPTS]})
    layer = Layer("stranger", octets("stranger", 100))
    layer.wraps = {"org.opencontainers.image.enc.keys.provider.other": b64(b"x")}
    chunked("unknown_envelope", "an envelope that nobody here understands", layer, "no-key",
            annotations={PUBOPTS: layer.annotations()[PUBOPTS]})

    # Cut at every kind of place.
    layer = Layer("cut", octets("cut", 2 * CHUNK + 100))
    blob = layer.blob()
    head = len(layer.frame())
    first = head + 56
    one = CHUNK + 16
    for name, length, expect, released in (
        ("nothing", 0, "truncated none", 0),
        ("in_magic", 5, "truncated none", 0),
        ("after_magic", 8, "truncated none", 0),
        ("in_length", 10, "truncated none", 0),
        ("after_length", 12, "truncated none", 0),
        ("in_header", 60, "truncated none", 0),
        ("after_header", head, "truncated none", 0),
        ("in_salt", head + 10, "truncated none", 0),
        ("after_salt", head + 24, "truncated none", 0),
        ("in_commitment", head + 40, "truncated none", 0),
        ("before_chunks", first, "truncated none", 0),
        ("in_first_tag", first + 15, "truncated none", 0),
        ("in_first_chunk", first + 1000, "authentication", 0),
        ("before_first_tag", first + CHUNK, "authentication", 0),
        ("after_first_chunk", first + one, "truncated 0", 0),
        ("impossible_tail", first + one + 15, "truncated 0", 0),
        ("in_second_chunk", first + one + 16, "authentication", 0),
        ("after_second_chunk", first + 2 * one, "truncated 1", CHUNK),
        ("in_last_chunk", len(blob) - 1, "authentication", CHUNK),
        ("to_empty_last_chunk", first + 2 * one + 16, "authentication", CHUNK),
    ):
        chunked("cut_" + name, "the blob ends after %d octets" % length, layer, expect, layer.plain[:released],
                blob[:length])
    layer = Layer("full last", octets("full last", CHUNK))
    layer.chunks = layer.chunks[:1]
    chunked("last_chunk_full", "a full chunk stands last", layer, "truncated 0")
    layer = Layer("trailing", octets("trailing", 100))
    chunked("trailing_octets", "octets follow the last chunk", layer, "authentication", blob=layer.blob() + b"more")
    chunked("trailing_chunk", "a sealed chunk follows the last one", layer, "authentication",
            blob=layer.blob() + AESGCM(layer.aead).encrypt(chunk_nonce(layer.base, 1), b"more", None))
    layer = Layer("long last", octets("long last", CHUNK + 1))
    layer.chunks = [AESGCM(layer.aead).encrypt(chunk_nonce(layer.base, 0), layer.plain, None)]
    chunked("chunk_too_long", "a chunk of 16385 octets", layer, "authentication")

    # One flipped bit per region.
    layer = Layer("flip", octets("flip", 2 * CHUNK + 100))
    blob = layer.blob()
    head = len(layer.frame())
    first = head + 56
    for name, offset, expect, released in (
        ("salt", head, "authentication", 0),
        ("commitment", head + 24, "disagreement commitment header message", 0),
        ("first_chunk", first, "authentication", 0),
        ("first_tag", first + one - 1, "authentication", 0),
        ("second_chunk", first + one + 5, "authentication", 0),
        ("second_tag", first + 2 * one - 16, "authentication", 0),
        ("last_chunk", first + 2 * one, "authentication", CHUNK),
        ("last_tag", len(blob) - 1, "authentication", CHUNK),
    ):
        chunked("flipped_" + name, "one bit differs", layer, expect, layer.plain[:released], flip(blob, offset))
    chunked("flipped_magic", "one bit of the magic differs", layer, "not-sealed " + flip(blob, 0)[:8].hex(), blob=flip(blob, 0))
    chunked("other_version", "a frame of version 2", layer, "not-sealed " + (MAGIC[:7] + b"\x02").hex(),
            blob=MAGIC[:7] + b"\x02" + blob[8:])
    chunked("gzip_instead", "plain gzip under a sealed type", layer, "not-sealed 1f8b080000000000", blob=b"\x1f\x8b\x08" + bytes(60))

    # Chunks in the wrong place.
    layer = Layer("swap", octets("swap", 2 * CHUNK + 100))
    whole = list(layer.chunks)
    layer.chunks = [whole[1], whole[0], whole[2]]
    chunked("swapped_chunks", "the first two chunks are swapped", layer, "authentication")
    layer.chunks = [whole[0], whole[0], whole[2]]
    chunked("repeated_chunk", "the first chunk stands twice", layer, "authentication")
    layer.chunks = [whole[0], whole[2]]
    chunked("missing_chunk", "the second chunk is missing", layer, "authentication")
    layer.chunks = [whole[0], whole[0], whole[1], whole[2]]
    chunked("inserted_chunk", "the first chunk is inserted once more", layer, "authentication")
    stranger = Layer("swap stranger", octets("swap stranger", 2 * CHUNK + 100))
    layer.chunks = [whole[0], stranger.chunks[1], whole[2]]
    chunked("chunk_of_another_layer", "the second chunk is another layer's", layer, "authentication")

    # Key, salt, context.
    layer = Layer("wrong key", octets("wrong key", 100))
    layer.secret = private(octets("another key", 32), layer.digest)
    layer.wraps = {}
    chunked("wrong_key", "the wrapped key is another layer's", layer, "authentication")
    layer = Layer("wrong salt", octets("wrong salt", 100))
    layer.salt = octets("another salt", 24)
    chunked("wrong_salt", "the salt is another layer's", layer, "authentication")
    layer = Layer("wrong context", octets("wrong context", 100))
    layer.aead, layer.base, layer.commitment = derive(layer.key, layer.salt, b"sealift layer v2\n")
    layer.chunks = seal_chunks(layer.aead, layer.base, layer.plain)
    layer.public = public_chunked(layer.commitment)
    chunked("wrong_context", "the message was made for another context", layer, "authentication")
    chunked("wrong_media_type", "the message was made for another media type",
            Layer("wrong type", octets("wrong type", 100), context_type=TAR), "authentication")
    chunked("wrong_digest", "the message was made for another digest",
            Layer("wrong digest", octets("wrong digest", 100), context_digest=sha256(b"")), "authentication")
    for name, size, held in (("", 2 * CHUNK + 100, CHUNK), ("_empty_last_chunk", CHUNK, 0)):
        layer = Layer("co-recipient", octets("co-recipient", size), digest=sha256(b"the sealer's plaintext"))
        chunked("forged_by_co_recipient" + name, "authentic chunks of a plaintext that the sealer did not name", layer,
                "authentication", layer.plain[:held], expect_stream="success")
    layer = Layer("md5", octets("md5", 100), digest="md5:" + "0" * 32)
    chunked("digest_unknown", "a digest that cannot be compared", layer, "malformed private-options digest")
    layer = Layer("injected", octets("injected", 100), digest="\nx")
    chunked("digest_with_line_feed", "a digest with a line feed", layer, "malformed private-options digest")
    layer = Layer("short key", octets("short key", 100))
    layer.secret = private(layer.key[:31], layer.digest)
    layer.wraps = {}
    chunked("key_of_31_octets", "a layer key that is too short", layer, "malformed private-options length symkey")

    # What disagrees.
    layer = Layer("disagree", octets("disagree", 100))
    claims = layer.annotations()
    claims[PUBOPTS] = b64(compact(public_chunked(octets("else", 32))).encode())
    chunked("descriptor_commitment", "the descriptor names another commitment", layer,
            "disagreement commitment descriptor message", annotations=claims)
    claims = layer.annotations()
    claims[PUBOPTS] = b64(compact({"cipher": CTR, "hmac": b64(bytes(32)), "cipheroptions": {}}).encode())
    chunked("descriptor_cipher", "the descriptor names ocicrypt's cipher", layer,
            "disagreement cipher descriptor message", annotations=claims)
    chunked("descriptor_media_type", "the descriptor has another media type than the header", layer,
            "disagreement media type descriptor header", media_type=TAR)
    layer = Layer("header commitment", octets("header commitment", 100))
    layer.public = public_chunked(octets("else", 32))
    chunked("header_commitment", "the header names another commitment than the message", layer,
            "disagreement commitment header message")
    layer = Layer("header cipher", octets("header cipher", 100))
    layer.public = {"cipher": CTR, "hmac": b64(bytes(32)), "cipheroptions": {}}
    chunked("header_cipher", "the header names ocicrypt's cipher", layer, "disagreement cipher header message")
    layer = Layer("future cipher", octets("future cipher", 100))
    layer.public = {"cipher": "SM4_GCM", "hmac": "", "cipheroptions": {}}
    chunked("header_unknown_cipher", "the header names a cipher of the future", layer, "unsupported-cipher SM4_GCM",
            annotations={})
    layer = Layer("future cipher 2", octets("future cipher 2", 100))
    claims = layer.annotations()
    claims[PUBOPTS] = b64(compact({"cipher": "SM4_GCM", "hmac": "", "cipheroptions": {}}).encode())
    chunked("descriptor_unknown_cipher", "the descriptor names a cipher of the future", layer, "unsupported-cipher SM4_GCM",
            annotations=claims)

    # Headers that a lenient parser would guess at.
    def bad_header(name, about, expect, spoil, declared=None):
        layer = Layer("bad header", octets("bad header", 100))
        layer.header = spoil(layer.header_octets())
        layer.declared = declared
        chunked("header_" + name, about, layer, expect)

    bad_header("too_long", "the length field says 1048577", "malformed header too-long", lambda h: h, 1048577)
    bad_header("length_huge", "the length field says 4294967295", "malformed header too-long", lambda h: h, 0xffffffff)
    bad_header("empty", "a header of length 0", "malformed header syntax", lambda h: b"")
    bad_header("duplicate_member", "a member stands twice", "malformed header duplicate",
               lambda h: b'{"mediaType":"a/b",' + h[1:])
    bad_header("duplicate_wrap", "a key annotation stands twice", "malformed header duplicate",
               lambda h: h.replace(b'"wraps":{', b'"wraps":{"%s":"",' % PLAIN.encode()))
    bad_header("duplicate_escaped", "a member stands twice, once escaped", "malformed header duplicate",
               lambda h: b'{"\\u0077raps":{},' + h[1:])
    bad_header("trailing_octets", "octets follow the object", "malformed header syntax", lambda h: h + b"{}")
    bad_header("not_utf8", "an octet that is not UTF-8", "malformed header syntax", lambda h: b'{"x":"\xff",' + h[1:])
    bad_header("depth_9", "nine objects within each other", "malformed header too-deep",
               lambda h: b'{"x":' + b"[" * 8 + b"]" * 8 + b"," + h[1:])
    bad_header("array", "an array instead of an object", "malformed header not-an-object", lambda h: b"[]")
    bad_header("no_pubopts", "no public options", "malformed header missing pubopts",
               lambda h: h.replace(b'"pubopts"', b'"pubOpts"'))
    bad_header("no_media_type", "no media type", "malformed header missing mediaType",
               lambda h: h.replace(b'"mediaType"', b'"mediatype"'))
    bad_header("wraps_array", "wraps that are an array", "malformed header wrong-type wraps",
               lambda h: h.replace(b'"wraps":{', b'"wraps":[],"future":{'))
    bad_header("media_type_with_line_feed", "a media type with a line feed", "malformed header media-type",
               lambda h: h.replace(b"tar+gzip", b"tar\\n+gzip"))
    bad_header("cut_json", "an object that is not closed", "malformed header syntax", lambda h: h[:-1])
    bad_header("65_wraps", "65 wrapped keys of one scheme", "malformed header too-much",
               lambda h: compact({**json.loads(h), "wraps": {PLAIN: ",".join(b64(b"%d" % i) for i in range(65))}}).encode())
    bad_header("257_wraps", "257 wrapped keys of five schemes", "malformed header too-much",
               lambda h: compact({**json.loads(h), "wraps": {PLAIN + str(s): ",".join(
                   b64(b"%d" % i) for i in range(64 if s else 1)) for s in range(5)}}).encode())
    bad_header("commitment_short", "a commitment of 31 octets", "malformed public-options length commitment",
               lambda h: compact({**json.loads(h), "pubopts": {"cipher": CHUNKED, "hmac": "", "cipheroptions": {
                   "commitment": b64(bytes(31))}}}).encode())
    bad_header("commitment_missing", "no commitment", "malformed public-options missing commitment",
               lambda h: compact({**json.loads(h), "pubopts": {"cipher": CHUNKED, "hmac": "", "cipheroptions": {}}}).encode())


def make_ctr_hmac():
    label = "ctr"
    key, nonce = octets("ctr key", 32), octets("ctr nonce", 16)

    def seal(plain, nonce=nonce):
        data = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor().update(plain)
        return data, hmac.new(key, data, hashlib.sha256).digest()

    def options(tag, **more):
        return {"cipher": CTR, "hmac": b64(tag), "cipheroptions": {}, **more}

    def annotations(tag, secret=None, public=None, **more):
        public = options(tag, **more) if public is None else public
        public = public if isinstance(public, bytes) else compact(public).encode()
        return {PLAIN: b64(secret), PUBOPTS: b64(public)}

    def vector(name, about, expect, plain=octets(label, 1000), blob=None, secret=None, public=None, released=None, extra=None,
               nonce=nonce, **more):
        data, tag = seal(plain, nonce)
        secret = private(key, sha256(plain), nonce) if secret is None else secret
        claims = {**annotations(tag, secret, public), **(extra or {})}
        if released is None:
            released = plain if expect == "success" else b""
        write("ctr-hmac", name, about, data if blob is None else blob, claims, expect, released, **more)

    sealed, tag = seal(octets(label, 1000))
    digest = sha256(octets(label, 1000))
    for name, size in (("empty", 0), ("one_octet", 1), ("one_block", 16), ("odd", 1001), ("large", 70000)):
        plain = octets("ctr " + name, size)
        vector(name, "a plaintext of %d octets" % size, "success", plain, layer_key=key.hex(), counter=nonce.hex(),
               digest=sha256(plain))
    wrap = bytes(15) + b"\xff"
    vector("counter_carries", "a counter that carries into the next octet", "success", octets("carry", 100),
           secret=private(key, "", wrap), nonce=wrap)
    wrap = b"\xff" * 16
    vector("counter_wraps", "a counter that wraps around 2^128", "success", octets("wraps", 100),
           secret=private(key, "", wrap), nonce=wrap)
    vector("digest_of_something_else", "the noted digest is advisory", "success",
           secret=private(key, sha256(b"else"), nonce))
    vector("digest_absent", "private options without digest", "success",
           secret=compact({"symkey": b64(key), "cipheroptions": {"nonce": b64(nonce)}}).encode())
    vector("digest_null", "a digest that is null", "success",
           secret=compact({"symkey": b64(key), "digest": None, "cipheroptions": {"nonce": b64(nonce)}}).encode())
    vector("public_options_null", "cipheroptions that are null", "success", public=options(tag, cipheroptions=None))
    vector("public_options_absent", "public options without cipheroptions", "success",
           public={"cipher": CTR, "hmac": b64(tag)})
    vector("public_options_unknown", "a public member that nobody knows", "success",
           public=options(tag, cipheroptions={"x": b64(b"y")}))
    vector("public_nonce_equal", "a public nonce equal to the private one", "success",
           public=options(tag, cipheroptions={"nonce": b64(nonce)}))
    vector("escaped_slashes", "base64 whose slashes are escaped", "success",
           secret=private(key, digest, nonce).replace(b"/", b"\\/"))
    vector("second_wrap_fits", "a wrapped key of another layer stands first", "success",
           extra={PLAIN: b64(private(octets("other", 32), "", nonce)) + "," + b64(private(key, digest, nonce))})
    vector("line_breaks", "base64 with line breaks", "success",
           extra={PLAIN: b64(private(key, digest, nonce))})

    vector("public_nonce_differs", "a public nonce that contradicts the private one",
           "disagreement nonce public-options private-options", public=options(tag, cipheroptions={"nonce": b64(bytes(16))}))
    vector("public_nonce_only", "no nonce in the private options", "malformed private-options missing nonce",
           secret=private(key, digest), public=options(tag, cipheroptions={"nonce": b64(nonce)}))
    vector("nonce_missing", "no nonce anywhere", "malformed private-options missing nonce", secret=private(key, digest))
    vector("nonce_empty", "an empty nonce", "malformed private-options missing nonce", secret=private(key, digest, b""))
    vector("nonce_15", "a nonce of 15 octets", "malformed private-options length nonce", secret=private(key, digest, nonce[:15]))
    vector("nonce_17", "a nonce of 17 octets", "malformed private-options length nonce", secret=private(key, digest, nonce + b"x"))
    vector("public_nonce_15", "a public nonce of 15 octets", "malformed public-options length nonce",
           public=options(tag, cipheroptions={"nonce": b64(nonce[:15])}))
    vector("nonce_not_base64", "a nonce that is not base64", "malformed private-options base64 nonce",
           secret=compact({"symkey": b64(key), "digest": "", "cipheroptions": {"nonce": "%"}}).encode())
    vector("nonce_array", "a nonce that is an array", "malformed private-options wrong-type nonce",
           secret=compact({"symkey": b64(key), "digest": "", "cipheroptions": {"nonce": list(nonce)}}).encode())
    vector("cipheroptions_array", "cipheroptions that are an array", "malformed private-options wrong-type cipheroptions",
           secret=compact({"symkey": b64(key), "digest": "", "cipheroptions": [b64(nonce)]}).encode())
    vector("symkey_31", "a layer key of 31 octets", "malformed private-options length symkey", secret=private(key[:31], "", nonce))
    vector("symkey_33", "a layer key of 33 octets", "malformed private-options length symkey",
           secret=private(key + b"x", "", nonce))
    vector("symkey_missing", "no layer key", "malformed private-options missing symkey",
           secret=compact({"digest": "", "cipheroptions": {"nonce": b64(nonce)}}).encode())
    vector("symkey_twice", "a layer key that stands twice", "malformed private-options duplicate",
           secret=b'{"symkey":"' + b64(bytes(32)).encode() + b'",' + private(key, digest, nonce)[1:])
    vector("private_array", "private options that are an array", "malformed private-options not-an-object",
           secret=compact([b64(key), "", {"nonce": b64(nonce)}]).encode())
    vector("private_trailing", "octets after the private options", "malformed private-options syntax",
           secret=private(key, digest, nonce) + b"x")
    vector("hmac_empty", "an empty HMAC", "malformed public-options missing hmac", public=options(b""))
    vector("hmac_missing", "no HMAC", "malformed public-options missing hmac", public={"cipher": CTR, "cipheroptions": {}})
    vector("hmac_short", "an HMAC of 16 octets", "malformed public-options length hmac", public=options(tag[:16]))
    vector("hmac_twice", "an HMAC that stands twice", "malformed public-options duplicate",
           public=b'{"hmac":"",' + compact(options(tag)).encode()[1:])
    vector("public_not_base64", "public options that are not base64", "malformed descriptor base64", extra={PUBOPTS: "{}"})
    vector("cipher_missing", "no cipher", "malformed public-options missing cipher",
           public={"hmac": b64(tag), "cipheroptions": {}})
    vector("cipher_unknown", "another cipher", "unsupported-cipher AES_256_CTR_HMAC_SHA512",
           public=options(tag, cipher="AES_256_CTR_HMAC_SHA512"))
    vector("options_missing", "no public options at all", "missing-options", extra={PUBOPTS: ""})
    vector("options_of_default_cipher", "public options of the default cipher", "not-sealed " + sealed[:8].hex(),
           public=public_chunked(bytes(32)))
    vector("no_wraps", "no wrapped keys", "no-key", extra={PLAIN: ""})
    vector("wrap_not_base64", "the only wrapped key is not base64", "no-key", extra={PLAIN: "%%%"})

    vector("flipped_first_octet", "one bit differs", "authentication", blob=flip(sealed, 0))
    vector("flipped_last_octet", "one bit differs", "authentication", blob=flip(sealed, len(sealed) - 1))
    vector("flipped_hmac", "one bit of the HMAC differs", "authentication", public=options(flip(tag, 31)))
    vector("truncated", "the last octet is missing", "authentication", blob=sealed[:-1])
    vector("truncated_to_nothing", "all octets are missing", "authentication", blob=b"")
    vector("extended", "an octet too many", "authentication", blob=sealed + b"x")
    vector("wrong_key", "the wrapped key is another layer's", "authentication", secret=private(octets("other", 32), digest, nonce))


def make_original():
    path = os.path.join(HERE, "original")
    os.makedirs(path, exist_ok=True)
    key, salt = octets("original key", 32), octets("original salt", 24)
    layer_id = octets("original id", 32).hex()
    manifest = "application/vnd.oci.image.manifest.v1+json"
    document = b'{\n  "schemaVersion": 2,\t"odd":  [1, 2]\n}\n'

    def pack(plain):
        return subprocess.run(["zstd", "-q", "-9", "-c"], input=plain, stdout=subprocess.PIPE, check=True).stdout

    def seal(kind="manifest", media_type=manifest, document=document, layer_id=layer_id, packed=None, context=None):
        packed = pack(media_type.encode() + b"\n" + document) if packed is None else packed
        info = ("sealift original v1\n%s\n%s\n" % (kind, layer_id)).encode()
        aead, base, commitment = derive(expand(key, info, 32), salt, info if context is None else context)
        return salt + commitment + b"".join(seal_chunks(aead, base, packed))

    def vector(name, about, expect, element, kind="manifest", released=b"", layer_id=layer_id):
        lines = ["about: " + about, "kind: " + kind, "layer-key: " + key.hex(), "id: " + layer_id, "element: " + element,
                 "expect: " + expect]
        with open(os.path.join(path, name + ".vec"), "wb") as f:
            f.write("\n".join(lines).encode() + b"\n\n" + released)

    def element(message, layer_id=layer_id):
        return "v1.%s.%s" % (layer_id, b64(message))

    whole = seal()
    vector("manifest", "a manifest, octet for octet", "success " + manifest, element(whole), released=document)
    index = "application/vnd.oci.image.index.v1+json"
    vector("index", "an index", "success " + index, element(seal("index", index)), "index", document)
    config = "application/vnd.oci.image.config.v1+json"
    vector("config", "a config", "success " + config, element(seal("config", config)), "config", document)
    vector("empty_document", "a document without octets", "success " + manifest, element(seal(document=b"")), released=b"")
    cipher_id = sha256(b"ciphertext")
    vector("ocicrypt_layer", "the id of an ocicrypt layer", "success " + manifest,
           element(seal(layer_id=cipher_id), cipher_id), released=document, layer_id=cipher_id)
    vector("other_kind", "a manifest taken for an index", "authentication", element(whole), "index")
    vector("other_id", "another layer's element", "authentication", element(whole, "ab" * 32))
    vector("other_context", "another context", "authentication", element(seal(context=b"x")))
    vector("flipped_salt", "one bit differs", "authentication", element(flip(whole, 0)))
    vector("flipped_commitment", "one bit differs", "authentication", element(flip(whole, 24)))
    vector("flipped_chunk", "one bit differs", "authentication", element(flip(whole, 60)))
    vector("truncated", "the last octet is missing", "authentication", element(whole[:-1]))
    vector("no_chunk", "salt and commitment only", "truncated none", element(whole[:56]))
    vector("cut_prefix", "a commitment that is cut", "truncated none", element(whole[:40]))
    vector("not_base64", "a message that is not base64", "malformed original base64", "v1.%s.%%%%" % layer_id)
    vector("no_version", "another version", "malformed original form", element(whole).replace("v1.", "v2."))
    vector("no_id", "no id", "malformed original form", "v1..AAAA")
    vector("no_message", "no message", "malformed original form", "v1." + layer_id)
    vector("not_packed", "content that is not zstd", "malformed original wrong-type dev.sealift.original",
           element(seal(packed=b"not zstd at all")))
    vector("no_line_feed", "content without media type", "malformed original form", element(seal(packed=pack(b"x"))))
    vector("bad_media_type", "a media type with a blank", "malformed original media-type", element(seal(media_type="a b/c")))
    vector("bomb", "five mebibytes of zeros", "malformed original too-much", element(seal(document=bytes(5 << 20))))
    vector("one_octet_too_many", "4 MiB and one octet", "malformed original too-much",
           element(seal(document=bytes((4 << 20) + 1))))


for folder in ("chunked", "ctr-hmac", "original"):
    shutil.rmtree(os.path.join(HERE, folder), ignore_errors=True)
make_chunked()
make_ctr_hmac()
make_original()
