"""Seals and opens big layers with sealift and with other programs, taking turns, and holds the result against bars.

Jobs, what each is compared with, and the bars are data: scripts/lib/bench_jobs.py. Images are one layer of --size, and four of half of
it; `--only eight` is 10 GB in eight layers at the default size. Programs that are not installed are left out, and so are images
that there is no room for; both are said.

Every job runs once before anything is timed, and what it leaves is checked: what was sealed is opened, and what was opened must have
the digest of what was sealed. Then rounds: every round runs every job of a family once, in turns forwards and backwards. A ratio is
taken within a round. Peak memory is that of all runs. The decoder is also fed in pieces, for how long it keeps others waiting.
Everything runs on two cores.

A bar holds where the median reaches it. Every round also asks `sealift doctor --bench` what each part of the work
takes on this machine; what that allows is told beside the bar, and changes no verdict. With --check the script fails if a row is below its bar by more than noise, which the spread
of the rounds of this run tells, by a sign test: a row is below where so many rounds missed the bar that, were the true median at the
bar, chance would give as many in at most 1 of 20 cases (5 of 5 rounds, 8 of 9, 11 of 14). Between the two a row is "unclear".
Memory has no noise: no run may use more. --check is short: 256 MiB in place of 1024, in 5 rounds, without what has no bar. Starting
weighs more in a small run, so each job also runs with layers of 1 KiB, and its time is scaled to 1024 MiB from both.

Works in /dev/shm where there is room, else below $TMPDIR: about eight times --size. Prints a table; writes JSON, and a chart beside.
Uses the binaries in $SEALIFT_BIN_DIR if that is set, else builds release ones.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile

import bench_chart
import judge
from bench_jobs import (AHEAD, AHEAD_OF_SKOPEO, BUILDAH_PULLED, BUILDAH_STORED, CTR, DECODE, DELAY, IMAGES, JOBS, LIMITS, MEMORY,
                        MORE_WORK, OLD_SKOPEO, OLD_SKOPEO_BAR, OPTIONAL, RATE, SEALIFT, SPEED, shell)
from decoder_delay import trial
from layout import Layout, read_json, sha256
from measure import (GIB, MIB, ROOT, Alone, binaries, die, end_as_interrupted, environment, machine, note, package_version, place, spread,
                     step, timed, use_two_cores, version, work_folder, write_json)
from random_image import make

# MiB of the bars; a check is scaled to it.
FULL_SIZE, CHECK_SIZE, LEAST_CHECK_SIZE = 1024, 256, 128
ROUNDS, CHECK_ROUNDS = 7, judge.FEWEST_ROUNDS
TINY = 1 << 10
# Of everything in octets: source, sealed in two formats and by age, what a job leaves, buildah's storage twice.
COPIES = {"one": 8, "four": 4, "eight": 2.2}
# How often a round feeds the decoder in pieces, and how large that layer is.
TRIALS, TRIAL_OCTETS = 5, 1 << 20


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="be short, and fail if a row is below its bar by more than noise")
    parser.add_argument("--size", type=int, metavar="MIB",
                        help="size of the one layer (default %d, with --check %d)" % (FULL_SIZE, CHECK_SIZE))
    parser.add_argument("--rounds", type=int, metavar="N",
                        help="how often each job is timed (default %d, with --check %d)" % (ROUNDS, CHECK_ROUNDS))
    parser.add_argument("--only", action="append", default=[], metavar="WORD[,WORD]",
                        help="only these images (one, four, eight) or families (seal, open); may be repeated")
    parser.add_argument("--lock", metavar="FILE", help="hold the lock of this file (flock) while a round is timed")
    parser.add_argument("--output", default=os.path.join(ROOT, "target/bench/bench.json"), metavar="FILE",
                        help="where the result is written as JSON, and a chart with the ending .svg (default target/bench/bench.json)")
    options = parser.parse_args()
    words = {word for only in options.only for word in only.split(",")}
    unknown = words - set(IMAGES) - {"seal", "open"}
    if unknown:
        parser.error("no image or family: %s" % ", ".join(sorted(unknown)))
    images = words & set(IMAGES) or set(IMAGES) - OPTIONAL
    actions = words - set(IMAGES) or {"seal", "open"}
    families = list(dict.fromkeys(job.family for job in JOBS))
    options.families = [family for family in families if family.split()[0] in images and family.split()[1] in actions]
    if not options.families:
        parser.error("there is nothing to open or to seal of that")
    options.size = options.size or (CHECK_SIZE if options.check else FULL_SIZE)
    options.rounds = options.rounds or (CHECK_ROUNDS if options.check else ROUNDS)
    if options.check and options.rounds < judge.FEWEST_ROUNDS:
        parser.error("fewer than %d rounds cannot tell a miss from noise" % judge.FEWEST_ROUNDS)
    if options.check and options.size < LEAST_CHECK_SIZE:
        parser.error("less than %d MiB cannot be scaled to %d" % (LEAST_CHECK_SIZE, FULL_SIZE))
    return options


class Bench:
    """One image, and what is sealed of it for the jobs that open."""

    def __init__(self, work, layers, octets, peers):
        self.work, self.out = work, os.path.join(work, "out")
        os.makedirs(work)
        self.environment = {**environment(work), "STREAM_PROCESSOR_MEDIATYPE": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}
        self.peers = peers
        make(os.path.join(work, "image"), octets, layers)
        self.image = Layout(os.path.join(work, "image"))
        self.diff_ids = [diff_id.split(":")[1] for diff_id in read_json(self.image.blob(self.image.config))["rootfs"]["diff_ids"]]
        self.names = {"work": work, "out": self.out, "image": self.image.folder, "layer": self.image.files()[0],
                      "sealed": os.path.join(work, "sealed"), "ocicrypt": os.path.join(work, "ocicrypt")}
        self.call([SEALIFT, "keygen", "-q", "-o", "{work}/key"])
        os.mkdir(os.path.join(work, "keys"), 0o700)
        shutil.copy(os.path.join(work, "key.pem"), os.path.join(work, "keys"))

    def prepare(self, jobs):
        """Seals what the jobs open, and stores what they pack."""
        wanted = " ".join(" ".join(job.argv) for job in jobs)
        if "{sealed" in wanted:
            self.call([SEALIFT, "encrypt", "-q", "oci:{image}:big", "oci:{sealed}:big", "-r", "{work}/key.pub.pem"])
            self.names["sealed_layer"] = Layout(self.names["sealed"]).files()[0]
        if "{ocicrypt" in wanted:
            self.call([SEALIFT, "encrypt", "-q", "--cipher", "ocicrypt", "oci:{image}:big", "oci:{ocicrypt}:big",
                       "-r", "{work}/key.pub.pem"])
        if "age.pub" in wanted or "age.key" in wanted:
            keygen = "age-keygen" if "age" in self.peers else "rage-keygen"
            self.call([keygen, "-o", "{work}/age.key"])
            with open(os.path.join(self.work, "age.pub"), "w") as file:
                file.write(re.search(r"public key: (\S+)", open(os.path.join(self.work, "age.key")).read()).group(1) + "\n")
        if "sealed.age" in wanted:
            self.call([self.age(), "-R", "{work}/age.pub", "-o", "{work}/sealed.age", "{layer}"])
        if "{stored}" in wanted:
            self.names["stored"] = self.call(BUILDAH_STORED + ["pull", "-q", "oci:{image}:big"]).split()[-1]

    def age(self):
        return "age" if "age" in self.peers else "rage"

    def argv(self, job):
        """The command line of a job."""
        return self.filled(job.argv)

    def filled(self, argv):
        """A command line with its names replaced; `{layers}` becomes several words."""
        words = []
        for text in argv:
            words += self.image.files() if text == "{layers}" else [text.format_map(self.names)]
        return words

    def call(self, argv):
        """Runs what is not timed."""
        argv = self.filled(argv)
        run = subprocess.run(argv, capture_output=True, text=True, env=self.environment, cwd=self.work, stdin=subprocess.DEVNULL)
        if run.returncode != 0:
            die("%s: exit %d: %s" % (" ".join(argv), run.returncode, run.stderr.strip()))
        return run.stdout

    def clear(self, job):
        """Removes what a job left."""
        if job.leaves == "pulled":
            self.call(BUILDAH_PULLED + ["rmi", "-f", "-a"])
        if os.path.isdir(self.out):
            shutil.rmtree(self.out)
        elif os.path.exists(self.out):
            os.remove(self.out)

    def time(self, job):
        """One timed run."""
        run, _ = timed(self.argv(job), self.work, self.environment)
        self.clear(job)
        return run

    def check(self, job):
        """Runs a job once; what it leaves must be the image, by digests that are computed here. Returns these."""
        _, told = timed(self.argv(job), self.work, self.environment)
        found, wanted = getattr(self, "of_" + job.leaves)(job, told)
        if found != wanted:
            die("%s, %s: leaves %s, not %s" % (job.family, job.name, found, wanted))
        self.clear(job)
        return sorted(found)

    # What a job left, as digests, and what they must be.

    def of_digests(self, _, told):
        return sorted(line.split()[0] for line in told.splitlines()), sorted(self.image.layers)

    def of_sealed(self, job, _):
        """Opened again: the same layers, or where they were packed anew, the same without compression."""
        sealed, back = Layout(self.out), os.path.join(self.work, "back")
        sealed.assert_intact()
        if set(sealed.layers) & set(self.image.layers):
            die("%s: a layer was not sealed" % job.name)
        self.call([SEALIFT, "decrypt", "-q", "-k", "{work}/key.pem", "oci:{out}:big", "oci:%s:big" % back])
        opened = Layout(back)
        layers = self.layers_of(opened, job)
        diff_ids = [self.piped(["gzip", "-dc", file]) for file in opened.files()] if job.program == "buildah" else None
        shutil.rmtree(back)
        return (diff_ids, self.diff_ids) if diff_ids else (layers, self.image.layers)

    def of_opened(self, job, _):
        return self.layers_of(Layout(self.out), job), self.image.layers

    def of_plain_file(self, *_):
        return [sha256(self.out)], self.image.layers

    def of_age_file(self, *_):
        return [self.piped([self.age(), "-d", "-i", "{work}/age.key", "{out}"])], self.image.layers

    def of_ctr_file(self, *_):
        return [self.piped(CTR + ["-d", "-in", "{out}"])], self.image.layers

    def of_plain_stream(self, job, _):
        """The same command once more, into a digest."""
        command = [text.replace("| cat >/dev/null", "") for text in job.argv]
        return [self.piped(command)], self.image.layers

    def of_pulled(self, *_):
        """The file in what was unpacked."""
        found = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(self.work, "pulled/vfs/dir"))
                 for name in names if name == "random"]
        with tarfile.open(self.names["layer"]) as archive:
            member = archive.extractfile("random")
            wanted = hashlib.sha256()
            for piece in iter(lambda: member.read(MIB), b""):
                wanted.update(piece)
        return sorted({sha256(path) for path in found}), [wanted.hexdigest()]

    def layers_of(self, opened, job):
        """The layers of what was opened, which is intact, and what we sealed is the whole image."""
        if job.program == SEALIFT:
            opened.assert_same(self.image)
        else:
            opened.assert_intact()
        return opened.layers

    def piped(self, argv):
        """The digest of what a command writes to standard output."""
        return self.call(shell('"$@" | openssl dgst -sha256 -r', *argv)).split()[0]


def delays(bench):
    """One round of feeding the decoder in pieces."""
    with open(bench.names["sealed_layer"], "rb") as file:
        blob = file.read()
    digest = bench.image.layers[0]
    trials = [trial(bench.filled(DECODE), bench.environment, blob) for _ in range(TRIALS)]
    for one in trials:
        if one["sha256"] != digest:
            die("the decoder, fed in pieces, gives %s, not %s" % (one["sha256"], digest))
    return {name: round(statistics.median(one[name] for one in trials), 3) for name, _ in DELAY}


def limits(bench):
    """What this machine allows, job by job, in GiB/s."""
    told = bench.call([SEALIFT, "doctor", "--bench", "--json", "--folder", "{work}"])
    return json.loads(told)["limits"]


class Result:
    """What was measured, by family and job: runs in the order of the rounds."""

    def __init__(self):
        self.runs, self.checked, self.octets, self.delays, self.limits = {}, {}, {}, [], {}


def measure(options, name, families, peers, parent, result):
    """All families of one image."""
    layers, share = IMAGES[name]
    octets = int(options.size * share * MIB)
    with work_folder(parent) as work:
        step("%d %s of %d MiB in %s" % (layers, "layer" if layers == 1 else "layers", octets // MIB, parent))
        jobs = [job for job in JOBS if job.family in families and job.program in peers
                and not (options.check and (job.name in MORE_WORK or not has_bar(job)))]
        full = Bench(os.path.join(work, "full"), layers, octets, peers)
        full.prepare(jobs)
        tiny = None
        if options.check:
            tiny = Bench(os.path.join(work, "tiny"), layers, TINY, peers)
            tiny.prepare(jobs)
        small = None
        if "one open" in families:
            small = Bench(os.path.join(work, "small"), 1, TRIAL_OCTETS, peers)
            small.prepare([job for job in JOBS if job.name == "decoder"])
        for job in jobs:
            result.checked[job.family, job.name] = full.check(job)
            result.octets[job.family] = full.image.octets()
        alone = Alone(options.lock)
        for family in families:
            here = [job for job in jobs if job.family == family]
            for number in range(options.rounds):
                with alone:
                    # Who begins changes, so that nobody has what the other left warm.
                    for job in here if number % 2 == 0 else here[::-1]:
                        run = full.time(job)
                        if tiny:
                            run["tiny_seconds"] = tiny.time(job)["seconds"]
                        result.runs.setdefault((family, job.name), []).append(run)
                    result.limits.setdefault(family, []).append(limits(full))
                    if family == "one open":
                        result.delays.append(delays(small))
                last = ["%s %.2f s" % (job.name, result.runs[family, job.name][-1]["seconds"]) for job in here]
                note("%s, round %d: %s" % (family, number + 1, ", ".join(last)))
            for job in here if tiny else []:
                # What a job takes to start is the same in every round; to take it from each would add its spread four times.
                runs = result.runs[family, job.name]
                tiny_seconds = statistics.median(run["tiny_seconds"] for run in runs)
                for run in runs:
                    run["tiny_seconds"] = tiny_seconds
        alone.release()


def has_bar(job):
    """Whether any bar needs a job."""
    needed = {(family, one) for family, name, than, bar in SPEED if bar is not None for one in (name, than)}
    needed |= {(family, name) for family, name, _ in RATE}
    return job.program == SEALIFT or (job.family, job.name) in needed


def seconds(options, run):
    """Of a run, as it would be at the size of the bars, if it was a short one."""
    if "tiny_seconds" not in run:
        return run["seconds"]
    return run["tiny_seconds"] + max(0, run["seconds"] - run["tiny_seconds"]) * FULL_SIZE / options.size


def gib_per_second(options, result, family, run):
    octets = result.octets[family] * (FULL_SIZE / options.size if "tiny_seconds" in run else 1)
    return octets / GIB / seconds(options, run)


def row(measure, family, job, than, bar, values, verdict):
    values = [round(value, 4) for value in values]
    return {"measure": measure, "family": family, "job": job, "than": than, "bar": bar, **(spread(values) if values else {}),
            "values": values, "verdict": verdict}


def allowed(options, result, family, name, sha_runs):
    """How many times as fast as raw SHA-256 a job could be, from what its parts took in each round."""
    if (family, name) not in LIMITS:
        return None
    job, layers = LIMITS[family, name]
    rates = [told[job][layers]["gibPerSecond"] for told in result.limits[family]]
    return round(statistics.median(rate / gib_per_second(options, result, family, run) for rate, run in zip(rates, sha_runs)), 4)


def rows_of(options, result, skopeo_bar):
    """Every row of the tables of bars that belongs to a family that was wanted."""
    rows = []
    for family, name, than, bar in SPEED:
        if family not in options.families:
            continue
        bar = round(skopeo_bar if bar is AHEAD_OF_SKOPEO else bar, 4) if bar is not None else None
        runs, others = result.runs.get((family, name)), result.runs.get((family, than))
        if not runs or not others:
            if bar is not None:
                rows.append(row("times as fast", family, name, than, bar, [], judge.NOT_MEASURED))
            continue
        values = [seconds(options, other) / seconds(options, run) for run, other in zip(runs, others)]
        possible = allowed(options, result, family, name, others) if than == "sha" else None
        rows.append({**row("times as fast", family, name, than, bar, values, judge.verdict(values, bar)),
                     **({"possible": possible} if possible else {})})
    for family, name, bar in RATE:
        values = [gib_per_second(options, result, family, run) for run in result.runs.get((family, name), [])]
        if values:
            rows.append(row("GiB/s", family, name, None, bar, values, judge.verdict(values, bar)))
    for name, bar in DELAY:
        values = [one[name] for one in result.delays]
        if values:
            rows.append(row("ms to " + name, "one open", "decoder", None, bar, values, judge.verdict(values, bar, at_most=True)))
    for job in JOBS:
        runs = result.runs.get((job.family, job.name))
        # Between pipes it is the same program once more.
        if runs and job.program in MEMORY and job.name != "decoder between pipes":
            values = [run["peak_rss"] / MIB for run in runs]
            rows.append(row("MiB of memory", job.family, job.name, None, MEMORY[job.program], values,
                            judge.memory_verdict(values, MEMORY[job.program])))
    return rows


def jobs_of(options, result):
    """What every job took."""
    told = []
    for job in JOBS:
        runs = result.runs.get((job.family, job.name))
        if runs:
            times = spread([run["seconds"] for run in runs])
            told.append({"family": job.family, "job": job.name, "program": job.program, **times,
                         "gib_per_second": round(statistics.median(gib_per_second(options, result, job.family, run) for run in runs), 4),
                         "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
                         "peak_rss": max(run["peak_rss"] for run in runs),
                         "checked": result.checked[job.family, job.name], "seconds": [run["seconds"] for run in runs]})
    return told


def text_of(row):
    """A row in words."""
    what = "%s: %s" % (row["family"], row["job"])
    bar = "" if row["bar"] is None else ", bar %.3g" % row["bar"]
    if "possible" in row:
        bar += " (the parts of the work allow %.3g)" % row["possible"]
    if row["verdict"] == judge.NOT_MEASURED:
        return "%s, beside %s: not measured" % (what, row["than"])
    if row["than"]:
        figure = "%.3f times as fast as %s" % (row["median"], row["than"])
    else:
        figure = "%.2f %s" % (row["max"] if row["measure"] == "MiB of memory" else row["median"], row["measure"])
    return "%s, %s (%.3g – %.3g)%s" % (what, figure, row["min"], row["max"], bar)


def tell(result):
    print("\n%s, %d cores, files in %s; one layer of %d MiB, medians of %d rounds"
          % (result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["folder"], result["size_mib"], result["rounds"]))
    print(" · ".join(result["versions"].values()) + "\n")
    print("%-10s  %-22s  %9s  %-19s  %7s  %7s  %9s" % ("family", "job", "median s", "min – max", "GiB/s", "CPU s", "peak MiB"))
    for job in result["jobs"]:
        print("%-10s  %-22s  %9.3f  %-19s  %7.2f  %7.2f  %9.1f" % (
            job["family"], job["job"], job["median"], "%.3f – %.3f" % (job["min"], job["max"]), job["gib_per_second"], job["cpu_seconds"],
            job["peak_rss"] / MIB))
    print()
    if result["is_scaled"]:
        print("ratios and speeds are scaled to %d MiB" % FULL_SIZE)
    for row in result["rows"]:
        print("%-12s  %s" % (row["verdict"], text_of(row)))
    print()
    for row in result["rows"]:
        if row["verdict"] == judge.BELOW:
            print("below the bar: " + text_of(row))
    if not any(row["verdict"] == judge.BELOW for row in result["rows"]):
        print("nothing is below the bar by more than noise")


def peers_of():
    """The programs that are here, and their versions."""
    programs = list(dict.fromkeys(job.program for job in JOBS))
    here = {program for program in programs if shutil.which(program)}
    for program in ["openssl", SEALIFT, "sealift-decoder"]:
        if program not in here:
            die(program + " is missing")
    if os.geteuid() != 0:
        here.discard("buildah")
        note("buildah is left out: its storage needs root")
    for program in programs:
        if program not in here:
            note(program + " is not here: its rows are not measured")
    versions = {SEALIFT: version([SEALIFT, "--version"]), "openssl": version(["openssl", "version"])}
    for program in ["skopeo", "buildah", "age", "rage"]:
        if program in here:
            versions[program] = package_version(program)
    return here, versions


def skopeo_bar():
    """How many times as fast as this skopeo one must be."""
    found = re.search(r"(\d+)\.(\d+)", version(["skopeo", "--version"])) if shutil.which("skopeo") else None
    return OLD_SKOPEO_BAR if found and tuple(map(int, found.groups())) < OLD_SKOPEO else AHEAD


def main():
    options = parse()
    end_as_interrupted()
    binaries("build", "bench")
    use_two_cores()
    peers, versions = peers_of()
    result, folder = Result(), None
    for name in IMAGES:
        families = [family for family in options.families if family.split()[0] == name]
        if not families:
            continue
        layers, share = IMAGES[name]
        needed = int(options.size * MIB * share * layers * COPIES[name]) + 16 * MIB
        parent = place(needed)
        if not parent:
            text = "no room for %d MiB: the image `%s` is left out" % (needed // MIB, name)
            if options.check:
                die(text)
            note(text)
            continue
        folder = folder or parent
        measure(options, name, families, peers, parent, result)
    told = {
        "machine": {**machine(), "folder": folder}, "versions": versions, "size_mib": options.size, "rounds": options.rounds,
        "is_check": options.check, "is_scaled": options.check, "jobs": jobs_of(options, result),
        "rows": rows_of(options, result, skopeo_bar()), "delays_ms": result.delays,
    }
    tell(told)
    write_json(options.output, told)
    bench_chart.write(os.path.splitext(options.output)[0] + ".svg", told)
    if options.check and any(row["verdict"] == judge.BELOW for row in told["rows"]):
        sys.exit(1)


main()
