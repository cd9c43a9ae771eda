#!/usr/bin/python3
"""Token server for docker-registry's `auth: token` mode (distribution token protocol), for tests.

usage: tokensrv.py --cert token.crt --key token.key [options]

  --addr HOST:PORT      listen address; with port 0 a free one is taken and  (127.0.0.1:5003)
                        `listening on HOST:PORT` is the first line printed
  --issuer NAME         must equal auth.token.issuer of the registry        (test-issuer)
  --user NAME:PASSWORD  the one account, allowed what it asks for           (alice:s3cret)
  --public PREFIX       anonymous clients may pull names with this prefix   (pub/)
  --ttl SECONDS         lifetime of a token; small values force renewal,    (300)
                        but docker-registry adds 60 s of its own: -50 is 10
  --told SECONDS        the lifetime that the answer tells the client       (that of --ttl)
  --log FILE            one JSON line per request: method, user, scopes

Tokens are RS256 JWTs whose header carries the certificate (x5c). GET with Basic is what skopeo sends, POST
with grant_type=password what containerd sends. Needs python3-cryptography.

  openssl req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.crt -days 30 -subj /CN=token
  registry.yml:  auth: {token: {realm: http://127.0.0.1:5003/token, service: test-registry,
                                issuer: test-issuer, rootcertbundle: token.crt}}
"""
import argparse
import base64
import http.server
import json
import os
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--cert", required=True)
ap.add_argument("--key", required=True)
ap.add_argument("--addr", default="127.0.0.1:5003")
ap.add_argument("--issuer", default="test-issuer")
ap.add_argument("--user", default="alice:s3cret")
ap.add_argument("--public", default="pub/")
ap.add_argument("--ttl", type=int, default=300)
ap.add_argument("--told", type=int)
ap.add_argument("--log")
opt = ap.parse_args()
KEY = serialization.load_pem_private_key(open(opt.key, "rb").read(), None)
CERT = x509.load_pem_x509_certificate(open(opt.cert, "rb").read())
X5C = base64.b64encode(CERT.public_bytes(serialization.Encoding.DER)).decode()


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, obj, **headers):
        body = json.dumps(obj).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        self.wfile.write(body)

    def issue(self, query, user):
        if opt.log:
            with open(opt.log, "a") as f:
                f.write(json.dumps({"method": self.command, "user": user, "scopes": query.get("scope", [])}) + "\n")
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            actions = actions.split(",")
            if not user:
                actions = [a for a in actions if a == "pull" and name.startswith(opt.public)]
            if actions:
                access.append({"type": kind, "name": name, "actions": actions})
        now = int(time.time())
        claims = {"iss": opt.issuer, "sub": user or "", "aud": query["service"][0], "exp": now + opt.ttl,
                  "nbf": now - 5, "iat": now, "jti": os.urandom(8).hex(), "access": access}
        signed = b64u(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [X5C]}).encode()) + b"." + b64u(json.dumps(claims).encode())
        token = (signed + b"." + b64u(KEY.sign(signed, padding.PKCS1v15(), hashes.SHA256()))).decode()
        self.reply(200, {"token": token, "access_token": token, "expires_in": opt.ttl if opt.told is None else opt.told,
                         "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))})

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        auth, user = self.headers.get("Authorization", ""), None
        if auth.startswith("Basic "):
            given = base64.b64decode(auth[6:]).decode()
            if given != opt.user:
                return self.reply(401, {"details": "incorrect username or password"}, WWW_Authenticate='Basic realm="token"')
            user = given.split(":", 1)[0]
        self.issue(query, user)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if form.get("grant_type") == ["password"] and ":".join(form.get("username", [""]) + form.get("password", [""])) == opt.user:
            return self.issue(form, form["username"][0])
        self.reply(401, {"error": "invalid_grant"})


host, port = opt.addr.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
print("listening on %s:%d" % server.server_address[:2], flush=True)
server.serve_forever()
