"""Pushes and pulls between OCI layouts and docker-registry: sealift beside skopeo, taking turns in one run.

Cases are a link, an image and an operation:

  loopback   the registry is on this machine
  wan        it is far away: 50 Mbit/s, a round trip of 200 ms, 1 % of all packets lost (scripts/peers/tunwan.py)

  one        one layer of --size MiB
  twenty     the same size in twenty layers
  small      forty layers of 10 KiB, where latency is all there is

  push, pull `sealift copy` beside `skopeo copy`
  seal       `sealift encrypt` straight to the registry, beside `sealift copy` of the same image in the clear

Every run has a fresh repository or a fresh layout, and what it leaves is checked by its digest. skopeo gets an empty cache each
time, so that it does the work. Prints medians, spreads, ratios, peak memory, and what is below the bar: slower than skopeo beyond
the spread, not clearly faster where latency dominates, more memory than 24 MiB and 2 MiB for every parallel blob.

In full it takes about two hours, nearly all of it on the far link: --quick takes a quarter of one.
Needs root and /dev/net/tun. Uses the binaries in $SEALIFT_BIN_DIR if that is set, else builds release ones.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess

from measure import (MIB, ROOT, binaries, die, end_as_interrupted, environment, machine, note, package_version, place, spread, step,
                     timed, version, work_folder, write_json)
from random_image import make
from regions import DockerRegistry, Here, Regions, need_root

# One way in ms, Mbit/s, loss in %.
WAN = "near,far,100,50,1"
LINKS, IMAGES, OPERATIONS = ["loopback", "wan"], ["one", "twenty", "small"], ["push", "pull", "seal"]
SMALL = {"layers": 40, "octets": 10 << 10}
# What memory may be used, and how much faster "clearly" is.
RSS_BASE, RSS_PER_BLOB, CLEARLY = 24 * MIB, 2 * MIB, 1.2
# Blobs at a time where --jobs says nothing: the default when an end is a registry.
DEFAULT_JOBS = 6
# Gives a program an empty folder where skopeo keeps what it knows of blobs. sealift gets the same, for the few milliseconds
# that it takes.
NO_CACHE = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /var/lib/containers/cache && exec "$@"', "sh"]


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench registry", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="size of the large images (default 1024)")
    parser.add_argument("--wan-size", type=int, metavar="MIB", help="the same on the far link (default: that of --size)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each program on loopback (default 5)")
    parser.add_argument("--wan-rounds", type=int, default=3, metavar="N", help="the same on the far link (default 3)")
    parser.add_argument("--quick", action="store_true", help="64 MiB on the far link")
    parser.add_argument("--only", action="append", default=[], metavar="WORD[,WORD]",
                        help="only these links, images or operations, as in --only wan,small,push; may be repeated")
    parser.add_argument("--jobs", type=int, metavar="N", help="how many layers sealift has under way (default: its own choice)")
    parser.add_argument("--output", default=os.path.join(ROOT, "target/bench/registry.json"), metavar="FILE",
                        help="where the result is written as JSON (default target/bench/registry.json)")
    options = parser.parse_args()
    words = {word for only in options.only for word in only.split(",")}
    unknown = words - set(LINKS + IMAGES + OPERATIONS)
    if unknown:
        parser.error("no link, image or operation: %s" % ", ".join(sorted(unknown)))
    options.links, options.images, options.operations = (
        [name for name in names if name in words or not words & set(names)] for names in (LINKS, IMAGES, OPERATIONS))
    options.wan_size = options.wan_size or (64 if options.quick else options.size)
    return options


class Bench:
    """One link: a registry at its far end, programs at its near one."""

    def __init__(self, options, link, regions, near, far, work):
        self.options, self.link, self.regions, self.near, self.far, self.work = options, link, regions, near, far, work
        self.registry = DockerRegistry(regions, far, os.path.join(work, link))
        self.environment = {**environment(work), "SEALIFT_PLAIN_HTTP": "true"}
        self.repositories, self.runs = 0, []

    def reference(self, repository):
        return "docker://%s/%s:v1" % (self.registry.host, repository)

    def command(self, program, operation, repository, image, layout):
        """The command line of one run."""
        here = "oci:%s:big" % (layout if operation == "pull" else image)
        ends = [self.reference(repository), here] if operation == "pull" else [here, self.reference(repository)]
        if program == "skopeo":
            insecure = "--src-tls-verify=false" if operation == "pull" else "--dest-tls-verify=false"
            return ["skopeo", "--insecure-policy", "copy", "-q", insecure] + ends
        jobs = ["--jobs", str(self.options.jobs)] if self.options.jobs else []
        verb = ["encrypt", "-r", os.path.join(self.work, "key.pub.pem")] if operation == "seal" else ["copy"]
        return ["sealift"] + verb + ends + ["-q", "--json"] + jobs

    def run(self, command):
        """Runs a command at the near end; returns what it cost."""
        run, told = timed(command, self.work, self.environment, self.regions.within(self.near, NO_CACHE))
        if command[0] == "sealift":
            network = json.loads(told)["network"]
            run.update(requests=network["requests"], retries=network["retries"])
        return run

    def seed(self, image):
        """Puts an image into the registry from beside it, for pulls."""
        subprocess.run(self.regions.within(self.far, ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                                                      "oci:%s:big" % image, self.reference("bench/seed")]),
                       check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def measure(self, name, image, operation, program, digest):
        """One run of one program, checked and recorded."""
        layout = os.path.join(self.work, "pulled")
        self.repositories += 1
        repository = "bench/seed" if operation == "pull" else "bench/%s-%d" % (name, self.repositories)
        run = self.run(self.command(program, operation, repository, image, layout))
        if operation == "pull":
            with open(os.path.join(layout, "index.json")) as file:
                found = json.load(file)["manifests"][0]["digest"]
        else:
            found = self.registry.tag(repository, "v1")
        # What is sealed has a digest of its own.
        if operation != "seal" and found != digest:
            die("%s %s left %s, not %s" % (program, operation, found, digest))
        shutil.rmtree(layout, ignore_errors=True)
        shutil.rmtree(self.environment["XDG_CACHE_HOME"], ignore_errors=True)
        if operation != "pull":
            self.registry.clear()
        run.update(link=self.link, image=name, operation=operation, program=program)
        self.runs.append(run)
        note("%-8s %-6s %-4s %-7s %8.2f s  %6.1f MiB" % (self.link, name, operation, program, run["seconds"], run["peak_rss"] / MIB))

    def image(self, name, image, digest, rounds):
        """All operations on one image."""
        turns = [(operation, program) for operation in self.options.operations if operation != "pull"
                 for program in (["sealift"] if operation == "seal" else ["sealift", "skopeo"])]
        for number in range(rounds):
            # Who begins changes, so that nobody has what the other left warm.
            for operation, program in turns if number % 2 == 0 else turns[::-1]:
                self.measure(name, image, operation, program, digest)
        if "pull" not in self.options.operations:
            return
        self.seed(image)
        for number in range(rounds):
            for program in ["sealift", "skopeo"] if number % 2 == 0 else ["skopeo", "sealift"]:
                self.measure(name, image, "pull", program, digest)
        self.registry.clear()


def bench(options, link, work):
    """All cases of one link."""
    size, rounds = (options.wan_size, options.wan_rounds) if link == "wan" else (options.size, options.rounds)
    regions = Regions(["near", "far"], [WAN], work) if link == "wan" else Here()
    near, far = ("near", "far") if link == "wan" else ("here", "here")
    with regions:
        this = Bench(options, link, regions, near, far, work)
        this.registry.start()
        try:
            this.registry.wait()
            for name in options.images:
                step("%s, %s" % (link, "40 layers of 10 KiB" if name == "small" else
                                 "%d MiB in %s" % (size, "one layer" if name == "one" else "twenty layers")))
                image = os.path.join(work, "image")
                layers = {"one": 1, "twenty": 20, "small": SMALL["layers"]}[name]
                digest = make(image, SMALL["octets"] if name == "small" else size * MIB // layers, layers)
                this.image(name, image, digest, rounds)
                shutil.rmtree(image)
        finally:
            this.registry.kill()
    return this.runs


def summary(runs):
    """Medians and spreads of every case, and its ratios."""
    cases = {}
    for run in runs:
        cases.setdefault((run["link"], run["image"], run["operation"], run["program"]), []).append(run)
    rows = []
    for (link, image, operation, program), group in cases.items():
        seconds = [run["seconds"] for run in group]
        row = {"link": link, "image": image, "operation": operation, "program": program, **spread(seconds),
               "cpu_seconds": statistics.median(run["cpu_seconds"] for run in group),
               "peak_rss": max(run["peak_rss"] for run in group)}
        if program == "sealift":
            row.update(requests=statistics.median(run["requests"] for run in group), retries=sum(run["retries"] for run in group))
        rows.append(row)
    others = {(row["link"], row["image"], row["operation"], row["program"]): row for row in rows}
    for row in rows:
        than = {"push": ("push", "skopeo"), "pull": ("pull", "skopeo"), "seal": ("push", "sealift")}[row["operation"]]
        other = others.get((row["link"], row["image"], *than))
        if row["program"] == "sealift" and other:
            row["than"] = "sealift copy" if row["operation"] == "seal" else "skopeo"
            row["times_as_fast"] = round(other["median"] / row["median"], 3)
            row["is_slower"] = row["min"] > other["median"]
    return rows


def verdicts(rows, jobs):
    """What of the bar is not reached."""
    layers = {"one": 1, "twenty": 20, "small": SMALL["layers"]}
    missed = []
    for row in rows:
        if row["program"] != "sealift":
            continue
        what = "%s %s %s" % (row["link"], row["image"], row["operation"])
        allowed = RSS_BASE + RSS_PER_BLOB * min(jobs, layers[row["image"]])
        if row["peak_rss"] > allowed:
            missed.append("%s: %.1f MiB of memory, %.0f are allowed" % (what, row["peak_rss"] / MIB, allowed / MIB))
        if row.get("than") != "skopeo":
            continue
        is_latency = (row["link"], row["image"]) == ("wan", "small")
        if row["is_slower"] or is_latency and row["times_as_fast"] < CLEARLY:
            missed.append("%s: %.2f times as fast as skopeo%s" % (what, row["times_as_fast"], ", %.1f are wanted" % CLEARLY if is_latency else ""))
    return missed


def tell(result):
    print("\n%s, %d cores, files in %s; docker-registry by HTTP, far link 50 Mbit/s, RTT 200 ms, 1 %% loss, %s"
          % (result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["folder"], result["machine"]["congestion_control"]))
    print(" · ".join(result["versions"].values()))
    print("large images: %(loopback)d MiB on loopback, %(wan)d MiB on the far link\n" % result["size_mib"])
    print("%-8s  %-6s  %-4s  %-7s  %9s  %-19s  %7s  %9s  %8s" % ("link", "image", "", "", "median s", "min – max", "CPU s", "peak MiB", "requests"))
    for row in result["rows"]:
        requests = "%8d" % row["requests"] if "requests" in row else ""
        print("%-8s  %-6s  %-4s  %-7s  %9.2f  %-19s  %7.2f  %9.1f  %s" % (
            row["link"], row["image"], row["operation"], row["program"], row["median"],
            "%.2f – %.2f" % (row["min"], row["max"]), row["cpu_seconds"], row["peak_rss"] / MIB, requests))
    print()
    for row in result["rows"]:
        if "than" in row:
            print("%-8s  %-6s  %-4s  %5.2f times as fast as %s" % (row["link"], row["image"], row["operation"], row["times_as_fast"], row["than"]))
    print()
    for text in result["missed"]:
        print("below the bar: " + text)
    if not result["missed"]:
        print("nothing is below the bar")


def main():
    options = parse()
    need_root()
    end_as_interrupted()
    binaries("build", "peers", "bench")
    os.makedirs("/var/lib/containers/cache", exist_ok=True)
    # The image, the registry's copy, what is pulled, and room to breathe.
    needed = max(options.size, options.wan_size) * 4 * MIB
    parent = place(needed) or die("no room for %d MiB" % (needed // MIB))
    with work_folder(parent) as work:
        subprocess.run(["sealift", "keygen", "-q", "-o", os.path.join(work, "key")], check=True, stdout=subprocess.DEVNULL)
        runs = [run for link in options.links for run in bench(options, link, work)]
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        congestion_control = file.read().strip()
    rows = summary(runs)
    result = {
        "machine": {**machine(), "folder": parent, "congestion_control": congestion_control},
        "versions": {"sealift": version(["sealift", "--version"]), "skopeo": package_version("skopeo"),
                     "registry": version(["docker-registry", "--version"])},
        "wan": WAN, "size_mib": {"loopback": options.size, "wan": options.wan_size}, "jobs": options.jobs,
        "rows": rows, "missed": verdicts(rows, options.jobs or DEFAULT_JOBS), "runs": runs,
    }
    tell(result)
    write_json(options.output, result)


main()
