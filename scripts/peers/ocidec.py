#!/usr/bin/python3
"""Independent decryptor for ocicrypt-encrypted OCI layouts, used as an oracle: it shares no code with sealift.

usage: ocidec.py LAYOUT [--ref NAME] [--key FILE]... [--pkcs11 KEY.yaml] [--provider CONFIG.json]
                 [--gpg FILE] [--out DIR] [--show]

  LAYOUT      directory of an OCI image layout
  --key       PEM private key (RSA or EC, unencrypted) or PEM certificate; pkcs7 needs both of them
  --gpg       binary OpenPGP secret key, imported into a throw-away GNUPGHOME
  --pkcs11    ocicrypt key file; the operation is done by pkcs11-tool (RSA-OAEP, SHA-1 or SHA-256)
  --provider  ocicrypt key-provider configuration (cmd transport only)
  --out       write every decrypted layer to DIR/<index>.layer
  --show      also print the unwrapped private options (contains the layer key)

For every layer one line: index, media type, scheme that opened it, HMAC verdict, digest of the decrypted blob,
whether `digest` in the private options equals it, and whether the decompressed tar matches the diff_id of the
config. Exit status 0 only if every encrypted layer opened and every check of HMAC and diff_id passed.
Needs python3-cryptography; gpg, pkcs11-tool and zstd only for images that use them.
"""
import argparse
import base64
import gzip
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PREFIX = "org.opencontainers.image.enc."
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def b64u(s):
    return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))


def lp(b):
    return len(b).to_bytes(4, "big") + b


# --- jwe -------------------------------------------------------------------------------------------------------
def jwe_cek(key, header, encrypted_key):
    alg = header["alg"]
    if alg.startswith("RSA-OAEP") and isinstance(key, rsa.RSAPrivateKey):
        h = hashes.SHA256() if alg == "RSA-OAEP-256" else hashes.SHA1()
        return key.decrypt(encrypted_key, padding.OAEP(padding.MGF1(h), h, None))
    if alg.startswith("ECDH-ES+A") and isinstance(key, ec.EllipticCurvePrivateKey):
        epk, bits = header["epk"], int(alg[9:12])
        point = ec.EllipticCurvePublicNumbers(
            int.from_bytes(b64u(epk["x"]), "big"), int.from_bytes(b64u(epk["y"]), "big"), CURVES[epk["crv"]])
        z = key.exchange(ec.ECDH(), point.public_key())
        info = lp(alg.encode()) + lp(b64u(header.get("apu", ""))) + lp(b64u(header.get("apv", ""))) + bits.to_bytes(4, "big")
        return aes_key_unwrap(ConcatKDFHash(hashes.SHA256(), bits // 8, info).derive(z), encrypted_key)
    raise ValueError("key does not fit " + alg)


def open_jwe(blob, env):
    jwe = json.loads(blob)
    protected = json.loads(b64u(jwe["protected"]))
    for recipient in jwe.get("recipients") or [jwe]:
        header = {**protected, **jwe.get("unprotected", {}), **recipient.get("header", {})}
        for key in env.keys:
            try:
                cek = jwe_cek(key, header, b64u(recipient["encrypted_key"]))
                return AESGCM(cek).decrypt(b64u(jwe["iv"]), b64u(jwe["ciphertext"]) + b64u(jwe["tag"]), jwe["protected"].encode())
            except Exception:
                continue


# --- pkcs7: EnvelopedData with AES-GCM and the non-standard parameter encoding ----------------------------------
def tlv(buf, pos=0):
    tag, n, pos = buf[pos], buf[pos + 1], pos + 2
    if n & 0x80:
        k = n & 0x7F
        n, pos = int.from_bytes(buf[pos:pos + k], "big"), pos + k
    return tag, buf[pos:pos + n], pos + n


def children(buf):
    pos, out = 0, []
    while pos < len(buf):
        start = pos
        tag, value, pos = tlv(buf, pos)
        out.append((tag, value, buf[start:pos]))
    return out


def open_pkcs7(blob, env):
    content_info = children(tlv(blob)[1])
    _, recipients, encrypted = children(tlv(content_info[1][1])[1])[:3]
    _, algorithm, content = children(encrypted[1])
    params = algorithm[1][tlv(algorithm[1])[2]:]          # after the OID
    body = tlv(params)[1]
    if body[:1] == b"\x30":                               # element with tag 0x10 around a SEQUENCE
        body = tlv(body)[1]
    nonce = tlv(body)[1]                                  # [4] primitive
    sealed = content[1]
    if content[0] & 0x20:                                 # older writers: [0] constructed around OCTET STRING parts
        sealed = b"".join(part for _, part, _ in children(sealed))
    for _, info, _ in children(recipients[1]):
        _, issuer_serial, _, encrypted_key = children(info)
        issuer, serial = children(issuer_serial[1])
        for cert in env.certs:
            if cert.issuer.public_bytes() != issuer[2] or cert.serial_number != int.from_bytes(serial[1], "big"):
                continue
            for key in env.keys:
                try:
                    return AESGCM(key.decrypt(encrypted_key[1], padding.PKCS1v15())).decrypt(nonce, sealed, None)
                except Exception:
                    continue


# --- pgp, pkcs11, provider: done by the programs themselves -----------------------------------------------------
def open_pgp(blob, env):
    if not env.gpg:
        return None
    with tempfile.TemporaryDirectory() as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--yes"]
        subprocess.run(gpg + ["--import", env.gpg], check=True, capture_output=True)
        r = subprocess.run(gpg + ["--decrypt"], input=blob, capture_output=True)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)
        return r.stdout if r.returncode == 0 else None


def open_pkcs11(blob, env):
    if not env.pkcs11:
        return None
    text = open(env.pkcs11).read()
    attr = lambda name: re.search(name + r"=([^;?&\"\s]+)", text).group(1)
    conf = re.search(r"SOFTHSM2_CONF:\s*(\S+)", text)
    environ = dict(os.environ, **({"SOFTHSM2_CONF": conf.group(1)} if conf else {}))
    tool = ["pkcs11-tool", "--module", attr("module-path"), "--token-label", attr("token"), "--login", "--pin", attr("pin-value")]
    listing = subprocess.run(tool + ["--list-objects", "--type", "privkey"], env=environ, capture_output=True, text=True).stdout
    ids = re.findall(r"label:\s+%s\n\s+ID:\s+(\S+)" % re.escape(attr("object")), listing)
    for recipient in json.loads(blob)["recipients"]:
        alg, mgf = {"sha256": ("SHA256", "MGF1-SHA256")}.get(recipient.get("hash"), ("SHA-1", "MGF1-SHA1"))
        for key_id in ids:
            with tempfile.TemporaryDirectory() as d:
                open(d + "/in", "wb").write(base64.b64decode(recipient["blob"]))
                r = subprocess.run(tool + ["--decrypt", "--id", key_id, "-m", "RSA-PKCS-OAEP", "--hash-algorithm", alg, "--mgf", mgf,
                                           "-i", d + "/in", "-o", d + "/out"], env=environ, capture_output=True)
                if r.returncode == 0:
                    return open(d + "/out", "rb").read()


def open_provider(name):
    def run(blob, env):
        if not env.provider:
            return None
        entry = json.load(open(env.provider))["key-providers"].get(name)
        if not entry:
            return None
        request = {"op": "keyunwrap", "keywrapparams": {"ec": None, "optsdata": None},
                   "keyunwrapparams": {"dc": {"Parameters": {name: [base64.b64encode(b"Enabled").decode()]}},
                                       "annotation": base64.b64encode(blob).decode()}}
        cmd = [entry["cmd"]["path"]] + (entry["cmd"].get("args") or [])
        r = subprocess.run(cmd, input=json.dumps(request, separators=(",", ":")).encode(), stdout=subprocess.PIPE)
        if r.returncode:
            return None
        opts = json.loads(r.stdout)["keyunwrapresults"]["optsdata"]
        return bytes(opts) if isinstance(opts, list) else base64.b64decode(opts)
    return run


# --- layers -----------------------------------------------------------------------------------------------------
def unwrap(annotations, env):
    for name, value in sorted(annotations.items()):
        if not name.startswith(PREFIX + "keys."):
            continue
        scheme = name[len(PREFIX + "keys."):]
        opener = {"jwe": open_jwe, "pkcs7": open_pkcs7, "pgp": open_pgp, "pkcs11": open_pkcs11}.get(scheme)
        if scheme.startswith("provider."):
            opener = open_provider(scheme[9:])
        for element in value.split(","):
            opts = opener and opener(base64.b64decode(element), env)
            if opts:
                return scheme, json.loads(opts)
    return None, None


def inflate(blob):
    if blob[:2] == b"\x1f\x8b":
        return gzip.decompress(blob)
    if blob[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dqc"], input=blob, stdout=subprocess.PIPE, check=True).stdout
    return blob


def sha(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("layout")
    ap.add_argument("--ref")
    ap.add_argument("--key", action="append", default=[])
    ap.add_argument("--gpg")
    ap.add_argument("--pkcs11")
    ap.add_argument("--provider")
    ap.add_argument("--out")
    ap.add_argument("--show", action="store_true")
    env = ap.parse_args()
    env.keys, env.certs = [], []
    for path in env.key:
        pem = open(path, "rb").read()
        if b"CERTIFICATE" in pem:
            env.certs.append(x509.load_pem_x509_certificate(pem))
        else:
            env.keys.append(load_pem_private_key(pem, None))
    blob = lambda d: open("%s/blobs/%s" % (env.layout, d.replace(":", "/")), "rb").read()
    ref = lambda m: m.get("annotations", {}).get("org.opencontainers.image.ref.name")
    index = json.load(open(env.layout + "/index.json"))
    entry = next(m for m in index["manifests"] if env.ref in (None, ref(m)))
    manifest = json.loads(blob(entry["digest"]))
    diff_ids = json.loads(blob(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
    good = True
    if env.out:
        os.makedirs(env.out, exist_ok=True)
    for i, layer in enumerate(manifest["layers"]):
        data, note = blob(layer["digest"]), "clear"
        if layer["mediaType"].endswith("+encrypted"):
            scheme, opts = unwrap(layer.get("annotations", {}), env)
            if not opts:
                print(i, layer["mediaType"], "NO KEY OPENS IT")
                good = False
                continue
            pub = json.loads(base64.b64decode(layer["annotations"][PREFIX + "pubopts"]))
            key, nonce = base64.b64decode(opts["symkey"]), base64.b64decode(opts["cipheroptions"]["nonce"])
            mac = hmac.compare_digest(hmac.new(key, data, hashlib.sha256).digest(), base64.b64decode(pub["hmac"]))
            data = Cipher(algorithms.AES(key), modes.CTR(nonce)).decryptor().update(data)
            note = "%s hmac=%s opts.digest=%s" % (scheme, "ok" if mac else "BAD", "same" if opts["digest"] == sha(data) else opts["digest"])
            good = good and mac
            if env.show:
                print(json.dumps(opts, separators=(",", ":")))
        try:
            same = sha(inflate(data)) == diff_ids[i]
        except Exception:
            same = False
        good = good and same
        print(i, layer["mediaType"], note, sha(data), "diff_id=" + ("ok" if same else "BAD"))
        if env.out:
            open("%s/%d.layer" % (env.out, i), "wb").write(data)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
