"""How long a stream decoder keeps who feeds it waiting: a layer arrives in pieces, as from a network.

All but the rest of the second chunk is written, and what the decoder does with that is waited for: it has started and unwrapped
its key. Then the rest of the second chunk is written; what counts is when the first plain octet comes. The other chunks follow,
but for the last; then the last, and what counts is when the process has ended.
"""
import hashlib
import os
import subprocess
import threading
import time

# Octets of a sealed chunk, and of what is between header and chunks (crates/layer/SPEC.md, section 1).
CHUNK, MESSAGE_HEAD = 16384 + 16, 24 + 32
# Long enough for everything that was fed to be done with, in seconds.
PAUSE = 0.05


def second_chunk_ends(blob):
    """Where a layer of the default format has two whole chunks."""
    return 12 + int.from_bytes(blob[8:12], "big") + MESSAGE_HEAD + 2 * CHUNK


def write_all(pipe, octets):
    view = memoryview(octets)
    while view:
        view = view[os.write(pipe, view):]


def trial(command, environment, blob):
    """Feeds one layer; returns both delays in milliseconds and the SHA-256 of what came out, in hexadecimal."""
    second = second_chunk_ends(blob)
    last = len(blob) - (len(blob) - (second - 2 * CHUNK)) % CHUNK
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment)
    try:
        feed, result = process.stdin.fileno(), process.stdout.fileno()
        write_all(feed, blob[:second - 1])
        time.sleep(PAUSE)
        began = time.perf_counter()
        write_all(feed, blob[second - 1:second])
        first = os.read(result, 1)
        first_octet = time.perf_counter() - began
        digest = hashlib.sha256(first)

        def drain():
            while piece := os.read(result, 1 << 16):
                digest.update(piece)

        reader = threading.Thread(target=drain)
        reader.start()
        write_all(feed, blob[second:last])
        time.sleep(PAUSE)
        began = time.perf_counter()
        write_all(feed, blob[last:])
        process.stdin.close()
        status = process.wait()
        exited = time.perf_counter() - began
        reader.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if status != 0:
        raise subprocess.CalledProcessError(status, command)
    return {"first octet": first_octet * 1000, "exit": exited * 1000, "sha256": digest.hexdigest()}
