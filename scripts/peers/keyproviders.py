#!/usr/bin/python3
"""usage: keyproviders.py serve ADDRESS KEK [--mode MODE] [--tls CERT KEY CLIENT_CA]
       keyproviders.py ask TRANSPORT wrap|unwrap [--params TEXT] [--tls CA CERT KEY] [--server-name NAME]

Both sides of ocicrypt's key-provider protocol, on Python's grpcio: nothing in common with ours but the specification.

serve: a provider on ADDRESS (127.0.0.1:PORT, port 0 for any, or unix:///PATH) that wraps under the 32 octets in the file KEK,
with AES-256-GCM. Prints the address when it listens. MODE: `base64` or `arrays` says how it answers; `hang` never does;
`garbage` answers nonsense, `huge` eight megabytes, `other-half` the half that was not asked for, `refuse` a status with a message.

ask: what a program with ocicrypt does. Reads the octets to wrap or unwrap from standard input, sends the request as the Go library
renders it, with keys of others in it, and writes the octets of the answer to standard output if the Go library and ocicrypt-rs
would both take it. TRANSPORT: grpc:ADDRESS, or cmd:JSON with a list of program and arguments. Python's message for a failure goes
to standard error, and the exit status is 1.
"""

import argparse
import base64
import concurrent.futures
import json
import os
import subprocess
import sys
import time

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.wrappers_pb2 import BytesValue

SERVICE = "keyprovider.KeyProviderService"
OTHERS = {"privkeys": ["c2VjcmV0"], "privkeys-passwords": [None], "x509s": ["eHh4"]}


def message(octets):
    """The protocol's messages have one bytes field with number 1, and so has this one."""
    return BytesValue(value=octets).SerializeToString()


def value(octets):
    return BytesValue.FromString(octets).value


class Provider(grpc.GenericRpcHandler):
    def __init__(self, kek, mode):
        self.kek, self.mode = AESGCM(kek), mode

    def service(self, details):
        method = {f"/{SERVICE}/WrapKey": self.wrap, f"/{SERVICE}/UnWrapKey": self.unwrap}.get(details.method)
        return method and grpc.unary_unary_rpc_method_handler(
            lambda octets, context: self.answer(method, json.loads(octets), context), value, message)

    def answer(self, method, request, context):
        if self.mode == "hang":
            time.sleep(60)
        if self.mode == "garbage":
            return b"garbage"
        if self.mode == "huge":
            return b"x" * (8 << 20)
        if self.mode == "refuse":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "the vault is sealed\n100 % ünlikely")
        parameters = {**((request["keywrapparams"]["ec"] or {}).get("Parameters") or {}),
                      **((request["keyunwrapparams"]["dc"] or {}).get("Parameters") or {})}
        assert set(parameters) == {"peer"}, parameters
        half, member, octets = method(request)
        if self.mode == "other-half":
            return json.dumps({"keyunwrapresults" if half == "keywrapresults" else "keywrapresults": {}}).encode()
        octets = list(octets) if self.mode == "arrays" else base64.b64encode(octets).decode()
        return json.dumps({half: {member: octets}}).encode()

    def wrap(self, request):
        assert request["op"] == "keywrap"
        nonce = os.urandom(12)
        secret = base64.b64decode(request["keywrapparams"]["optsdata"])
        return "keywrapresults", "annotation", nonce + self.kek.encrypt(nonce, secret, b"")

    def unwrap(self, request):
        assert request["op"] == "keyunwrap"
        blob = base64.b64decode(request["keyunwrapparams"]["annotation"])
        return "keyunwrapresults", "optsdata", self.kek.decrypt(blob[:12], blob[12:], b"")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def serve(args):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), (Provider(read(args.kek), args.mode),),
                         options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)])
    if args.tls:
        cert, key, authority = map(read, args.tls)
        credentials = grpc.ssl_server_credentials([(key, cert)], authority, require_client_auth=True)
        port = server.add_secure_port(args.address, credentials)
    else:
        port = server.add_insecure_port(args.address)
    server.start()
    print(args.address if args.address.startswith("unix:") else f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def request(args, octets):
    """As Go's json.Marshal renders the structures."""
    data = base64.b64encode(octets).decode()
    parameters = {**OTHERS, "peer": [base64.b64encode(args.params.encode()).decode()]}
    if args.what == "wrap":
        body = {"op": "keywrap",
                "keywrapparams": {"ec": {"Parameters": parameters, "DecryptConfig": {"Parameters": None}}, "optsdata": data},
                "keyunwrapparams": {"dc": None, "annotation": None}}
    else:
        body = {"op": "keyunwrap", "keywrapparams": {"ec": None, "optsdata": None},
                "keyunwrapparams": {"dc": {"Parameters": parameters}, "annotation": data}}
    return json.dumps(body, separators=(",", ":"), sort_keys=False).encode()


def call(args, octets):
    kind, where = args.transport.split(":", 1)
    if kind == "cmd":
        done = subprocess.run(json.loads(where), input=octets, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"Error while running command: {where}. stderr: {done.stderr.decode()}: {done.returncode}")
        return done.stdout
    if args.tls:
        authority, cert, key = map(read, args.tls)
        options = [("grpc.ssl_target_name_override", args.server_name)] if args.server_name else []
        channel = grpc.secure_channel(where, grpc.ssl_channel_credentials(authority, key, cert), options)
    else:
        channel = grpc.insecure_channel(where)
    method = {"wrap": "WrapKey", "unwrap": "UnWrapKey"}[args.what]
    with channel:
        return channel.unary_unary(f"/{SERVICE}/{method}", message, value)(octets, timeout=20)


def go(octets):
    """[]byte of encoding/json: base64, or an array of numbers."""
    return bytes(octets) if isinstance(octets, list) else base64.b64decode(octets, validate=True)


def rust(octets):
    """Vec<u8> of serde_json: an array of numbers and nothing else."""
    assert isinstance(octets, list) and all(type(octet) is int and 0 <= octet < 256 for octet in octets), octets
    return bytes(octets)


def ask(args):
    try:
        answer = json.loads(call(args, request(args, sys.stdin.buffer.read())))
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    octets = answer["keywrapresults"]["annotation"] if args.what == "wrap" else answer["keyunwrapresults"]["optsdata"]
    assert go(octets) == rust(octets)
    sys.stdout.buffer.write(go(octets))


parser = argparse.ArgumentParser(usage=__doc__)
commands = parser.add_subparsers(required=True)
sub = commands.add_parser("serve")
sub.set_defaults(run=serve)
sub.add_argument("address")
sub.add_argument("kek")
sub.add_argument("--mode", default="base64")
sub.add_argument("--tls", nargs=3)
sub = commands.add_parser("ask")
sub.set_defaults(run=ask)
sub.add_argument("transport")
sub.add_argument("what", choices=["wrap", "unwrap"])
sub.add_argument("--params", default="Enabled")
sub.add_argument("--tls", nargs=3)
sub.add_argument("--server-name")
args = parser.parse_args()
args.run(args)
