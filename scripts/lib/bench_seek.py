"""Reads one small file out of a large sealed layer in docker-registry, and tells how much of the layer that took.

The layer is eStargz: --files files of random octets, stored, together --size MiB, and among them one of 10 KiB that is read by
`sealift cat`. Beside it, in turns, `sealift decrypt` opens the whole image, which is what there is to do without `cat`. What comes out is
compared. Requests and octets are those that sealift counts: all of them, manifests, tables and redirects included.

The bar: at most 1 % of the layer is transferred. Memory of `cat` is shown. Works in /dev/shm where there is room, else below $TMPDIR:
four times --size. Uses the binaries in $SEALIFT_BIN_DIR if that is set, else builds release ones.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import zlib

import judge
from measure import (MIB, ROOT, Alone, binaries, die, end_as_interrupted, environment, machine, note, place, spread, step, timed,
                     use_two_cores, version, work_folder, write_json)
from random_image import describe, put_image
from regions import DockerRegistry, Here

# Share of the layer that may be transferred, of one file of so many octets.
BAR, WANTED, WANTED_OCTETS = 0.01, "app/wanted", 10 << 10
# Longest piece of a file, as the makers of eStargz have it.
CHUNK = 4 * MIB


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench seek", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB", help="size of the layer (default 2048)")
    parser.add_argument("--files", type=int, default=10000, metavar="N", help="how many files it holds (default 10000)")
    parser.add_argument("--rounds", type=int, default=judge.FEWEST_ROUNDS, metavar="N",
                        help="runs of each command (default %d)" % judge.FEWEST_ROUNDS)
    parser.add_argument("--check", action="store_true", help="fail if more than the bar is transferred")
    parser.add_argument("--lock", metavar="FILE", help="hold the lock of this file (flock) while a round is timed")
    parser.add_argument("--output", default=os.path.join(ROOT, "target/bench/seek.json"), metavar="FILE",
                        help="where the result is written as JSON (default target/bench/seek.json)")
    return parser.parse_args()


class Stargz:
    """An eStargz blob in the making."""

    def __init__(self, path):
        self.file, self.packed, self.plain = open(path, "wb"), hashlib.sha256(), hashlib.sha256()
        self.length, self.waiting, self.entries = 0, b"", []

    def write(self, octets):
        self.packed.update(octets)
        self.length += self.file.write(octets)

    def member(self, octets):
        """Closes what was waiting, and writes a gzip member of stored blocks."""
        if octets:
            gzip = zlib.compressobj(0, zlib.DEFLATED, 31)
            self.plain.update(octets)
            self.write(gzip.compress(octets) + gzip.flush())

    def add(self, name, content):
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(content), 0o644
        self.member(self.waiting + header.tobuf(tarfile.GNU_FORMAT))
        entry = {"name": name, "type": "reg", "size": len(content), "mode": 0o644, "modtime": "1970-01-01T00:00:00Z",
                 "digest": "sha256:" + hashlib.sha256(content).hexdigest()}
        self.waiting = b""
        for start in range(0, len(content), CHUNK):
            piece = content[start:start + CHUNK]
            self.member(self.waiting)
            entry.update(offset=self.length, chunkOffset=start, chunkDigest="sha256:" + hashlib.sha256(piece).hexdigest())
            if start + len(piece) < len(content):
                entry["chunkSize"] = len(piece)
            self.entries.append(entry)
            self.waiting, entry = piece, {"name": name, "type": "chunk"}
        self.waiting += bytes(-len(content) % 512)

    def finish(self):
        """Writes table and footer; returns digest, length and diff ID."""
        self.member(self.waiting)
        offset, table = self.length, json.dumps({"version": 1, "entries": self.entries}, separators=(",", ":")).encode()
        header = tarfile.TarInfo("stargz.index.json")
        header.size = len(table)
        octets = header.tobuf(tarfile.GNU_FORMAT) + table + bytes(-len(table) % 512 + 1024)
        gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.plain.update(octets)
        self.write(gzip.compress(octets) + gzip.flush())
        self.write(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0%016xSTARGZ\x01\0\0\xff\xff" % offset + bytes(8))
        self.file.close()
        return self.packed.hexdigest(), self.length, "sha256:" + self.plain.hexdigest()


def make(folder, octets, files):
    """Makes the layout; returns the length of its layer, and the content of the file that is read."""
    blobs = folder + "/blobs/sha256/"
    os.makedirs(blobs)
    layer, wanted = Stargz(blobs + "layer"), os.urandom(WANTED_OCTETS)
    # Lengths differ, by a factor of three; which they are is the same in every run.
    lengths = random.Random(1)
    for number in range(files):
        if number == files // 2:
            layer.add(WANTED, wanted)
        else:
            layer.add("app/%02x/file-%d" % (number % 256, number), os.urandom(int(octets / files * lengths.uniform(0.5, 1.5))))
    digest, length, diff_id = layer.finish()
    os.rename(blobs + "layer", blobs + digest)
    put_image(folder, blobs, [(describe("tar+gzip", digest, length), diff_id)])
    return length, wanted


class Bench:
    def __init__(self, work, reference, wanted, length):
        self.work, self.reference, self.wanted, self.length = work, reference, wanted, length
        self.environment, self.runs = {**environment(work), "SEALIFT_PLAIN_HTTP": "true"}, []

    def cat(self):
        out = os.path.join(self.work, "wanted")
        # Only what is said besides is kept in a log.
        command = ["sh", "-c", 'exec "$@" >"$0"', out, "sealift", "cat", self.reference, WANTED, "-k", "key.pem", "--json"]
        run, told = timed(command, self.work, self.environment)
        with open(out, "rb") as file:
            if file.read() != self.wanted:
                die("sealift cat wrote something else than the file")
        told = json.loads(told.splitlines()[-1])
        if told["layers"][0]["whole"]:
            die("sealift cat read all of the layer: " + told["layers"][0]["whole"])
        return run, told["network"]

    def decrypt(self):
        out = os.path.join(self.work, "opened")
        run, told = timed(["sealift", "decrypt", self.reference, "oci:%s:big" % out, "-k", "key.pem", "-q", "--json"],
                          self.work, self.environment)
        shutil.rmtree(out)
        return run, json.loads(told)["network"]

    def round(self, number):
        for job in ["cat", "decrypt"] if number % 2 == 0 else ["decrypt", "cat"]:
            run, network = getattr(self, job)()
            run.update(job=job, requests=network["requests"], received=network["bytesReceived"],
                       share=network["bytesReceived"] / self.length)
            self.runs.append(run)
            note("%-7s %3d requests  %12d octets  %7.3f %%  %7.3f s  %5.1f MiB" % (
                job, run["requests"], run["received"], 100 * run["share"], run["seconds"], run["peak_rss"] / MIB))


def summary(runs):
    rows = []
    for job in ["cat", "decrypt"]:
        group = [run for run in runs if run["job"] == job]
        row = {"job": job, **spread([run["seconds"] for run in group]), "peak_rss": max(run["peak_rss"] for run in group)}
        for name in ("requests", "received", "share"):
            row[name] = statistics.median(run[name] for run in group)
        if job == "cat":
            # What is transferred is not subject to luck.
            row.update(bar=BAR, verdict=judge.memory_verdict([run["share"] for run in group], BAR))
        rows.append(row)
    return rows


def tell(result):
    print("\n%s, %d cores, files in %s; docker-registry on this machine" % (
        result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["folder"]))
    print(" · ".join(result["versions"].values()))
    print("sealed eStargz layer of %d octets, %d files; one of %d octets is read\n" % (
        result["layer_octets"], result["files"], WANTED_OCTETS))
    print("%-8s  %9s  %-15s  %8s  %12s  %9s  %8s" % ("job", "median s", "min – max", "requests", "octets", "of layer", "peak MiB"))
    for row in result["rows"]:
        print("%-8s  %9.3f  %-15s  %8d  %12d  %7.3f %%  %8.1f" % (
            row["job"], row["median"], "%.3f – %.3f" % (row["min"], row["max"]), row["requests"], row["received"],
            100 * row["share"], row["peak_rss"] / MIB))
    print("\nat most %.1f %% of the layer: %s" % (100 * BAR, result["rows"][0]["verdict"]))


def main():
    options = parse()
    end_as_interrupted()
    binaries("build", "peers", "bench")
    use_two_cores()
    # The image, the registry's copy, what is opened, and room to breathe.
    needed = options.size * 4 * MIB
    parent = place(needed) or die("no room for %d MiB" % (needed // MIB))
    with work_folder(parent) as work, Here() as here:
        step("a layer of %d MiB with %d files" % (options.size, options.files))
        image = os.path.join(work, "image")
        length, wanted = make(image, options.size * MIB, options.files)
        registry = DockerRegistry(here, "here", os.path.join(work, "registry"))
        registry.start()
        try:
            registry.wait()
            reference = "docker://%s/bench/seek:v1" % registry.host
            bench = Bench(work, reference, wanted, length)
            for command in (["keygen", "-q", "-o", "key"],
                            ["encrypt", "-q", "oci:%s:big" % image, reference, "-r", "key.pub.pem"]):
                subprocess.run(["sealift", *command], check=True, cwd=work, env=bench.environment, stdout=subprocess.DEVNULL)
            shutil.rmtree(image)
            step("reading")
            alone = Alone(options.lock)
            for number in range(options.rounds):
                with alone:
                    bench.round(number)
            alone.release()
        finally:
            registry.kill()
    result = {
        "machine": {**machine(), "folder": parent},
        "versions": {"sealift": version(["sealift", "--version"]), "registry": version(["docker-registry", "--version"])},
        "layer_octets": length, "files": options.files, "rows": summary(bench.runs), "runs": bench.runs,
    }
    tell(result)
    write_json(options.output, result)
    if options.check and result["rows"][0]["verdict"] != judge.HOLDS:
        sys.exit("below the bar")


main()
