"""The transfers of scripts/soak, which see."""
import argparse
import collections
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time

from measure import ROOT, die, machine, note, step, version
from regions import DockerRegistry, Regions, links_of, need_root

NAMES = ["fra", "gru", "nrt"]
# Longest segment that may be answered with a reset.
SHORT = 700


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def blobs_of(manifest):
    """Digest and size of everything that a manifest names."""
    return [(blob["digest"], blob["size"]) for blob in manifest["layers"] + [manifest["config"]]]


class Broken(Exception):
    """A transfer that did not do what it should."""


class Image:
    """What is transferred: a name in a layout, and what must come back."""

    def __init__(self, layout, name):
        self.layout, self.name = layout, name
        with open(os.path.join(layout, "index.json")) as file:
            entries = json.load(file)["manifests"]
        self.digest = next(entry["digest"] for entry in entries
                           if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == name)
        self.reference = "oci:%s:%s" % (layout, name)


def check_file(path, digest):
    """The digest of a file is computed here, by nobody who took part in the transfer."""
    try:
        found = sha256(path)
    except FileNotFoundError:
        raise Broken("%s is not there" % digest) from None
    if found != digest:
        raise Broken("%s holds %s" % (digest, found))


def check_registry(registry, repository, digest):
    """The tag names the digest, and every blob is what its name says; returns how many octets were needed."""
    tagged = registry.tag(repository, "v1")
    if tagged != digest:
        raise Broken("the tag names %s, not %s" % (tagged, digest))
    path = registry.blob(digest)
    check_file(path, digest)
    with open(path, "rb") as file:
        octets = file.read()
    blobs = blobs_of(json.loads(octets))
    for blob, size in blobs:
        if not registry.has_layer(repository, blob):
            raise Broken("the repository lacks " + blob)
        check_file(registry.blob(blob), blob)
        if os.path.getsize(registry.blob(blob)) != size:
            raise Broken(blob + " has another size")
    return len(octets) + sum(size for _, size in dict(blobs).items())


def check_layout(layout, name, image):
    """What was pulled and opened is the image that was sealed."""
    opened = Image(layout, name)
    if opened.digest != image.digest:
        raise Broken("opened to %s, not %s" % (opened.digest, image.digest))
    folder = os.path.join(layout, "blobs/sha256")
    path = os.path.join(folder, image.digest.split(":")[1])
    check_file(path, image.digest)
    with open(path) as file:
        manifest = json.load(file)
    for blob, _ in blobs_of(manifest):
        check_file(os.path.join(folder, blob.split(":")[1]), blob)


class Soak:
    def __init__(self, options, work, regions):
        self.options, self.work, self.regions = options, work, regions
        self.registries = {}
        for name in NAMES:
            folder = os.path.join(work, name)
            os.makedirs(folder)
            self.registries[name] = DockerRegistry(regions, name, folder)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.begun = 0
        self.counts = collections.Counter()
        self.seconds = collections.defaultdict(list)
        self.failures = []
        cache = os.path.join(work, "cache")
        self.environment = {"PATH": os.environ["PATH"], "HOME": work, "XDG_CACHE_HOME": cache, "SEALIFT_PLAIN_HTTP": "true"}

    def sealift(self, region, arguments, deadline):
        """Runs sealift in a region; returns its result, raises what went wrong."""
        try:
            run = subprocess.run(self.regions.within(region, ["sealift"] + arguments + ["--json"]),
                                 capture_output=True, text=True, timeout=deadline, env=self.environment, cwd=self.work)
        except subprocess.TimeoutExpired:
            raise Broken("not done after %d s" % deadline) from None
        if run.returncode != 0:
            raise Broken("exit %d: %s" % (run.returncode, (run.stderr or run.stdout).strip()))
        return json.loads(run.stdout)

    def transfer(self, kind, region, arguments, deadline, check):
        """One transfer, counted; returns its result, or nothing if it failed."""
        began = time.monotonic()
        try:
            result = self.sealift(region, arguments, deadline)
            took = time.monotonic() - began
            sent, received = check(result)
        except (Broken, OSError, ValueError, KeyError) as error:
            with self.lock:
                self.counts["failed"] += 1
                self.failures.append({"kind": kind, "region": region, "arguments": arguments, "error": str(error),
                                      "seconds": round(time.monotonic() - began, 1)})
            note("FAILED %s from %s: %s" % (kind, region, error))
            return None
        network = result["network"]
        with self.lock:
            self.seconds[kind].append(took)
            self.counts["succeeded"] += 1
            self.counts["requests"] += network["requests"]
            self.counts["retries"] += network["retries"]
            self.counts["transfers_with_retries"] += network["retries"] > 0
            self.counts["octets_sent"] += network["bytesSent"]
            self.counts["octets_received"] += network["bytesReceived"]
            # A blob that is sent again is counted; what an answer says beside is small.
            self.counts["octets_sent_again"] += max(0, network["bytesSent"] - sent)
            self.counts["octets_received_again"] += max(0, network["bytesReceived"] - received) if received else 0
            if self.counts["succeeded"] % 1000 == 0:
                note("%d transfers, %d failed, %d retries" % (self.counts["succeeded"], self.counts["failed"], self.counts["retries"]))
        return result

    def chain(self, number, image, dice, deadline):
        """Seals to a region, copies to another, opens from there: three transfers, each run somewhere."""
        first, second = dice.sample(NAMES, 2)
        repository = "soak/%s-%d" % (image.name, number)
        there = "docker://%s/%s:v1" % (self.registries[first].host, repository)
        beyond = "docker://%s/%s:v1" % (self.registries[second].host, repository)
        cipher = dice.choice(["chunked", "ocicrypt"])

        def pushed(registry):
            def check(result):
                needed = check_registry(self.registries[registry], repository, result["digest"])
                return needed, needed if result["sourceDigest"] == result["digest"] else 0
            return check

        if not self.transfer("push", dice.choice(NAMES), ["encrypt", image.reference, there, "-r", "key.pub.pem", "--cipher", cipher],
                             deadline, pushed(first)):
            return
        if not self.transfer("copy", dice.choice(NAMES), ["copy", there, beyond], deadline, pushed(second)):
            return
        layout = os.path.join(self.work, "opened-%s-%d" % (image.name, number))

        def opened(result):
            check_layout(layout, "v1", image)
            with open(self.registries[second].blob(result["sourceDigest"]), "rb") as file:
                manifest = file.read()
            return 0, len(manifest) + sum(size for _, size in dict(blobs_of(json.loads(manifest))).items())

        self.transfer("pull", dice.choice(NAMES), ["decrypt", beyond, "oci:%s:v1" % layout, "-k", "key.pem"], deadline, opened)
        shutil.rmtree(layout, ignore_errors=True)

    def work_off(self, jobs):
        while True:
            with self.lock:
                job = next(jobs, None)
            if job is None:
                return
            number, image, deadline = job
            # What a chain does depends on its number alone, not on which thread came first.
            self.chain(number, image, random.Random("%d %d" % (self.options.seed, number)), deadline)

    def restart(self):
        """Kills a registry in the middle of its work, now and then, and starts it again a little later."""
        dice = random.Random(self.options.seed)
        while not self.over.wait(dice.expovariate(1 / self.options.restart_every)):
            registry = self.registries[dice.choice(NAMES)]
            registry.kill()
            time.sleep(dice.uniform(0.2, 3))
            registry.start()
            self.counts["restarts"] += 1

    def reset_connections(self):
        """Every registry's host answers some segments with a reset, as a firewall that has forgotten the connection does.

        Only short ones, which are requests and acknowledgements: docker-registry 2.8 loses an upload of which a request
        breaks, so what is long would never arrive. Uploads break off when a registry is killed.
        """
        for name in NAMES:
            rule = ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "5000", "-m", "length",
                    "--length", "0:%d" % SHORT, "-m", "statistic",
                    "--mode", "random", "--probability", str(self.options.resets / 100), "-j", "REJECT", "--reject-with", "tcp-reset"]
            subprocess.run(self.regions.within(name, rule), check=True)

    def resets_seen(self):
        seen = 0
        for name in NAMES:
            listed = subprocess.run(self.regions.within(name, ["iptables", "-nvxL", "INPUT"]), capture_output=True, text=True, check=True)
            seen += sum(int(line.split()[0]) for line in listed.stdout.splitlines() if "REJECT" in line)
        return seen


def upper_bound(failures, transfers, confidence=0.95):
    """Highest failure rate at which this few failures are still as likely as 1 - confidence (Clopper and Pearson)."""
    def as_few(rate):
        return sum(math.comb(transfers, k) * rate ** k * (1 - rate) ** (transfers - k) for k in range(failures + 1))

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if as_few(middle) > 1 - confidence else (low, middle)
    return high


def percentiles(values):
    values = sorted(values)
    return {"n": len(values), "p50": round(values[len(values) // 2], 3), "p99": round(values[len(values) * 99 // 100], 3),
            "max": round(values[-1], 3)}


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak", add_help=False)
    parser.add_argument("--transfers", type=int, required=True)
    parser.add_argument("--large", type=int, required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--resets", type=float, required=True)
    parser.add_argument("--restart-every", type=float, required=True)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    need_root()
    work = tempfile.mkdtemp(prefix="sealift-soak.", dir="/dev/shm" if options.transfers < 20000 and os.path.isdir("/dev/shm") else None)
    try:
        run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(options, work):
    step("images")
    script = os.path.join(ROOT, "scripts/peers/")
    subprocess.run([script + "tiny-image", os.path.join(work, "tiny")], check=True, stdout=2)
    images = [Image(os.path.join(work, "tiny"), "tiny")]
    if options.large:
        subprocess.run([script + "real-image", os.path.join(work, "real")], check=True, stdout=2)
        images.append(Image(os.path.join(work, "real"), "debian"))
    subprocess.run(["sealift", "keygen", "-q", "-o", os.path.join(work, "key")], check=True, stdout=subprocess.DEVNULL)

    chains = -(-options.transfers // 3)
    large = -(-options.large // 3)
    jobs = [(number, images[0], options.deadline) for number in range(chains)]
    # Spread over the run, because what is large meets more faults.
    for number in range(large):
        jobs.insert(number * len(jobs) // large, (number, images[-1], options.deadline * 5))
    with Regions(NAMES, links_of(script + "wan-three-regions-lossy.txt"), work, options.seed) as regions:
        soak = Soak(options, work, regions)
        for registry in soak.registries.values():
            registry.start()
        for registry in soak.registries.values():
            registry.wait()
        soak.reset_connections()
        step("%d small and %d large transfers, %d at a time" % (chains * 3, large * 3, options.parallel))
        began = time.monotonic()
        source = iter(jobs)
        workers = [threading.Thread(target=soak.work_off, args=(source,)) for _ in range(options.parallel)]
        restarter = threading.Thread(target=soak.restart)
        for thread in workers + [restarter]:
            thread.start()
        for thread in workers:
            thread.join()
        soak.over.set()
        restarter.join()
        took = time.monotonic() - began
        resets = soak.resets_seen()
        for registry in soak.registries.values():
            registry.kill()
    tell(options, soak, took, resets)


def tell(options, soak, took, resets):
    counts = soak.counts
    succeeded, failed = counts["succeeded"], counts["failed"]
    if succeeded == 0:
        die("nothing was transferred")
    bound = upper_bound(failed, succeeded + failed)
    result = {
        "machine": machine(), "sealift": version(["sealift", "--version"]), "seed": options.seed, "parallel": options.parallel,
        "links": links_of(os.path.join(ROOT, "scripts/peers/wan-three-regions-lossy.txt")), "resets_percent_of_short_segments": options.resets,
        "transfers": succeeded + failed, "succeeded": succeeded, "failed": failed, "success_at_least_95_percent_confidence": 1 - bound,
        "requests": counts["requests"], "retries": counts["retries"], "transfers_with_retries": counts["transfers_with_retries"],
        "registry_kills": counts["restarts"], "connections_reset": resets,
        "octets": {name: counts["octets_" + name] for name in ["sent", "received", "sent_again", "received_again"]},
        "seconds": {kind: percentiles(values) for kind, values in sorted(soak.seconds.items())},
        "took_seconds": round(took), "failures": soak.failures,
    }
    os.makedirs(os.path.dirname(options.output), exist_ok=True)
    with open(options.output, "w") as file:
        json.dump(result, file, indent=1)
    print("%d transfers, %d failed: at least %.4f %% succeed, at 95 %% confidence" % (succeeded + failed, failed, 100 * (1 - bound)))
    print("%d requests, %d retries in %d transfers; %d connections reset, registries killed %d times"
          % (counts["requests"], counts["retries"], counts["transfers_with_retries"], resets, counts["restarts"]))
    print("%d octets sent, %d of them again; %d received, %d of them again"
          % tuple(counts["octets_" + name] for name in ["sent", "sent_again", "received", "received_again"]))
    for kind, values in result["seconds"].items():
        print("%s: p50 %.1f s, p99 %.1f s, max %.1f s" % (kind, values["p50"], values["p99"], values["max"]))
    note("written to " + options.output)
    if failed:
        die("%d transfers failed" % failed)


main()
