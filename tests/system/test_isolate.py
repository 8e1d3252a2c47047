# SPDX-License-Identifier: Apache-2.0
"""Plugins that go wrong: isolated ones harm nobody, and others are known when the server is back."""
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import BUILD, program
from wire import until

FOLDERS = 'plugin_path = { "%s", "%s" }\n' % (
    BUILD / "tests/unit/naughty", next(BUILD.glob("lib/**/rasad/plugins")))
ISOLATED = FOLDERS + """
metric "hits" { plugin = "naughty"  isolate = true  %s }
metric "others" { plugin = "counter" }
"""
# Of the sanitizers, none is to make something else of a null write than what it is.
BARE = {"ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=16:handle_segv=0"}


def workers(server):
    """Processes of the server's workers: the main ones, and what they have forked."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "rasad-worker" and rest.split()[0] != "Z":
            parents[int(path.parent.name)] = int(rest.split()[1])
    mains = {pid for pid, parent in parents.items() if parent == server.pid}
    return mains, {pid for pid, parent in parents.items() if parent in mains}


def zombies(server):
    """Dead children that the server has not waited for."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if rest[0] == "Z" and int(rest[1]) == server.pid:
            found.append(path.parent.name)
    return found


def is_gone(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def hits(scrape, client):
    return scrape.value("hits_total", agent=client.agent, word="a word")


def crash_folder(server):
    return server.folder / "crashes"


def test_a_null_write_on_13_costs_the_13s_only(rasadd, connect):
    server = rasadd(ISOLATED % "isolate_timeout = 5s")
    clients = [connect(server) for _ in range(2)]
    for client in clients:
        client.send(*({"hits": i % 14, "others": 1} for i in range(5000)))
    for client in clients:
        client.ping()
    scrape = server.scrape()
    thirteens = sum(1 for i in range(5000) if i % 14 == 13)
    for client in clients:
        assert scrape.value("others_total", agent=client.agent) == 5000
        assert hits(scrape, client) == 5000 - thirteens
    assert scrape.rejected() == {"plugin_crash": 2 * thirteens}
    assert scrape.value("rasad_samples_total", metric="hits") == 2 * (5000 - thirteens)
    server.wait_line("an isolated plugin crashed metric=hits plugin=naughty doing=update")
    kept = list(crash_folder(server).glob("naughty-*.json"))
    assert 0 < len(kept) <= 100
    told = json.loads(kept[0].read_text())
    assert told["metric"] == "hits" and told["value"]["number"] == 13 and told["state"]
    assert not zombies(server)


def test_a_series_that_only_crashes_is_not_shown(rasadd, connect):
    server = rasadd(ISOLATED % 'labels = { "path" }')
    client = connect(server)
    client.send({"hits": [{"value": 13, "labels": {"path": "/bad"}},
                          {"value": 1, "labels": {"path": "/good"}},
                          {"value": 13, "labels": {"path": "/bad"}}]}).ping()
    scrape = server.scrape()
    assert [labels["path"] for labels, _ in scrape.series("hits_total")] == ["/good"]
    assert scrape.rejected() == {"plugin_crash": 2}
    assert scrape.value("rasad_series", metric="hits") == 1


def test_what_an_isolated_plugin_refuses_has_its_reason(rasadd, connect):
    server = rasadd(ISOLATED % "ceiling = 3")
    client = connect(server)
    client.send({"hits": [1, 7, 2]}, {"hits": {"value": 1, "labels": {"no": "x"}}}).ping()
    scrape = server.scrape()
    assert hits(scrape, client) == 2
    assert scrape.rejected() == {"bad_value": 1, "bad_label": 1}
    server.wait_line("7 is above 3")


def test_a_hang_is_cut_short(rasadd, connect):
    server = rasadd(ISOLATED % "isolate_timeout = 50ms")
    client = connect(server)
    client.send({"hits": [1, 14, 2], "others": 1}).ping()
    scrape = server.wait_for("rasad_rejected_total", reason="plugin_crash", equals=1)
    assert hits(scrape, client) == 2
    assert scrape.value("others_total", agent=client.agent) == 1
    server.wait_line("no answer within 50 ms")


def test_five_in_a_row_switch_off_this_metric_alone(rasadd, connect):
    server = rasadd(ISOLATED % "isolate_timeout = 5s" +
                    'metric "more" { plugin = "naughty"  isolate = true }')
    client = connect(server)
    client.send(*[{"hits": 13, "others": 1}] * 10, {"hits": 1, "more": 1}).ping()
    scrape = server.scrape()
    assert scrape.rejected() == {"plugin_crash": 11}
    assert scrape.get("hits_total", agent=client.agent, word="a word") is None
    assert scrape.value("others_total", agent=client.agent) == 10
    assert scrape.value("more_total", agent=client.agent, word="a word") == 1
    server.wait_line("is switched off until the next reload")
    assert server.stop() == 0
    assert len(re.findall("is switched off until the next reload", server.log)) == 1


@pytest.mark.parametrize("which", (0, 1), ids=("main", "forked"))
def test_killed_workers_cost_no_sample(rasadd, connect, which):
    server = rasadd(ISOLATED % "isolate_timeout = 5s")
    client = connect(server)
    for _ in range(10):
        client.send(*[{"hits": 1, "others": 1}] * 500).ping()
        mains, forked = workers(server)
        killed = (mains, forked)[which]
        assert killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(is_gone(pid) for pid in forked), "they don't die")
    scrape = server.scrape()
    assert hits(scrape, client) == 5000
    assert scrape.value("others_total", agent=client.agent) == 5000
    assert scrape.rejected() == {}
    assert not zombies(server)


def test_stopped_workers_hold_up_nobody_for_long(rasadd, connect):
    server = rasadd(ISOLATED % "isolate_timeout = 100ms")
    client = connect(server)
    client.send({"hits": 1, "others": 1}).ping()
    mains, forked = workers(server)
    assert mains and forked
    for pid in mains | forked:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    client.send({"hits": 1, "others": 1}).ping()
    assert time.monotonic() - begun < 9
    scrape = server.scrape()
    assert hits(scrape, client) == scrape.value("others_total", agent=client.agent) == 2
    until(lambda: all(is_gone(pid) for pid in mains | forked), "they stay")
    assert not zombies(server)


def test_kill_9_of_the_server_leaves_no_worker(rasadd, connect):
    server = rasadd(ISOLATED % "")
    connect(server).send({"hits": 1}).ping()
    server.scrape()
    mains, forked = workers(server)
    assert mains and forked
    server.kill(signal.SIGKILL).wait()
    until(lambda: all(is_gone(pid) for pid in mains | forked), "a worker outlives the server")


def test_a_clean_end_leaves_no_worker_either(rasadd, connect):
    server = rasadd(ISOLATED % "")
    connect(server).send({"hits": 1}).ping()
    mains, forked = workers(server)
    assert server.stop() == 0
    assert all(is_gone(pid) for pid in mains | forked)


def test_series_of_many_shards_are_merged_and_shown(rasadd, connect):
    server = rasadd(ISOLATED % "" + 'agent_label = ""\nthreads = 4\n')
    clients = [connect(server) for _ in range(12)]
    for client in clients:
        client.send({"hits": [1, 2, 3]})
    for client in clients:
        client.ping()
    assert server.scrape().value("hits_total", word="a word") == 36


def test_a_reload_takes_states_into_isolation_and_back(rasadd, connect):
    server = rasadd(FOLDERS + 'metric "quiet" { plugin = "calm" }')
    client = connect(server)
    for number, isolate in enumerate(("true", "false", "true"), start=1):
        client.send({"quiet": [1, 2]}).ping()
        server.conf = FOLDERS + 'metric "quiet" { plugin = "calm"  isolate = %s }' % isolate
        server.write_conf()
        before = len(server.lines)
        server.kill(signal.SIGHUP)
        server.wait_line('metric=quiet detail="new isolate"', after=before)
        scrape = server.wait_for("rasad_reloads_total", result="success", equals=number)
        assert scrape.value("quiet_total", agent=client.agent) == 2 * number
        isolated = [labels.get("isolated") for labels, _ in scrape.series("rasad_plugin_info")]
        assert isolated == (["true"] if isolate == "true" else [None])
        until(lambda: bool(workers(server)[0]) == (isolate == "true"), "workers stay")
    client.send({"quiet": ["null", 1]}).ping()
    assert server.scrape().value("quiet_total", agent=client.agent) == 7


def test_what_configure_refuses_in_its_worker_is_an_error_of_the_conf(tmp_path):
    conf = tmp_path / "rasad.conf"
    conf.write_text(ISOLATED % "ceiling = -1")
    done = subprocess.run([program("rasadd"), "-t", "-c", conf], capture_output=True, text=True)
    assert done.returncode == 78
    assert done.stderr == f"{conf}:3: ceiling must not be below zero\n"
    conf.write_text(ISOLATED % "ceilin = 1")
    done = subprocess.run([program("rasadd"), "-t", "-c", conf], capture_output=True, text=True)
    assert 'did you mean "ceiling"?' in done.stderr


def crash(server, client):
    client.send({"quiet": 1}, {"quiet": "null"})
    code = server.wait()
    assert code == -signal.SIGSEGV


def test_two_crashes_of_the_server_isolate_the_plugin(rasadd, connect):
    server = rasadd(FOLDERS + 'metric "quiet" { plugin = "calm"  labels = { "path" } }',
                    environment=BARE)
    for number in (1, 2):
        crash(server, connect(server))
        record = (crash_folder(server) / "crashes.log").read_text().splitlines()[-1]
        assert re.fullmatch(r'time=\d+ plugin=calm signal=11 address=0x0 number=2 family="quiet" '
                            r'agent="127\.0\.0\.1:\d+" labels=""', record)
        server.start()
        assert ("a plugin crashed the server twice" in server.log) == (number == 2)
    client = connect(server)
    client.send({"quiet": 1}, {"quiet": "null"}, {"quiet": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("quiet_total", agent=client.agent) == 2
    assert scrape.rejected() == {"plugin_crash": 1}


def test_a_folder_that_cannot_be_written_is_one_warning(rasadd, connect):
    server = rasadd('admin_socket = "/proc/nowhere/rasad.sock"\nmetric "C" { plugin = "counter" }')
    assert len(re.findall("crashes can't be noted", server.log)) == 1
    client = connect(server)
    client.send({"C": 1}).ping()
    assert server.scrape().value("C_total", agent=client.agent) == 1
