#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a message costs: JSON lines over TCP into rasadd and, in the same run, into programs that do
less (count_lines, parse_jsonc) and into the one that one would write first (peer_python.py).

All send the same bytes by tests/bench/blast. A contender is done when it has closed every
connection, which each does after it has handled all of it. CPU time is that of the contender's
process alone, out of /proc/PID/stat, so what the load generator takes beside it does not count.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from marks import write_between_marks

HERE = Path(__file__).resolve().parent
CONNECTIONS = (1, 8)
ROUNDS = 5  # of which the best counts
FLAT = [b'{"CPU_Utilization": %.1f}\n' % (i % 1000 / 10) for i in range(9000)] + [
    b'{"A_Pressed": "1"}\n'
] * 1000
CONF = """listen { address = "127.0.0.1" port = 0 }
http { address = "127.0.0.1" port = 0 }
plugin_path = { "%s" }
state_dir = ""
metric "CPU_Utilization" { plugin = "gauge" help = "Utilization of CPU" }
metric "A_Pressed" { plugin = "letter_counter" help = "Number of 'a' pressed" letters = "aA" }
metric "requests" { plugin = "counter" help = "Requests" labels = { "path" } max_series = 2000000 }
"""


HELLO = b'{"@hello": {"agent": "bench"}}\n'


class Contender:
    """A server process: `command` prints its port, or `ports` reads the ports out of its log."""

    sent = 0  # samples, by Bench.cost()

    def __init__(self, command, ports=None):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE,
            stderr=self.log if ports else None)
        try:
            self.ports = ports(self) if ports else [int(self.process.stdout.readline())]
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


def rasadd_ports(contender):
    """The ports that rasadd says it listens on; it says so before it takes anything."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        log = os.pread(contender.log.fileno(), 65536, 0).decode(errors="replace")
        ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", log)]
        if len(ports) >= 2:
            return ports
        if contender.process.poll() is not None:
            raise SystemExit(f"rasadd has ended:\n{log}")
        time.sleep(0.02)
    raise SystemExit(f"rasadd did not say where it listens:\n{log}")


class Bench:
    def __init__(self, build):
        self.build = Path(build).resolve()
        self.folder = Path(tempfile.mkdtemp(prefix="rasad-bench-"))
        self.conf = self.folder / "rasad.conf"
        self.conf.write_text(CONF % next(self.build.glob("lib/**/rasad/plugins")))

    def close(self):
        shutil.rmtree(self.folder)

    def program(self, name):
        return [self.build / "tests/bench" / name]

    def rasadd(self):
        return Contender([self.build / "sbin/rasadd", "-c", self.conf], rasadd_ports)

    def blast(self, port, connections, times, lines, head):
        """Pours the lines in and gives the seconds that it took until all were handled."""
        path = self.folder / "messages"
        path.write_bytes(head + b"".join(lines))
        out = subprocess.run(self.program("blast") + [str(port), str(connections), str(times), path],
                             check=True, stdout=subprocess.PIPE, timeout=600)
        return json.loads(out.stdout)["seconds"]

    def cost(self, contender, times, lines, connections, head=b""):
        """(messages a second, CPU seconds a million messages); `head` comes before the lines."""
        count = times * len(lines) * connections
        contender.sent += count
        cpu = contender.cpu_seconds()
        seconds = self.blast(contender.ports[0], connections, times, lines, head)
        return count / seconds, (contender.cpu_seconds() - cpu) / count * 1e6


READING = "counts newlines only"
JSONC = "json-c a line, result thrown away"
RASADD = "**rasadd**"

# Title, how to start it, and about how many messages a round takes.
CONTENDERS = [
    (READING, lambda bench: Contender(bench.program("count_lines")), 32_000_000),
    (JSONC, lambda bench: Contender(bench.program("parse_jsonc")), 2_000_000),
    (RASADD, lambda bench: bench.rasadd(), 2_000_000),
    ("Python, a thread a connection, prometheus_client",
     lambda bench: Contender(["/usr/bin/python3", HERE / "peer_python.py"]), 160_000),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def best(costs):
    """Of several rounds: what disturbs one only adds to it."""
    return max(rate for rate, _ in costs), min(cpu for _, cpu in costs)


def compare(bench):
    """{title: [(messages a second, CPU s a million) for each number of connections]}. All run at
    once, one of them loaded at a time, in turns: so what drifts on the machine touches them alike."""
    rows = {}
    with contextlib.ExitStack() as stack:
        running = [(title, stack.enter_context(start(bench)), messages)
                   for title, start, messages in CONTENDERS]
        for connections in CONNECTIONS:
            costs = {title: [] for title, _, _ in CONTENDERS}
            for round_number in range(ROUNDS):
                say(f"measuring: {connections} connections, round {round_number + 1} of {ROUNDS}")
                for title, contender, messages in running:
                    times = messages // len(FLAT) // connections
                    costs[title].append(bench.cost(contender, times, FLAT, connections))
            for title in costs:
                rows.setdefault(title, []).append(best(costs[title]))
        rasadd = next(contender for title, contender, _ in running if title == RASADD)
        check_exact(rasadd, scrape(rasadd.ports[1])[1])
    return rows


def scrape(port):
    """(seconds, text)"""
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120) as answer:
        text = answer.read()
    return time.monotonic() - began, text


def check_exact(contender, text):
    """A figure counts only if not one sample was lost."""
    taken = sum(int(value) for value in re.findall(rb"(?m)^rasad_samples_total\{.*\} (\d+)$", text))
    if taken != contender.sent:
        raise SystemExit(f"rasadd took {taken} of {contender.sent} samples")


def sweep(bench):
    """Rows of (series, CPU s a million first samples, the same of later ones, bytes a series,
    seconds of a scrape, its bytes)."""
    rows = []
    for count in (1, 1000, 100_000, 1_000_000):
        say(f"measuring: {count} series")
        lines = [b'{"requests": {"add": 1, "labels": {"path": "/item/%d"}}}\n' % i
                 for i in range(count)]
        if count < 1000:
            lines *= 1000
        times = max(2_000_000 // len(lines), 1)
        with bench.rasadd() as rasadd:
            resident = rasadd.resident_bytes()
            making = bench.cost(rasadd, 1, lines, 1, head=HELLO)[1]
            grown = rasadd.resident_bytes() - resident
            later = bench.cost(rasadd, times, lines, 1, head=HELLO)[1]
            seconds, text = scrape(rasadd.ports[1])
            check_exact(rasadd, text)
            shown = text.count(b"\nrequests_total{")
            if shown != count:
                raise SystemExit(f"rasadd shows {shown} of {count} series")
            rows.append((count, making, later, grown / count, seconds, len(text)))
    return rows


def comparison_table(rows):
    table = ["| server | " + " | ".join(f"messages/s, {n} conn. | CPU s per million | beside json-c"
                                        for n in CONNECTIONS) + " |",
             "|---|" + "---:|---:|---:|" * len(CONNECTIONS)]
    for title, costs in rows.items():
        cells = [f"{rate:,.0f} | {cpu:.3f} | {cpu / jsonc[1]:.2f}"
                 for (rate, cpu), jsonc in zip(costs, rows[JSONC])]
        table.append(f"| {title} | {' | '.join(cells)} |")
    reading, jsonc, rasadd = (rows[title][0][1] for title in (READING, JSONC, RASADD))
    share = (rasadd - jsonc) / (jsonc - reading)
    return table + ["", f"Of a million messages over one connection, reading takes {reading:.3f} s, "
                    f"json-c {jsonc - reading:.3f} s, and the structure around it (framing, checks, "
                    f"keys, series, plugins) {rasadd - jsonc:.3f} s: **{share:.2f} times json-c's "
                    "share.**"]


def sweep_table(rows):
    table = ["| series | CPU s per million, first sample of each | later ones | bytes per series "
             "| scrape |", "|---:|---:|---:|---:|---:|"]
    for count, making, later, each, seconds, size in rows:
        first = f"{making:.2f}" if count >= 100_000 else "–"
        memory = f"{each:,.0f}" if count >= 100_000 else "–"
        table.append(f"| {count:,} | {first} | {later:.2f} | {memory} "
                     f"| {seconds:.3f} s, {size / 1e6:.1f} MB |")
    return table


def machine():
    release = Path("/etc/os-release").read_text()
    system = re.search(r'PRETTY_NAME="([^"]+)"', release)[1]
    return f"{os.cpu_count()} cores, {platform.machine()}, {system}, build/release (gcc -O2)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", help="the folder of the release build")
    parser.add_argument("--write", type=Path, help="the file to put the tables into")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(arguments.build)
    try:
        compared, swept = compare(bench), sweep(bench)
    finally:
        bench.close()
    lines = [f"Measured by `./dev bench ingest` on {machine()}, over loopback; the best of "
             f"{ROUNDS} rounds. Load and server share the cores.", "",
             *comparison_table(compared), "", *sweep_table(swept)]
    print("\n".join(lines))
    if arguments.write:
        write_between_marks(arguments.write, "ingest", lines)


if __name__ == "__main__":
    main()
