"""What every bench needs: binaries, room to work in, what a command costs, how spread is told. Python standard library only."""
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIB, GIB = 1 << 20, 1 << 30


def die(text):
    sys.exit("error: " + text)


def step(text):
    print("\n== " + text, file=sys.stderr, flush=True)


def note(text):
    print("   " + text, file=sys.stderr, flush=True)


def end_as_interrupted():
    """Has SIGTERM end a script as Ctrl-C does: what was started is stopped, and nothing is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))


def binaries(*wants):
    """Puts the binaries in front of PATH: those of $SEALIFT_BIN_DIR, else release ones, after `scripts/setup` with what is wanted."""
    folder = os.environ.get("SEALIFT_BIN_DIR")
    if not folder:
        subprocess.run([os.path.join(ROOT, "scripts/setup"), *wants], check=True)
        step("release binaries")
        subprocess.run(["cargo", "build", "--release", "--workspace", "--bins"], check=True, cwd=ROOT)
        told = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], check=True, cwd=ROOT, capture_output=True)
        folder = os.path.join(json.loads(told.stdout)["target_directory"], "release")
    os.environ["PATH"] = os.path.abspath(folder) + ":" + os.environ["PATH"]


def use_two_cores():
    """The bars are those of two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    if len(cores) < 2:
        note("one core only: the bars are those of two")


def version(argv):
    """The first line that a program tells of itself, without what it adds in parentheses."""
    lines = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
    return lines[0].split(" (")[0] if lines else argv[0]


def package_version(program):
    """A program with the version of its Debian package, which says more than its own; else what it tells of itself."""
    package = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}", program], capture_output=True, text=True).stdout
    return package or version([program, "--version"])


def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"cpu": model.group(1) if model else "?", "cores": os.cpu_count(), "commit": commit.stdout.strip()}


def room(folder):
    """How many octets may be written to a folder: three quarters of what is free, and where it lies in memory, of that too."""
    if not os.path.isdir(folder):
        return 0
    free = shutil.disk_usage(folder).free
    if folder.startswith("/dev/shm"):
        with open("/proc/meminfo") as file:
            free = min(free, int(re.search(r"MemAvailable:\s*(\d+)", file.read()).group(1)) << 10)
    return free * 3 // 4


def place(needed):
    """A folder with room for so many octets: in memory if that can be, else below $TMPDIR; None where neither has it."""
    return next((parent for parent in ("/dev/shm", tempfile.gettempdir()) if room(parent) >= needed), None)


@contextlib.contextmanager
def work_folder(parent):
    """A folder of its own, which is removed at the end."""
    folder = tempfile.mkdtemp(prefix="sealift-bench.", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Alone:
    """The lock of a file, if one is named, held while something is timed: builds that share it (flock -s) wait.

    It is kept from one `with` to the next for half a minute, so that not every one of them waits for a build.
    """

    KEPT = 30

    def __init__(self, path):
        self.path, self.file, self.since = path, None, None

    def __enter__(self):
        if self.path and not self.file:
            self.file = open(self.path, "a")
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.monotonic()

    def __exit__(self, *_):
        if self.file and time.monotonic() - self.since > self.KEPT:
            self.release()

    def release(self):
        """Before something that is not timed."""
        if self.file:
            self.file.close()
            self.file = None


def environment(work):
    """Of a program that is measured: far from the configuration of whoever runs the bench."""
    return {"PATH": os.environ["PATH"], "HOME": work, "TMPDIR": work, "XDG_CACHE_HOME": os.path.join(work, "cache"),
            "XDG_CONFIG_HOME": os.path.join(work, "config")}


def timed(command, work, variables, prefix=()):
    """Runs a command; returns what it cost and what it said. It must succeed. The prefix is a command that runs it elsewhere."""
    log, costs = os.path.join(work, "run.log"), os.path.join(work, "run.costs")
    # A child of this script would be charged with the script's own memory, which it begins with; a child of time is not.
    measured = [*prefix, "/usr/bin/time", "-f", "%U %S %M", "-o", costs, *command]
    with open(log, "w+") as output:
        began = time.monotonic()
        process = subprocess.Popen(measured, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=work,
                                   start_new_session=True)
        try:
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.monotonic() - began
        output.seek(0)
        told = output.read()
    if process.returncode != 0:
        die("%s: exit %d: %s" % (" ".join(command), process.returncode, told.strip()))
    with open(costs) as file:
        user, system, peak = file.read().split()
    return {"seconds": round(seconds, 4), "cpu_seconds": round(float(user) + float(system), 2), "peak_rss": int(peak) * 1024}, told


def spread(values):
    """What is told of several runs."""
    return {"runs": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}


def write_json(path, document):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    note("written to " + path)
