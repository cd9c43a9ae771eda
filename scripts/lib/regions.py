"""Network namespaces joined by the WAN emulator, and docker-registry in them. Needs root, /dev/net/tun and iproute2.

Used by scripts/soak and scripts/bench registry; Python standard library only.
"""
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

from measure import ROOT, die


def need_root():
    if os.geteuid() != 0:
        die("network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        # Containers often lack the file although the kernel has the device.
        os.makedirs("/dev/net", exist_ok=True)
        os.mknod("/dev/net/tun", 0o600 | stat.S_IFCHR, os.makedev(10, 200))


def links_of(path):
    """The links of a file as scripts/peers/wan-three-regions.txt."""
    with open(path) as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


class Regions:
    """Regions by name, each with an address, as long as the `with` block lasts."""

    def __init__(self, names, links, folder, seed=1):
        self.address = {name: "10.88.0.%d" % (index + 1) for index, name in enumerate(names)}
        # Named after the process, so that two runs do not meet.
        self.space = {name: "sl%d%s" % (os.getpid(), name) for name in names}
        self.links, self.folder, self.seed = links, folder, seed

    def __enter__(self):
        argv = ["/usr/bin/python3", os.path.join(ROOT, "scripts/peers/tunwan.py")]
        argv += ["%s=%s" % (self.space[name], self.address[name]) for name in self.space]
        for link in self.links:
            a, b, rest = link.split(",", 2)
            argv += ["--link", "%s,%s,%s" % (self.space[a], self.space[b], rest)]
        argv += ["--seed", str(self.seed)]
        log = open(os.path.join(self.folder, "wan.log"), "w+")
        # It must forward in time whatever else this machine does.
        self.emulator = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True,
                                         preexec_fn=lambda: os.nice(-15))
        wait_until("the emulator is up", lambda: "up" in open(log.name).read(), self.emulator, log.name)
        return self

    def __exit__(self, *_):
        stop(self.emulator)

    def within(self, name, argv):
        """The command line that runs another one in a region."""
        return ["nsenter", "--net=/run/netns/" + self.space[name], "--"] + argv


class Here:
    """This machine as the only region, `here`: an address of its own behind the loopback device."""

    def __init__(self):
        # Of 127.0.0.0/8, and named after the process, so that two runs do not meet.
        self.address = {"here": "127.88.%d.%d" % (os.getpid() >> 8 & 255, os.getpid() & 255)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def within(self, _, argv):
        """The same command line."""
        return argv


class DockerRegistry:
    """docker-registry in one region; it can be killed and started again."""

    def __init__(self, regions, region, folder):
        self.regions, self.region, self.folder = regions, region, folder
        self.host = regions.address[region] + ":5000"
        self.store = os.path.join(folder, "store")
        self.log = os.path.join(folder, "registry.log")
        os.makedirs(self.store)
        self.config = os.path.join(folder, "registry.yml")
        with open(self.config, "w") as file:
            file.write("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                       "storage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\n"
                       "http: {addr: '%s', secret: for tests only}\n" % (self.store, self.host))
        self.process = None

    def start(self):
        log = open(self.log, "a")
        self.process = subprocess.Popen(
            self.regions.within(self.region, ["docker-registry", "serve", self.config]),
            stdout=log, stderr=log, start_new_session=True)

    def wait(self):
        """Waits until it listens: a socket of its namespace, so it is asked from there."""
        probe = self.regions.within(self.region, [
            "/usr/bin/python3", "-c", "import socket,sys; socket.create_connection((sys.argv[1], 5000), 2)",
            self.regions.address[self.region]])
        wait_until("docker-registry listens", lambda: subprocess.run(probe, stderr=subprocess.DEVNULL).returncode == 0,
                   self.process, self.log)

    def clear(self):
        """Forgets everything: it holds nothing in memory."""
        shutil.rmtree(os.path.join(self.store, "docker"), ignore_errors=True)

    def kill(self):
        """As the machine would end it: in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def blob(self, digest):
        """The file of a blob."""
        name = digest.split(":", 1)[1]
        return os.path.join(self.store, "docker/registry/v2/blobs/sha256", name[:2], name, "data")

    def has_layer(self, repository, digest):
        """Whether a repository holds a blob."""
        return os.path.exists(os.path.join(self.store, "docker/registry/v2/repositories", repository, "_layers/sha256",
                                           digest.split(":", 1)[1], "link"))

    def tag(self, repository, tag):
        """The digest a tag points to."""
        path = os.path.join(self.store, "docker/registry/v2/repositories", repository, "_manifests/tags", tag, "current/link")
        with open(path) as file:
            return file.read().strip()


def wait_until(what, happened, process, log):
    for _ in range(200):
        if happened():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    with open(log) as file:
        sys.stderr.write(file.read()[-2000:])
    die("gave up waiting until " + what)


def stop(process):
    """Ends a process that may have ended."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
