# SPDX-License-Identifier: Apache-2.0
"""State on disk: what a restart, a kill -9, another conf and a damaged file leave of it."""
import hashlib
import json
import re
import signal
import subprocess

import pytest

from harness import LISTENING, Process, built_with, program
from wire import chain, until

CONF = '''
state_dir = "state"
metric "C" { plugin = "counter"  labels = { "path", "code" } }
metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }
metric "G" { plugin = "gauge" }
metric "H" { plugin = "histogram"  buckets = { 1, 2, 4 } }
'''
STREAM = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2


def push(connect, server, agent, stream, *messages):
    """Sends them under the numbers that follow, and waits until they are on disk."""
    client = connect(server)
    welcome = client.hello(agent, stream)
    client.send(*messages).wait_ack(welcome["applied"] + len(messages))
    return client


def ask(server, *arguments):
    """What rasadctl prints of it."""
    return subprocess.run([program("rasadctl"), *arguments, "-S", f"{server.folder}/rasad.sock"],
                          capture_output=True, text=True, timeout=60, check=True).stdout


def labelled(path, add=1):
    return {"C": {"add": add, "labels": {"path": path}}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_survives_the_end_of_the_server(rasadd, connect, number):
    server = rasadd(CONF)
    messages = [b'{"C": 2}', b'{"A_Pressed": "banana"}', b'{"G": 7.5}', b'{"H": [1, 3, 9]}', b"rubbish\n"]
    push(connect, server, "web-1", STREAM, *messages)
    before = server.scrape()
    server.stop(number)
    server.start()
    after = server.scrape()
    for name in ("C_total", "C_created", "A_Pressed_total", "A_Pressed_created", "G", "H_bucket",
                 "H_sum", "H_count", "H_created"):
        assert sorted(map(str, after.series(name))) == sorted(map(str, before.series(name))), name
    welcome = connect(server).hello("web-1", STREAM)
    numbered = [m.rstrip(b"\n") for m in messages]
    assert welcome == {"applied": 5, "committed": 5, "chain": chain(numbered)}


def test_a_hello_says_what_is_applied_and_what_is_on_disk(rasadd, connect):
    server = rasadd('commit_interval = "5s"' + CONF)
    first = push(connect, server, "web-1", STREAM, {"C": 1})  # the next commit is 5 s away
    first.send({"C": 1}, {"C": 1}).ping()
    welcome = first.hello("web-1", STREAM)
    assert (welcome["applied"], welcome["committed"]) == (3, 1)
    server.stop(signal.SIGKILL)
    server.start()
    welcome = connect(server).hello("web-1", STREAM)
    assert (welcome["applied"], welcome["committed"]) == (1, 1)
    assert server.scrape().value("C_total", agent="web-1") == 1


def test_acks_that_came_too_late_for_a_stop_are_sent_before_the_goodbye(rasadd, connect):
    server = rasadd('commit_interval = "5s"' + CONF)
    client = push(connect, server, "web-1", STREAM, {"C": 1})
    client.send({"C": 1}).ping()
    server.kill(signal.SIGTERM)
    assert client.rest() == [{"@ack": 2}]
    server.wait()
    server.start()
    assert server.scrape().value("C_total", agent="web-1") == 2


@pytest.mark.parametrize("goodbye", [b"", b"!DISCONNECT"])
def test_who_says_goodbye_hears_the_last_ack(rasadd, connect, goodbye):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}, {"C": 1}, goodbye)
    assert client.end()[-1] == {"@ack": 2}


def test_an_unnamed_sender_goes_on_where_its_address_was(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server, source="127.86.3.9")  # whose ports nobody else takes
    client.send({"C": 5}).ping()
    server.wait_for("C_total", equals=5, agent=client.agent)
    client.reset()  # so that its port is free again at once
    server.restart(signal.SIGTERM)
    assert server.scrape().value("C_total", agent=client.agent) == 5
    again = connect(server, source="127.86.3.9", source_port=client.port)
    again.send({"C": 2}).ping()
    server.wait_for("C_total", equals=7, agent=client.agent)


def test_another_number_of_threads_changes_no_count(rasadd, connect):
    server = rasadd('threads = 1\nagent_label = ""' + CONF)
    for threads in (4, 2, 1, 3):
        for i in range(8):
            push(connect, server, f"web-{i}", f"{threads:016x}{i:016x}", {"C": 1}, {"G": threads})
        server.stop()
        server.conf = f'threads = {threads}\nagent_label = ""' + CONF
        server.start()
    assert server.scrape().series("C_total") == [({}, 4 * 8)]
    assert server.scrape().series("G") == [({}, 3)]


def test_senders_that_are_told_apart_no_more_are_merged(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "web-1", STREAM, {"C": 1})
    push(connect, server, "web-2", OTHER, {"C": 2})
    server.stop()
    server.conf = 'agent_label = ""' + CONF
    server.start()
    assert server.scrape().series("C_total") == [({}, 3)]
    server.restart(signal.SIGTERM)
    assert server.scrape().series("C_total") == [({}, 3)]
    assert connect(server).hello("web-2", OTHER)["applied"] == 1


def test_labels_may_go_and_come_while_the_server_is_down(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, labelled("/a", 1), labelled("/b", 2), {"C": 4})
    server.stop()
    server.conf = CONF.replace('"path", "code"', '"code", "path"')
    server.start()
    assert server.scrape().value("C_total", agent="w", path="/b") == 2
    server.stop()
    server.conf = CONF.replace('labels = { "path", "code" }', "")
    server.start()
    assert server.scrape().series("C_total") == [({"agent": "w"}, 7)]
    server.restart(signal.SIGTERM)
    assert server.scrape().series("C_total") == [({"agent": "w"}, 7)]


def test_the_overflow_of_a_family_survives_with_its_places(rasadd, connect):
    conf = CONF.replace('"path", "code" }', '"path", "code" }  max_series = 2')
    server = rasadd(conf)
    push(connect, server, "w", STREAM, *(labelled(f"/{i}") for i in range(5)))
    server.restart(signal.SIGTERM)
    push(connect, server, "w", STREAM, labelled("/1"), labelled("/9"))
    server.wait_for("C_total", equals=4, overflow="true")
    assert server.scrape().value("C_total", agent="w", path="/1") == 2


def without(conf, metric):
    return "\n".join(line for line in conf.splitlines() if f'"{metric}"' not in line)


def test_a_metric_that_leaves_the_conf_comes_back_with_its_states(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 3}, {"G": 1})
    created = server.scrape().value("C_created", agent="w")
    server.stop()
    server.conf = without(CONF, "C")
    server.start()
    assert server.scrape().series("C_total") == []
    assert server.wait_line(r"state loaded .*aside=1\b")
    server.restart(signal.SIGTERM)
    server.stop()
    server.conf = CONF
    server.start()
    assert server.scrape().value("C_total", agent="w") == 3
    assert server.scrape().value("C_created", agent="w") == created


def reload(server, conf):
    """Has the running server take another conf."""
    server.conf = conf
    server.write_conf()
    before = len(server.lines)
    server.kill(signal.SIGHUP)
    server.wait_line(r"info reloaded ", after=before)


def test_a_reload_puts_a_metric_aside_and_brings_it_back(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 3}, labelled("/a", 4), {"G": 1})
    reload(server, without(CONF, "C"))
    assert server.scrape().series("C_total") == []
    push(connect, server, "w", STREAM, {"C": 100})  # nobody takes it
    reload(server, CONF)
    assert server.scrape().value("C_total", agent="w") == 3
    assert server.scrape().value("C_total", agent="w", path="/a") == 4
    push(connect, server, "w", STREAM, {"C": 1})
    server.restart(signal.SIGTERM)
    assert server.scrape().value("C_total", agent="w") == 4


def test_states_of_other_options_wait_for_theirs_to_come_back(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"H": [1, 3]})
    reload(server, CONF.replace("1, 2, 4", "1, 10"))
    push(connect, server, "w", STREAM, {"H": [1, 3, 5]})
    assert server.scrape().value("H_count", agent="w") == 3
    server.restart(signal.SIGTERM)
    assert server.scrape().value("H_count", agent="w") == 3
    reload(server, CONF)
    assert server.scrape().value("H_bucket", agent="w", le="4") == 2
    push(connect, server, "w", STREAM, {"H": 2})
    server.restart(signal.SIGTERM)
    assert server.scrape().value("H_count", agent="w") == 3


def test_labels_that_a_reload_takes_away_are_gone_on_disk_too(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, labelled("/a", 1), labelled("/b", 2), labelled("/c", 4))
    conf = CONF.replace('labels = { "path", "code" }', "")
    reload(server, conf)
    server.stop(signal.SIGKILL)  # whether the merged series came to the disk or not
    server.start()
    assert server.scrape().series("C_total") == [({"agent": "w"}, 7)]
    server.restart(signal.SIGTERM)
    assert server.scrape().series("C_total") == [({"agent": "w"}, 7)]


def test_states_aside_are_kept_for_state_keep_and_no_longer(rasadd, connect):
    server = rasadd('state_keep = "1s"' + CONF)
    push(connect, server, "w", STREAM, {"C": 3}, {"G": 1})
    server.stop()
    server.conf = 'state_keep = "1s"' + without(CONF, "C")
    server.start()
    until(lambda: json.loads(ask(server, "status", "--json"))["uptime_seconds"] > 1.1, "the states are old")
    server.restart(signal.SIGTERM)
    push(connect, server, "w", STREAM, {"G": 2})  # with the first commit they are looked at
    server.wait_for("rasad_commit_seconds_count", at_least=1)
    server.stop()
    server.conf = CONF
    server.start()
    server.wait_line(r"state loaded .* series=1 ")


def test_expiry_goes_by_the_time_that_servers_ran(rasadd, connect):
    conf = CONF.replace('metric "C" {', 'metric "C" { expire = "3s" ')
    server = rasadd(conf)
    push(connect, server, "w", STREAM, {"C": 1}, {"G": 1})
    server.restart(signal.SIGTERM)
    assert server.scrape().value("C_total", agent="w") == 1
    until(lambda: not server.scrape().series("C_total"), "the series has expired")
    server.restart(signal.SIGTERM)
    assert server.scrape().series("C_total") == []
    assert server.scrape().value("G", agent="w") == 1


def test_a_named_agent_is_known_to_be_gone_after_a_restart(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 1}).close()
    server.wait_for("rasad_agent_up", equals=0, agent="w")
    seen = server.scrape().value("rasad_agent_last_seen_timestamp_seconds", agent="w")
    server.restart(signal.SIGTERM)
    scrape = server.scrape()
    assert scrape.value("rasad_agent_up", agent="w") == 0
    assert scrape.value("rasad_agent_last_seen_timestamp_seconds", agent="w") == seen
    push(connect, server, "w", STREAM, {"C": 1})
    assert server.scrape().value("rasad_agent_up", agent="w") == 1


def test_an_agent_that_was_connected_and_silent_is_not_taken_for_gone(rasadd, connect):
    server = rasadd('stale_after = "2s"' + CONF)
    push(connect, server, "w", STREAM, {"G": 1})
    push(connect, server, "v", OTHER, {"G": 1}).close()
    until(lambda: server.scrape().series("G") == [({"agent": "w"}, 1)], "the other one is stale")
    server.restart(signal.SIGTERM)
    assert server.scrape().series("G") == [({"agent": "w"}, 1)]


def test_a_forgotten_stream_is_forgotten_on_disk(rasadd, connect):
    server = rasadd('agent_ttl = "1s"' + CONF)
    push(connect, server, "w", STREAM, {"C": 1}).close()
    until(lambda: connect(server).hello("v", OTHER) and
          server.scrape().get("rasad_agent_up", agent="w") == 0, "the agent is gone")

    def forgotten():
        client = connect(server)
        applied = client.hello("w", STREAM)["applied"]
        client.close()
        return applied == 0

    until(lambda: STREAM not in ask(server, "dump"), "the sweep has come by and was committed")
    assert forgotten()
    server.restart(signal.SIGTERM)
    assert forgotten()


def test_bytes_that_change_nothing_hold_nobody_up(rasadd, connect):
    server = rasadd("threads = 1" + CONF)
    client = connect(server)
    client.hello("w", STREAM)
    client.send(b" " * (70 << 20)).ping()  # more than may be read and not be on disk
    client.send({"C": 1}).wait_ack(1)


# ---- What is not used --------------------------------------------------------------------------

def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(server):
    """Starts it again, which must fail; what it says."""
    ended = subprocess.run([program("rasadd"), "-c", server.write_conf()], cwd=server.folder,
                           stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def starts_whole(server):
    """Whether it starts again; then nothing may be missing."""
    try:
        server.start()
    except AssertionError:
        assert "data.mdb" in server.log, server.log
        assert server.wait() == 1
        return False
    assert len(server.scrape().series("C_total")) == 501
    server.stop(signal.SIGKILL)
    return True


@pytest.fixture
def stopped(rasadd, connect):
    """A server that has ended, and its database's file."""
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 1}, *(labelled(f"/{i}") for i in range(500)))
    server.stop()
    return server, server.folder / "state" / "data.mdb"


def test_a_newer_format_is_refused_and_left_untouched(stopped):
    server, file = stopped
    content, magic = bytearray(file.read_bytes()), b"rasadsta"
    at = content.find(magic)
    assert at > 0
    while at > 0:
        content[at - 4:at] = (2).to_bytes(4, "little")
        at = content.find(magic, at + 1)
    file.write_bytes(content)
    before = digest(file)
    assert "it is of format 2, and this version knows format 1 (install the newer version" in refused(server)
    assert digest(file) == before


def test_a_file_that_is_no_database_is_refused_and_left_untouched(stopped):
    server, file = stopped
    file.write_text("What is this? " * 1000)
    before = digest(file)
    assert "data.mdb can't be used: MDB_INVALID" in refused(server)
    assert digest(file) == before


def test_a_torn_page_is_refused_or_was_not_in_use(stopped):
    """Each page in turn is torn. A server that starts all the same has lost nothing."""
    server, file = stopped
    whole = file.read_bytes()
    refusals = 0
    for page in range(2, len(whole) // 4096):
        torn = bytearray(whole)
        torn[page * 4096 + 1024:page * 4096 + 4096] = b"\xa5" * 3072
        file.write_bytes(torn)
        before = digest(file)
        if starts_whole(server):
            continue
        refusals += 1
        assert digest(file) == before
    assert refusals >= 10
    file.write_bytes(whole)
    server.start()
    assert len(server.scrape().series("C_total")) == 501


def test_a_file_that_was_cut_is_refused(stopped):
    server, file = stopped
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole) // 8192 * 4096])
    assert "data.mdb" in refused(server)
    file.write_bytes(whole)
    server.start()
    assert len(server.scrape().series("C_total")) == 501


@pytest.mark.skipif(built_with("address") or built_with("thread"), reason="sanitizers mind strace")
def test_what_a_killed_server_wrote_is_on_the_disk_before_it_is_told(rasadd, connect, tmp_path):
    """It may have been killed between a write and its sync; the page cache shows what a power cut takes."""
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}).wait_ack(1)
    server.stop(signal.SIGKILL)
    trace = tmp_path / "trace"
    traced = Process(["strace", "-D", "-f", "-y", "-e", "trace=fdatasync", "-o", trace, program("rasadd"), "-c",
                      server.folder / "rasad.conf"], server.folder)
    try:
        traced.wait_line(LISTENING)
        assert re.search(r"fdatasync\(\d+<.*/data\.mdb>\) += 0", trace.read_text())
    finally:
        traced.popen.terminate()
        traced.popen.wait(20)


def test_two_servers_do_not_share_a_state(rasadd):
    server = rasadd(CONF)
    other = subprocess.run([program("rasadd"), "-c", server.folder / "rasad.conf"], cwd=server.folder,
                           stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert other.returncode == 1
    assert 'state_dir state is another server\'s, which runs (give each a folder of its own)' in other.stderr
    server.scrape()


def test_a_folder_that_cannot_be_is_an_error_at_the_start(rasadd):
    server = rasadd("")
    server.stop()
    server.conf = 'state_dir = "no/such/folder"'
    assert "cannot make state_dir no/such/folder: No such file or directory" in refused(server)
