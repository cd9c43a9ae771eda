"""Sealing and opening on a file system on disk, beside a plain copy of the same blobs: what is lost to sealing.

The copy is `cp` with an fsync of every file; sealift does the same by itself. Before each run its source is dropped from the page
cache, by name, so that nothing else on the machine loses its own; where the kernel counts what the disk read, it is said whether
that was all of it. Jobs take turns. Raw SHA-256 of the same files, out of the page cache, is measured beside them. Where that takes
longer than the copy, the digest was the limit; else the disk, if it was busy for three quarters of the time or the job took no
longer than the bar allows; else neither was.

The loss is the share of the copy's octets per second that is missing: 1 - copy / job. The bar is at most 15 %; a miss counts where it
is more than noise, as in scripts/bench --check.

Images are one layer of --size, and four of half of it. Works below --folder, with four times the size of the larger image.
Uses the binaries in $SEALIFT_BIN_DIR if that is set, else builds release ones.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import judge
from layout import Layout
from measure import (MIB, ROOT, Alone, binaries, die, end_as_interrupted, environment, machine, note, room, spread, step, timed,
                     use_two_cores, version, work_folder, write_json)
from random_image import make

IMAGES = {"one": (1, 1), "four": (4, 0.5)}
LOSS, BUSY = 0.15, 0.75
SECTOR = 512
SHA = ["bash", "-o", "pipefail", "-c", 'printf "%s\\n" "$@" | xargs -P 2 -n 1 openssl dgst -sha256 -r', "bash"]
COPY = ["sh", "-c", 'cp -r "$1" "$2" && find "$2" -type f -exec sync {} +', "sh"]
ENCRYPT = ["sealift", "encrypt", "-q", "oci:image:big", "oci:out:big", "-r", "key.pub.pem", "--jobs", "2"]
# What is read, what is run.
JOBS = {
    "copy": ("image", COPY + ["image", "out"]),
    "seal": ("image", ENCRYPT),
    "seal trusted": ("image", ENCRYPT + ["--no-verify-source"]),
    "open": ("sealed", ["sealift", "decrypt", "-q", "oci:sealed:big", "oci:out:big", "-k", "key.pem", "--jobs", "2"]),
}


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench storage", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="size of the one layer (default 1024)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="runs of each job (default 7)")
    parser.add_argument("--check", action="store_true", help="fail if more than the bar is lost, beyond noise")
    parser.add_argument("--folder", default=tempfile.gettempdir(), metavar="DIR", help="on the disk in question (default $TMPDIR)")
    parser.add_argument("--lock", metavar="FILE", help="hold the lock of this file (flock) while a round is timed")
    parser.add_argument("--output", default=os.path.join(ROOT, "target/bench/storage.json"), metavar="FILE",
                        help="where the result is written as JSON (default target/bench/storage.json)")
    return parser.parse_args()


class Disk:
    """The block device behind a folder, if the kernel counts what it does."""

    def __init__(self, folder):
        device = os.stat(folder).st_dev
        self.number = [str(os.major(device)), str(os.minor(device))]
        fields = self.fields()
        self.name = fields[2] if fields else None

    def fields(self):
        with open("/proc/diskstats") as file:
            return next((line.split() for line in file if line.split()[:2] == self.number), None)

    def counts(self):
        """Requests, octets read, octets written, milliseconds busy, so far (Documentation/admin-guide/iostats.rst)."""
        reads, _, read, _, writes, _, written, _, _, busy = map(int, self.fields()[3:13])
        return reads + writes, read * SECTOR, written * SECTOR, busy


def drop_cache(folder):
    """Has the kernel forget what it holds of the files of a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                # Only what is on disk can be dropped.
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def run_job(name, work, variables, disk):
    """One timed run, with what the disk did."""
    source, command = JOBS[name]
    drop_cache(os.path.join(work, source))
    before = disk.counts() if disk.name else None
    run, _ = timed(command, work, variables)
    if before:
        requests, read, written, busy = (now - then for now, then in zip(disk.counts(), before))
        run.update(iops=round(requests / run["seconds"]), octets_read=read, octets_written=written,
                   busy=round(min(1, busy / 1000 / run["seconds"]), 3))
    return run


def measure(options, name, disk):
    """One image; returns its rows."""
    layers, share = IMAGES[name]
    mib = options.size * share
    step("%d × %g MiB in %s" % (layers, mib, options.folder))
    runs, hashed, checked = {job: [] for job in JOBS}, [], {}
    with work_folder(options.folder) as work:
        make(os.path.join(work, "image"), int(mib * MIB), layers)
        image, variables = Layout(os.path.join(work, "image")), environment(work)
        octets, out = image.octets(), os.path.join(work, "out")
        for command in (["keygen", "-q", "-o", "key"], ["encrypt", "-q", "oci:image:big", "oci:sealed:big", "-r", "key.pub.pem"]):
            subprocess.run(["sealift"] + command, check=True, stdout=subprocess.DEVNULL, env=variables, cwd=work)
        # Everybody begins with a disk that has nothing left to write.
        os.sync()
        alone = Alone(options.lock)
        for number in range(options.rounds):
            with alone:
                for job in list(JOBS) if number % 2 == 0 else list(JOBS)[::-1]:
                    runs[job].append(run_job(job, work, variables, disk))
                    if number == 0:
                        checked[job] = check(job, work, variables, image)
                    shutil.rmtree(out)
                for file in image.files():
                    shutil.copyfile(file, "/dev/null")
                hashed.append(timed(SHA + image.files(), work, variables)[0]["seconds"])
            last = ["%s %.2f s" % (job, runs[job][-1]["seconds"]) for job in JOBS]
            note("round %d: SHA-256 %.2f s, %s" % (number + 1, hashed[-1], ", ".join(last)))
        alone.release()
    copied = statistics.median(run["seconds"] for run in runs["copy"])
    rows = []
    for job, measured in runs.items():
        seconds = [run["seconds"] for run in measured]
        row = {"image": name, "layers": layers, "layer_mib": mib, "job": job, **spread(seconds),
               "octets_per_second": round(octets / statistics.median(seconds)), "checked": checked[job], "seconds": seconds,
               "cpu_seconds": statistics.median(run["cpu_seconds"] for run in measured)}
        if disk.name:
            row.update({key: statistics.median(run[key] for run in measured) for key in ("iops", "octets_read", "octets_written", "busy")})
            row["is_cold"] = row["octets_read"] >= 0.95 * octets
        if job != "copy":
            losses = [round(1 - copy["seconds"] / run["seconds"], 4) for copy, run in zip(runs["copy"], measured)]
            row.update(loss=statistics.median(losses), losses=losses, bar=LOSS, verdict=judge.verdict(losses, LOSS, at_most=True),
                       sha256_seconds=statistics.median(hashed), limit=limit_of(row, copied, statistics.median(hashed)))
        rows.append(row)
    return rows


def limit_of(row, copied, hashed):
    """What a job could not be faster than."""
    if hashed > copied:
        return "digest"
    return "disk" if row.get("busy", 0) >= BUSY or row["median"] * (1 - LOSS) <= copied else "neither"


def check(job, work, variables, image):
    """What a job left is the image, or opens to it."""
    out = os.path.join(work, "out")
    if job.startswith("seal"):
        back = os.path.join(work, "back")
        subprocess.run(["sealift", "decrypt", "-q", "oci:out:big", "oci:back:big", "-k", "key.pem"], check=True, stdout=subprocess.DEVNULL,
                       env=variables, cwd=work)
        Layout(back).assert_same(image)
        shutil.rmtree(back)
        os.sync()
    else:
        Layout(out).assert_same(image)
    return image.digest


def tell(result):
    disk = result["machine"]["disk"] or "a device that the kernel does not count"
    print("\n%s, %d cores; %s on %s; %s; medians of %d rounds\n" % (
        result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["folder"], disk, result["versions"]["sealift"],
        result["rounds"]))
    print("%-14s  %-12s  %8s  %-17s  %7s  %7s  %6s  %6s  %-7s" % (
        "layers", "job", "median s", "min – max", "MiB/s", "IOPS", "busy", "loss", "limit"))
    for row in result["rows"]:
        counted = "%7d  %5.0f%%" % (row["iops"], row["busy"] * 100) if "iops" in row else "%7s  %6s" % ("", "")
        loss = "%5.1f%%  %-7s  %s" % (row["loss"] * 100, row["limit"], row["verdict"]) if "loss" in row else ""
        print("%-14s  %-12s  %8.3f  %-17s  %7.0f  %s  %s" % (
            "%d × %g MiB" % (row["layers"], row["layer_mib"]), row["job"], row["median"], "%.3f – %.3f" % (row["min"], row["max"]),
            row["octets_per_second"] / MIB, counted, loss))
    print()
    for row in result["rows"]:
        if not row.get("is_cold", True):
            print("%d × %g MiB, %s: part of the source was in a cache: %.0f MiB were read from the disk" % (
                row["layers"], row["layer_mib"], row["job"], row["octets_read"] / MIB))
    hashed = ["%.3f s for %d × %g MiB" % (row["sha256_seconds"], row["layers"], row["layer_mib"])
              for row in result["rows"] if row["job"] == "seal"]
    print("a loss may be %.0f %%; raw SHA-256 of the same files out of the page cache took %s" % (LOSS * 100, ", ".join(hashed)))


def main():
    options = parse()
    end_as_interrupted()
    binaries("build", "bench")
    use_two_cores()
    # The source, what is sealed of it, what a job leaves, what is opened of that to be checked.
    needed = max(int(options.size * share * layers * 4) for layers, share in IMAGES.values())
    if room(options.folder) < needed * MIB:
        die("%s has no room for %d MiB, with a quarter of what is free to spare" % (options.folder, needed))
    disk = Disk(options.folder)
    if not disk.name:
        note("the kernel does not count what the disk below %s does: no IOPS" % options.folder)
    rows = [row for name in IMAGES for row in measure(options, name, disk)]
    result = {"machine": {**machine(), "folder": os.path.abspath(options.folder), "disk": disk.name},
              "versions": {"sealift": version(["sealift", "--version"])}, "rounds": options.rounds, "rows": rows}
    tell(result)
    write_json(options.output, result)
    if options.check and any(row.get("verdict") == judge.BELOW for row in rows):
        sys.exit(1)


main()
