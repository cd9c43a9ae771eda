"""How the cost of sealing and opening grows with the work: layers of 1 MiB to 16 GiB, and 1 to 128 layers of 8 MiB.

Sources are holes but for their beginning, so that they take no room: neither digest nor cipher cares what it reads. What is opened
must have the digest of what was sealed; every blob is read for that once per case. Prints a Markdown table and writes JSON.

Two things must hold, or the script fails. Time is linear: beyond what the smallest case of a row of cases takes, no octet of a large
case costs more than one of a smaller does. Noise is the spread of the runs, with 5 % for what a machine drifts from case to case: the
fastest run of the one is compared with the slowest of the other. That is asked from 256 MiB on (smaller ones fit into caches). And
memory is flat: the peak does not rise by more than 2 MiB from 16 MiB, or two layers, on.

A size that neither /dev/shm nor $TMPDIR has room for (a little more than twice the size; a quarter of what is free stays free) is
left out, and that is said. On a disk the disk is measured too, so cases are compared where they lie in the same place.
Uses the binaries in $SEALIFT_BIN_DIR if that is set, else builds release ones.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys

from layout import Layout, make_hollow
from measure import (GIB, MIB, ROOT, Alone, binaries, die, end_as_interrupted, environment, machine, note, place, spread, step,
                     timed, use_two_cores, version, work_folder, write_json)

SIZES = [1, 16, 256, 1024, 4096, 16384]
COUNTS, COUNTED = [1, 2, 8, 32, 128], 8
# From where on cases are compared in time, in MiB, and in memory, in MiB and layers.
LINEAR_FROM, FLAT_FROM = 256, {"size": 16, "count": 2}
DRIFT, FLAT = 0.05, 2 * MIB
# Larger cases are run less often: more MiB than this, at most so often.
LARGE, LARGE_ROUNDS = 1024, 3


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="MIB",
                        help="leave out images that are larger (default %d)" % SIZES[-1])
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="runs of each case (default 5; at most %d over %d MiB)" % (LARGE_ROUNDS, LARGE))
    parser.add_argument("--lock", metavar="FILE", help="hold the lock of this file (flock) while a run is timed")
    parser.add_argument("--output", default=os.path.join(ROOT, "target/bench/cost.json"), metavar="FILE",
                        help="where the result is written as JSON (default target/bench/cost.json)")
    return parser.parse_args()


def measure(options, series, layers, mib):
    """One case: its rows, or none where there is no room."""
    total = layers * mib
    name = "%d × %d MiB" % (layers, mib)
    parent = place(int(2.05 * total * MIB) + 16 * MIB)
    if not parent:
        note("no room for %s, sealed and opened: left out" % name)
        return []
    step("%s in %s" % (name, parent))
    runs = {"seal": [], "open": []}
    with work_folder(parent) as work:
        image = make_hollow(os.path.join(work, "image"), mib * MIB, layers)
        variables = environment(work)
        subprocess.run(["sealift", "keygen", "-q", "-o", os.path.join(work, "key")], check=True, stdout=subprocess.DEVNULL, env=variables)
        seal = ["sealift", "encrypt", "-q", "oci:image:big", "oci:sealed:big", "-r", "key.pub.pem", "--jobs", "2"]
        unseal = ["sealift", "decrypt", "-q", "oci:sealed:big", "oci:opened:big", "-k", "key.pem", "--jobs", "2"]
        alone = Alone(options.lock)
        for number in range(options.rounds if total <= LARGE else min(options.rounds, LARGE_ROUNDS)):
            for job, command in (("seal", seal), ("open", unseal)):
                with alone:
                    runs[job].append(timed(command, work, variables)[0])
            if number == 0:
                alone.release()
                Layout(os.path.join(work, "opened")).assert_same(image)
            for folder in ("sealed", "opened"):
                shutil.rmtree(os.path.join(work, folder))
        alone.release()
    rows = []
    for job, measured in runs.items():
        seconds = [run["seconds"] for run in measured]
        row = {"series": series, "layers": layers, "layer_mib": mib, "job": job, "folder": parent, **spread(seconds),
               "gib_per_second": round(total * MIB / GIB / statistics.median(seconds), 4),
               "cpu_seconds": statistics.median(run["cpu_seconds"] for run in measured),
               "peak_rss": max(run["peak_rss"] for run in measured), "checked": image.digest, "seconds": seconds}
        note("%s: %.3f s, %.1f MiB" % (job, row["median"], row["peak_rss"] / MIB))
        rows.append(row)
    return rows


def size_of(row):
    return row["layers"] * row["layer_mib"]


def name_of(row):
    return "%s, %d × %d MiB" % (row["job"], row["layers"], row["layer_mib"])


def missed(rows):
    """What does not grow as it should, of the rows of one job in one series, smallest first; and how often times were compared."""
    found, compared = [], 0
    least = rows[0]
    for index, large in enumerate(rows):
        for small in rows[1:index]:
            # From one disk to another, or to memory, nothing is told.
            if size_of(small) < LINEAR_FROM and large["series"] == "size" or len({row["folder"] for row in (least, small, large)}) > 1:
                continue
            slope_small, slope_large = ((row[end] - least["median"]) / (size_of(row) - size_of(least))
                                        for row, end in ((small, "max"), (large, "min")))
            compared += 1
            if slope_large > slope_small * (1 + DRIFT):
                found.append("%s: %.3g ms for another MiB, %.3g at %d MiB" % (
                    name_of(large), slope_large * 1000, slope_small * 1000, size_of(small)))
    flat = [row for row in rows if (row["layers"] if row["series"] == "count" else row["layer_mib"]) >= FLAT_FROM[row["series"]]]
    for row in flat[1:]:
        if row["peak_rss"] > flat[0]["peak_rss"] + FLAT:
            found.append("%s: %.1f MiB of memory, %.1f at %d MiB" % (
                name_of(row), row["peak_rss"] / MIB, flat[0]["peak_rss"] / MIB, size_of(flat[0])))
    return found, compared


def tell(result):
    print("\n%s, %d cores; %s; medians\n" % (result["machine"]["cpu"], result["machine"]["cores"], result["versions"]["sealift"]))
    print("| layers | job | seconds | min – max | GiB/s | peak memory, MiB | where |")
    print("|---|---|---|---|---|---|---|")
    for row in result["rows"]:
        print("| %d × %d MiB | %s | %.3f | %.3f – %.3f (%d) | %.2f | %.1f | %s |" % (
            row["layers"], row["layer_mib"], row["job"], row["median"], row["min"], row["max"], row["runs"], row["gib_per_second"],
            row["peak_rss"] / MIB, row["folder"]))
    print()
    for text in result["missed"]:
        print("not as it should: " + text)
    if not result["missed"]:
        print("memory is flat; " + ("time is linear, by %d comparisons" % result["compared"] if result["compared"] else
                                    "no two cases are large enough to compare their times"))


def main():
    options = parse()
    end_as_interrupted()
    binaries("build", "bench")
    use_two_cores()
    cases = [("size", 1, mib) for mib in SIZES] + [("count", count, COUNTED) for count in COUNTS]
    rows = [row for series, layers, mib in cases if layers * mib <= options.most for row in measure(options, series, layers, mib)]
    if not rows:
        die("nothing was measured")
    groups = {}
    for row in rows:
        groups.setdefault((row["series"], row["job"]), []).append(row)
    judged = [missed(group) for group in groups.values()]
    result = {"machine": machine(), "versions": {"sealift": version(["sealift", "--version"])}, "rows": rows,
              "missed": [text for found, _ in judged for text in found], "compared": sum(compared for _, compared in judged)}
    tell(result)
    write_json(options.output, result)
    if result["missed"]:
        sys.exit(1)


main()
