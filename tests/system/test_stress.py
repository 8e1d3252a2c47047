# SPDX-License-Identifier: Apache-2.0
"""Eight connections at full speed while scrapes go on: sums that are exact, and no report.

RASAD_STRESS_SECONDS (default 10) is how long. Samples are whole numbers, so that sums of doubles
are exact in any order.
"""
import json
import os
import subprocess

import pytest

from harness import BUILD

SECONDS = int(os.environ.get("RASAD_STRESS_SECONDS", "10"))
CONNECTIONS = 8
BLAST = BUILD / "tests" / "bench" / "blast"
CONF = '''
threads = 3
metric "C" { plugin = "counter"  labels = { "path" } }
metric "G" { plugin = "gauge" }
metric "H" { plugin = "histogram"  buckets = { 1, 10, 100 } }
metric "S" { plugin = "summary"  quantiles = { 0.5 } }
metric "L" { plugin = "letter_counter"  letters = "aA" }
metric "in_*" { plugin = "counter"  name = "inputs" }
'''
ROUND = [
    b'{"C": 1}\n', b'{"C":2}{"C":"3"}', b'{"G": {"add": 1}}\n', b'{"H": [1, 5, 50, 500]}\r\n',
    b'{"L": "banana"}\n', b'{"S": 7, "H": 10}\n', b'{"in_a": 1, "in_b": 2}\n',
    b'{"C": {"value": 4, "labels": {"path": "/a"}}}\n', b'{"C": {"labels": {"path": "/b"}, "value": "5"}}\n',
    b"17".ljust(64) + b'{"C": 100000000 }'[:17], b'{"nobody": 1}\n', b"rubbish\n", b'{"C": -1}\n',
    '{"L": "ä\\u00e4\\n"}\n'.encode(), b'{"@ping": 1}\n',
]


@pytest.mark.parametrize("agent_label", ["agent", ""], ids=["each", "merged"])
def test_sums_stay_exact_at_full_speed(rasadd, tmp_path, agent_label):
    server = rasadd(f'agent_label = "{agent_label}"\n' + CONF)
    lines = tmp_path / "round.json"
    lines.write_bytes(b"".join(ROUND) * 100)
    blast = subprocess.Popen([BLAST, str(server.port), str(CONNECTIONS), f"{SECONDS}s", lines],
                             stdout=subprocess.PIPE)
    scrapes = scrape_while(server, blast)
    output, _ = blast.communicate(timeout=SECONDS + 300)
    assert blast.returncode == 0
    rounds = json.loads(output)["files"] * 100
    assert rounds > 0 and scrapes > 0
    server.wait_for("rasad_agents", equals=0)
    check_sums(server.scrape(), rounds)


def scrape_while(server, blast):
    """Scrapes until the load ends; no counter may ever fall. Returns how often."""
    last, count = {}, 0
    while blast.poll() is None:
        scrape = server.scrape()
        for family in scrape.families.values():
            if family.type != "counter":
                continue
            for name, labels, value in family.samples:
                key = (name, frozenset(labels.items()))
                assert value >= last.get(key, 0), f"{name}{labels} fell"
                last[key] = value
        count += 1
    return count


def check_sums(scrape, rounds):
    assert scrape.total("C_total") == rounds * (1 + 2 + 3 + 4 + 5 + 100000000)
    assert scrape.total("C_total", path="/a") == rounds * 4
    assert scrape.total("C_total", path="/b") == rounds * 5
    assert scrape.total("G") == rounds
    assert scrape.total("H_count") == rounds * 5
    assert scrape.total("H_sum") == rounds * 566
    assert [scrape.total("H_bucket", le=le) for le in ("1", "10", "100", "+Inf")] == [
        rounds, rounds * 3, rounds * 4, rounds * 5]
    assert scrape.total("L_total") == rounds * 3
    assert scrape.total("S_count") == rounds
    assert scrape.total("S_sum") == rounds * 7
    assert scrape.total("inputs_total") == rounds * 3
    assert scrape.rejected() == {"unknown_key": rounds, "bad_json": rounds, "bad_value": rounds}
    assert scrape.value("rasad_samples_total", metric="C") == rounds * 6
