# SPDX-License-Identifier: Apache-2.0
"""The plugins that estimate (distinct, top, rate), as a scraper sees them: over several shards."""
import json
import math
import re
import time

import pytest

from harness import BUILD, program

MERGED = 'agent_label = ""\nthreads = 3\n'


def lines(*messages):
    return [json.dumps(message, ensure_ascii=False) for message in messages]


def test_distinct_counts_the_union_of_what_all_senders_saw(rasadd, agent, connect):
    server = rasadd(MERGED + 'metric "D" { plugin = "distinct"  precision = 14 }')
    assert server.scrape().series("D") == [({}, 0)]
    agents = [agent(server, name=f"web-{n}", lines=lines(
        *({"D": [f"user-{i}" for i in range(start, start + 1000)]} for start in first)))
        for n, first in enumerate((range(0, 12000, 1000), range(8000, 20000, 1000)))]
    clients = [connect(server) for _ in range(6)]
    for client in clients:
        client.send(*({"D": f"user-{i}"} for i in range(100))).ping()
    for web in agents:
        web.wait_all_acked()
    scrape = server.scrape()
    assert scrape.value("D") == pytest.approx(20000, rel=3 * 1.04 / math.sqrt(2**14))
    clients[0].send({"D": {"add": 1}}).ping()
    assert server.scrape().rejected() == {"bad_value": 1}


def test_distinct_tells_values_not_spellings(rasadd, connect):
    server = rasadd('metric "D" { plugin = "distinct" }')
    client = connect(server)
    client.send(b'{"D": 1}{"D": 1.0}{"D": "1"}{"D": "10e-1"}{"D": "one"}{"D": "One"}{"D": 2}').ping()
    assert server.scrape().value("D", agent=client.agent) == 4


def test_top_shows_the_most_frequent_texts_of_all_senders(rasadd, agent, connect):
    server = rasadd(MERGED + 'metric "Q" { plugin = "top"  k = 4  label = "text" }')
    odd = 'a "quoted" \\ and\ntwo lines, \u00e9'  # what a format must escape
    agents = [agent(server, name=f"web-{n}", lines=lines(
        *[{"Q": odd}] * 50, *[{"Q": "b"}] * (30 + n), *({"Q": f"rare {n} {i}"} for i in range(90))))
        for n in range(2)]
    clients = [connect(server) for _ in range(6)]
    for client in clients:
        client.send(*[{"Q": 404}] * 10, {"Q": "404"}, {"Q": ["c", "c"]}).ping()
    for web in agents:
        web.wait_all_acked()
    scrape = server.scrape()
    assert [(labels["text"], value) for labels, value in scrape.series("Q_total")] == [
        (odd, 100), ("404", 66), ("b", 61), ("c", 12)]
    # Each of them is a counter of its own, so each says since when.
    created = {labels["text"] for labels, _ in scrape.series("Q_created")}
    assert created == {odd, "404", "b", "c"}
    clients[0].send({"Q": ""}, {"Q": "x" * 120}, {"Q": "a\u0000b"}, {"Q": {"add": 1}}).ping()
    assert server.scrape().rejected() == {"bad_value": 4}


def test_top_finds_what_is_frequent_among_more_texts_than_it_keeps(rasadd, connect):
    server = rasadd(MERGED + 'metric "Q" { plugin = "top"  k = 3 }')
    clients = [connect(server) for _ in range(6)]
    for n, client in enumerate(clients):
        client.send({"Q": [text for i in range(2000)
                           for text in ("often", f"{n} {i}", f"{i} {n}", ("less", "rare")[i % 2])]}).ping()
    samples = 6 * 2000 * 4
    shown = {labels["value"]: value for labels, value in server.scrape().series("Q_total")}
    for text, count in (("often", 12000), ("less", 6000), ("rare", 6000)):
        assert count <= shown[text] <= count + samples / 256


def test_a_label_that_the_series_has_already_leaves_it_out_and_is_counted(rasadd, connect):
    server = rasadd('metric "Q" { plugin = "top"  label = "path"  labels = { "path" } }')
    client = connect(server)
    client.send({"Q": "a"}).ping()
    scrape = server.scrape()
    assert scrape.series("Q_total") == []
    assert server.scrape().value("rasad_render_errors_total", metric="Q") >= 1


def test_rate_is_that_of_all_senders_at_the_time_of_the_scrape(rasadd, agent, connect):
    server = rasadd(MERGED + 'metric "R" { plugin = "rate" }')
    assert [value for _, value in server.scrape().series("R")] == [0, 0, 0]
    now = time.time()
    samples = [(7 * i % 50 + 1, now - 13 * i % 1200) for i in range(200)]  # in no order
    messages = [{"R": {("value", "add")[i % 2]: number, "time": when}}
                for i, (number, when) in enumerate(samples)]
    agents = [agent(server, name=f"web-{n}", lines=lines(*messages[n:100:2])) for n in range(2)]
    clients = [connect(server) for _ in range(5)]
    for n, client in enumerate(clients):
        client.send(*messages[100 + n::5]).ping()
    for web in agents:
        web.wait_all_acked()
    before = time.time()
    scrape = server.scrape()
    after = time.time()
    for window, tau in (("1m", 60), ("5m", 300), ("15m", 900)):
        low, high = (sum(number * math.exp((when - at) / tau) for number, when in samples) / tau
                     for at in (after, before))
        assert low * (1 - 1e-6) <= scrape.value("R", window=window) <= high * (1 + 1e-6)
    clients[0].send({"R": -1}, {"R": "fast"}).ping()
    assert server.scrape().rejected() == {"bad_value": 2}


def test_sketches_of_agents_and_labels_are_series_of_their_own(rasadd, connect):
    server = rasadd('metric "R" { plugin = "rate"  labels = { "path" } }'
                    'metric "Q" { plugin = "top"  labels = { "path" }  max_series = 2 }')
    client = connect(server)
    for path in ("/a", "/b", "/c", "/d"):
        labels = {"path": path}
        client.send({"R": {"value": 6, "labels": labels}, "Q": {"value": "x", "labels": labels}})
    client.ping()
    scrape = server.scrape()
    assert scrape.value("Q_total", agent=client.agent, path="/a", value="x") == 1
    assert scrape.value("Q_total", overflow="true", value="x") == 2
    assert 0 < scrape.value("R", agent=client.agent, path="/d", window="1m") <= 0.1


@pytest.mark.parametrize("wrong", ['metric "D" { plugin = "distinct"  precision = 17 }',
                                   'metric "Q" { plugin = "top"  label = "le" }',
                                   'metric "Q" { plugin = "top"  k = 0 }'])
def test_options_out_of_bounds_are_refused(run, tmp_path, wrong):
    path = tmp_path / "rasad.conf"
    path.write_text(wrong + "\n")
    check = run(program("rasadd"), "-t", "-c", path)
    assert check.wait() == 78
    check.wait_line(r'rasad\.conf:1: "?(precision|label|k)\b')


def test_the_examples_in_the_shipped_conf_are_right(run, tmp_path):
    shipped = (BUILD / "etc" / "rasad" / "rasad.conf").read_text()
    examples = re.findall(r"^# metric .*?^# }$", shipped, re.M | re.S)
    plugins = {name for example in examples for name in re.findall(r'plugin = "(\w+)"', example)}
    assert plugins >= {"summary", "distinct", "top", "rate"}
    path = tmp_path / "rasad.conf"
    path.write_text(re.sub(r"^# ", "", "\n".join(examples), flags=re.M) + "\n")
    check = run(program("rasadd"), "-t", "-c", path)
    assert check.wait() == 0, check.log
