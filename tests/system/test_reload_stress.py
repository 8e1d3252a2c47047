# SPDX-License-Identifier: Apache-2.0
"""Plugins replaced and confs reloaded, over and over, while 8 connections push numbered samples.

RASAD_RELOADS (default 20) is how often each of both happens, every tenth conf being broken.
"""
import itertools
import json
import os
import shutil
import signal
import subprocess

import pytest

from harness import BUILD, built_with
from test_reload import reloading  # noqa: F401  the fixture
from wire import until

RELOADS = int(os.environ.get("RASAD_RELOADS", "20"))
CONNECTIONS = 8
BLAST = BUILD / "tests" / "bench" / "blast"
SAMPLES = 100  # in a message
MESSAGES = 50  # in the file that is sent over and over
SETTLED = 10   # reloads after which the memory no longer grows
CONF = '''
threads = 2
metric "T" { plugin = "tally" }
metric "G" { plugin = "gauge" }
'''
MORE = ('metric "C" { plugin = "counter" }\n', 'metric "C" { plugin = "counter"  labels = { "l" } }\n',
        'metric "H" { plugin = "histogram"  buckets = { 1, 2 } }\n', "")
BROKEN = 'metric "C" { plugin = "counter"  misspelt = 1 }\n'


def builds(server, folder):
    """Two builds of the plugin, ready to be put in place."""
    made = []
    for state in (2, 1):
        path = server.compile("tally", f"-DSTATE={state}", f'-DBUILD="{state}"')
        made.append(shutil.copy(path, folder / f"tally-{state}.so"))
    return itertools.cycle(made)


def put(server, build):
    fresh = server.plugins / "tally.new"
    shutil.copy(build, fresh)
    fresh.rename(server.plugins / "tally.so")


@pytest.mark.parametrize("state_dir", ["", "state"], ids=["memory", "disk"])
def test_every_count_is_exact_after_all_of_it(reloading, tmp_path, state_dir):  # noqa: F811
    conf = f'state_dir = "{state_dir}"\n' + CONF
    server = reloading(conf)
    lines = tmp_path / "round.json"
    message = json.dumps({"T": [1] * SAMPLES, "G": {"add": 1}}).encode() + b"\n"
    lines.write_bytes(message * MESSAGES)
    supply = builds(server, tmp_path)
    blast = subprocess.Popen([BLAST, str(server.port), str(CONNECTIONS), "900s", lines, "blast"],
                             stdout=subprocess.PIPE)
    try:
        server.wait_for("rasad_agents", equals=CONNECTIONS)
        settled = reload_often(server, supply, conf)
        grown = server.status_kib("VmRSS")
        server.wait_for("rasad_samples_total", metric="T", at_least=RELOADS * 50_000, deadline_s=600)
    finally:
        blast.terminate()
        output, _ = blast.communicate(timeout=300)
    assert blast.returncode == 0
    messages = json.loads(output)["files"] * MESSAGES
    check(server, messages)
    assert len(server.mapped()) == len(server.scrape().series("rasad_plugin_info")), "old copies are still mapped"
    if not built_with("a"):  # sanitizers keep memory of their own
        assert grown <= settled * 1.05, f"{settled} KiB after {SETTLED} reloads, {grown} KiB in the end"
    if state_dir:
        server.applies(conf)  # the last one that was tried may be broken
        server.restart(signal.SIGTERM)
        assert server.scrape().total("T_total") == messages * SAMPLES
        assert server.scrape().total("G") == messages


def reload_often(server, supply, conf):
    """Alternates what is reloaded; returns the memory once it had settled."""
    settled = None
    for n in range(RELOADS):
        put(server, next(supply))
        assert "info migrated metric=T" in server.applies(conf + MORE[n % len(MORE)])
        if n % 10 == 9:
            server.refuses(conf + BROKEN)
        else:
            server.applies(conf + MORE[(n + 1) % len(MORE)])
        if n + 1 == SETTLED:
            settled = server.status_kib("VmRSS")
    return settled


def check(server, messages):
    server.wait_for("rasad_agents", equals=0)
    until(lambda: server.scrape().total("T_total") == messages * SAMPLES, "all is shown")
    scrape = server.scrape()
    assert scrape.total("T_total") == messages * SAMPLES
    assert scrape.total("G") == messages
    assert scrape.value("rasad_samples_total", metric="T") == messages * SAMPLES
    assert scrape.value("rasad_connections_total") == CONNECTIONS
    assert not scrape.rejected()
    assert scrape.value("rasad_reloads_total", result="success") == 2 * RELOADS - RELOADS // 10
    assert scrape.value("rasad_reloads_total", result="failure") == RELOADS // 10
    assert len(scrape.series("rasad_plugin_info", plugin="tally")) == 1
    assert scrape.value("rasad_plugin_leaked_generations") == 0
