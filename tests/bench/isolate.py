#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `isolate = true` costs: the same plugin loaded into a process and in a worker's, in turns
within one run (tests/bench/bench_isolate.c), so that the ratios hold whatever the machine does."""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

from marks import write_between_marks

PLUGINS = ("counter", "gauge", "histogram", "summary")
BATCHES = (1, 16, 256)


def measure(build):
    """{plugin: figures}"""
    folder = next(build.glob("lib/**/rasad/plugins"))
    rows = {}
    for plugin in PLUGINS:
        print(f"measuring: {plugin}", file=sys.stderr, flush=True)
        out = subprocess.run(
            [build / "tests/bench_isolate", folder / f"{plugin}.so", plugin, ""],
            check=True, stdout=subprocess.PIPE, timeout=600)
        rows[plugin] = json.loads(out.stdout)
    return rows


def table(rows):
    lines = ["| plugin | state | in the server | " +
             " | ".join(f"isolated, batches of {n}" for n in BATCHES) + " | a series rendered |",
             "|---|---:|---:|" + "---:|" * (len(BATCHES) + 1)]
    for plugin, cost in rows.items():
        cells = [f"{cost[f'batch_{n}']:,.0f} ns, {cost[f'batch_{n}'] / cost['direct']:,.0f}×"
                 for n in BATCHES]
        lines.append(f"| {plugin} | {cost['state_bytes']:,} B | {cost['direct']:.1f} ns | "
                     f"{' | '.join(cells)} | {cost['render_all'] / 1e3:.2f} µs |")
    return lines


def machine():
    release = Path("/etc/os-release").read_text()
    system = re.search(r'PRETTY_NAME="([^"]+)"', release)[1]
    return f"{os.cpu_count()} cores, {platform.machine()}, {system}, build/release (gcc -O2)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release", help="the folder of the release build")
    parser.add_argument("--write", type=Path, help="the file to put the table into")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lines = [f"Measured by `./dev bench isolate` on {machine()}; the best of 15 rounds. Per sample, "
             "over 64 series.", "", *table(measure(Path(arguments.build).resolve()))]
    print("\n".join(lines))
    if arguments.write:
        write_between_marks(arguments.write, "isolate", lines)


if __name__ == "__main__":
    main()
