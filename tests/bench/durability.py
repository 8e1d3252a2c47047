#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What state on disk costs: the same messages into two servers side by side, in turns within one
run, of which one has a state_dir; and how long a server with many series takes to be back.

CPU time is that of the whole server, the thread that commits included. The sender is named and has
a stream, so what it sends is numbered, and acknowledged once it is on disk.
"""

import argparse
import json
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from ingest import FLAT, Bench, Contender, check_exact, machine, rasadd_ports, say, scrape
from marks import write_between_marks

ROUNDS = 7
SERIES = (1, 1000, 100_000)
RESTARTS = (100_000, 1_000_000)


def hello(agent):
    return json.dumps({"@hello": {"agent": agent, "stream": agent.encode().hex().zfill(32)}}).encode()


def paths(count):
    return [b'{"requests": {"add": 1, "labels": {"path": "/item/%d"}}}\n' % i for i in range(count)]


class Pair:
    """Two servers of one conf but for the state_dir."""

    def __init__(self, bench, state_parent):
        self.bench = bench
        conf = bench.conf.read_text()
        self.state = Path(tempfile.mkdtemp(prefix="rasad-bench-", dir=state_parent))
        self.on = bench.folder / "on.conf"
        self.on.write_text(conf.replace('state_dir = ""', f'state_dir = "{self.state}/state"')
                           + f'admin_socket = "{bench.folder}/on.sock"\n')
        self.off = bench.folder / "off.conf"
        self.off.write_text(conf + f'admin_socket = "{bench.folder}/off.sock"\n')

    def start(self, conf):
        return Contender([self.bench.build / "sbin/rasadd", "-c", conf], rasadd_ports)

    def close(self):
        shutil.rmtree(self.state)


def compare(bench, pair):
    """Rows of (what, CPU s a million without, with, dirty series)."""
    rows = []
    cases = [("a gauge and a letter counter", FLAT, 200)]
    cases += [(f"{count:,} series in turn", paths(count), max(1_000_000 // count, 1))
              for count in SERIES[1:]]
    for what, lines, times in cases:
        costs = {"off": [], "on": []}
        with pair.start(pair.off) as off, pair.start(pair.on) as on:
            for number in range(ROUNDS):
                say(f"measuring: {what}, round {number + 1} of {ROUNDS}")
                for name, server in (("off", off), ("on", on)):
                    head = hello(f"bench-{number}") + b"\n"
                    costs[name].append(bench.cost(server, times, lines, 1, head=head)[1])
            for server in (off, on):
                until_shown(server)
        rows.append((what, min(costs["off"]), min(costs["on"])))
    return rows


def until_shown(server):
    """What was sent comes to be shown; a figure counts only if nothing was lost."""
    check_exact(server, scrape(server.ports[1])[1])


def fill(port, count):
    """Makes so many series, all of them on disk when it returns."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as sender:
        sender.sendall(hello("filler") + b"\n")
        sender.recv(4096)
        lines = paths(count)
        for at in range(0, count, 10_000):
            sender.sendall(b"".join(lines[at:at + 10_000]))
        wanted, seen = b'{"@ack":%d}' % count, b""
        while wanted not in seen:
            seen = (seen + sender.recv(65536))[-256:]


def first_scrape(pair):
    """Seconds from the start until a small scrape is answered, and one of all; and that one."""
    began = time.monotonic()
    with pair.start(pair.on) as server:
        url = f"http://127.0.0.1:{server.ports[1]}/metrics?name[]=rasad_build_info"
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
        ready = time.monotonic() - began
        text = scrape(server.ports[1])[1]
        return ready, time.monotonic() - began, text


def restarts(bench, parent):
    rows = []
    for count in RESTARTS:
        pair = Pair(bench, parent)
        try:
            say(f"measuring: a restart with {count:,} series")
            with pair.start(pair.on) as server:
                fill(server.ports[0], count)
                server.process.kill()
            size = sum(file.stat().st_size for file in pair.state.glob("state/*.mdb"))
            runs = [first_scrape(pair) for _ in range(3)]
            assert all(text.count(b"\nrequests_total{") == count for _, _, text in runs)
            rows.append((count, min(r[0] for r in runs), min(r[1] for r in runs), size))
        finally:
            pair.close()
    return rows


def tables(compared, restarted):
    table = ["| messages of one numbered sender | CPU s per million, in memory | on disk | ratio |",
             "|---|---:|---:|---:|"]
    table += [f"| {what} | {off:.3f} | {on:.3f} | {on / off:.2f} |" for what, off, on in compared]
    table += ["", "| series | file | start to the first answered scrape | and to a scrape of all |",
              "|---:|---:|---:|---:|"]
    table += [f"| {count:,} | {size / 1e6:,.0f} MB | {ready:.2f} s | {whole:.2f} s |"
              for count, ready, whole, size in restarted]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", help="the folder of the release build")
    parser.add_argument("--write", type=Path, help="the file to put the tables into")
    parser.add_argument("--disk", default=".", help="where the states lie while it runs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(arguments.build)
    try:
        pair = Pair(bench, arguments.disk)
        try:
            compared = compare(bench, pair)
        finally:
            pair.close()
        restarted = restarts(bench, arguments.disk)
    finally:
        bench.close()
    lines = [f"Measured by `./dev bench durability` on {machine()}, over loopback; the best of "
             f"{ROUNDS} rounds.", "", *tables(compared, restarted)]
    print("\n".join(lines))
    if arguments.write:
        write_between_marks(arguments.write, "durability", lines)


if __name__ == "__main__":
    main()
