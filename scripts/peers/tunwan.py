#!/usr/bin/python3
"""Userspace WAN between Linux network namespaces, for kernels without sch_netem.

usage: tunwan.py NS=IP ... --link A,B,ONE_WAY_MS[,MBIT[,LOSS_PERCENT[,QUEUE_MS[,JITTER_MS]]]] ... [--seed N]

Creates the namespaces NS that do not exist yet, gives each a TUN device `wan0` with address IP/24, and
carries real IPv4 packets between them. Every link works in both directions with its own delay, rate (FIFO
serialisation with tail drop once the queue is longer than QUEUE_MS, 200 by default), random loss and jitter: each
packet is held up to JITTER_MS longer, uniformly, and never overtakes one sent before it in the same direction.
Loss and jitter are drawn from one generator, which --seed makes repeatable.
Pairs without a --link cannot reach each other, and nothing is connected to the outside.

Prints `up` when ready. SIGTERM or SIGINT ends it and deletes the namespaces it created.
Needs root, iproute2 and /dev/net/tun; Python standard library only.

example, three regions (one-way ms, Mbit/s):
  tunwan.py fra=10.88.0.1 gru=10.88.0.2 nrt=10.88.0.3 \\
      --link fra,gru,100,50 --link fra,nrt,120,50 --link gru,nrt,135,20 &
  ip netns exec fra docker-registry serve registry.yml      # http.addr: 10.88.0.1:5000
  ip netns exec gru skopeo copy --src-tls-verify=false docker://10.88.0.1:5000/app:1 oci:out:1
"""
import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def sh(*argv):
    subprocess.run(argv, check=True)


def enter(fd):
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def parse(argv):
    nodes, links = {}, {}
    argv = list(argv)
    while argv:
        word = argv.pop(0)
        if word == "--link":
            p = argv.pop(0).split(",")
            num = lambda i, default: float(p[i]) if len(p) > i else default
            link = dict(delay=num(2, 0) / 1e3, rate=num(3, 0) * 1e6 / 8, loss=num(4, 0) / 100, queue=num(5, 200) / 1e3,
                        jitter=num(6, 0) / 1e3)
            links[p[0], p[1]] = dict(link, free=0.0, last=0.0)
            links[p[1], p[0]] = dict(link, free=0.0, last=0.0)
        elif word == "--seed":
            random.seed(int(argv.pop(0)))
        else:
            name, ip = word.split("=")
            nodes[name] = ip
    return nodes, links


def main():
    if len(sys.argv) < 3 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    nodes, links = parse(sys.argv[1:])
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    have = subprocess.run(["ip", "netns", "ls"], capture_output=True, text=True).stdout.split()
    name_of, by_ip, made = {}, {}, []

    def bye(*_):
        for n in made:
            subprocess.run(["ip", "netns", "del", n])
        os._exit(0)

    signal.signal(signal.SIGTERM, bye)
    signal.signal(signal.SIGINT, bye)
    for name, ip in nodes.items():
        if name not in have:
            sh("ip", "netns", "add", name)
            made.append(name)
        ns = os.open("/run/netns/" + name, os.O_RDONLY)
        enter(ns)
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"wan0", IFF_TUN | IFF_NO_PI))
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "addr", "add", ip + "/24", "dev", "wan0")
        sh("ip", "link", "set", "wan0", "up", "txqueuelen", "1000")
        enter(home)
        os.close(ns)
        name_of[tun] = name
        by_ip[bytes(map(int, ip.split(".")))] = (name, tun)
    print("up", flush=True)

    heap, seq, epoll, now = [], 0, select.epoll(), time.monotonic
    for tun in name_of:
        epoll.register(tun, select.EPOLLIN)
    while True:
        for tun, _ in epoll.poll(max(0.0, heap[0][0] - now()) if heap else -1):
            for _ in range(64):
                try:
                    packet = os.read(tun, 65536)
                except BlockingIOError:
                    break
                if packet[0] >> 4 != 4:
                    continue
                target = by_ip.get(packet[16:20])
                link = target and links.get((name_of[tun], target[0]))
                if not link or (link["loss"] and random.random() < link["loss"]):
                    continue
                t = now()
                start = max(t, link["free"])
                if link["rate"]:
                    if start - t > link["queue"]:
                        continue  # tail drop
                    link["free"] = start = start + len(packet) / link["rate"]
                due = start + link["delay"]
                if link["jitter"]:
                    link["last"] = due = max(link["last"], due + random.random() * link["jitter"])
                seq += 1
                heapq.heappush(heap, (due, seq, target[1], packet))
        t = now()
        while heap and heap[0][0] <= t:
            _, _, tun, packet = heapq.heappop(heap)
            try:
                os.write(tun, packet)
            except OSError:
                pass


main()
