# SPDX-License-Identifier: Apache-2.0
"""rasadctl dump and restore: what a backup holds, that it is one commit, that nothing but a whole
one is restored, and that nobody is held up by who takes one."""
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import built_with, program
from wire import DEADLINE_S, chain, crc32c, until

CONF = '''
state_dir = "state"
metric "C" { plugin = "counter"  labels = { "path", "code" }  max_series = 6 }
metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }
metric "G" { plugin = "gauge" }
metric "H" { plugin = "histogram"  buckets = { 1, 2, 4 } }
metric "S" { plugin = "summary"  quantiles = { 0.5, 0.9 }  labels = { "söme" } }
metric "req_*" { plugin = "counter" }
'''.replace("söme", "some")
STREAM = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
SLOW = 5 if built_with("address") or built_with("thread") else 1
STRANGE = ('a "quoted" \\ name', "العربية 日本語 🦀", "{}[],:", "\u202eevil\u200b", "'; DROP", "=+/" * 80)


def ctl(*arguments, stdin=b"", status=0):
    done = subprocess.run([program("rasadctl"), *arguments], input=stdin, capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == status, (arguments, done.returncode, done.stdout[-500:], done.stderr)
    assert (done.stderr == b"") == (status == 0), done.stderr
    return done.stdout if status == 0 else done.stderr.decode()


def dump(server, **options):
    return ctl("dump", "-S", f"{server.folder}/rasad.sock", **options)


def lines(backup):
    return [json.loads(line) for line in backup.splitlines()]


def of_kind(backup, kind):
    return [line[kind] for line in lines(backup) if kind in line]


def sealed(backup):
    """The same with the end line that belongs to it."""
    body = b"".join(line + b"\n" for line in backup.splitlines() if not line.startswith(b'{"end":'))
    end = {"end": {"lines": body.count(b"\n"), "crc32c": f"{crc32c(body):08x}"}}
    return body + json.dumps(end, separators=(",", ":")).encode() + b"\n"


def push(connect, server, agent, stream, *messages):
    """Sends them under the numbers that follow, and waits until they are on disk."""
    client = connect(server)
    welcome = client.hello(agent, stream)
    client.send(*messages).wait_ack(welcome["applied"] + len(messages))
    return client


def families(server):
    """The lines of the plugins' families in a scrape; their order is that of no backup."""
    body = server.request()[1].decode()
    return sorted(line for line in body.split("\n")
                  if not line.split(" ")[2 if line.startswith("#") else 0].startswith(("rasad_", "process_")))


def moved(rasadd, server, backup, conf=None, **options):
    """Another server on a state folder out of the backup."""
    other = rasadd("", **options)
    other.stop()
    ctl("restore", str(other.folder / "state"), stdin=backup)
    other.conf = conf if conf is not None else server.conf
    other.start()
    return other


# ---- What a backup holds -------------------------------------------------------------------------

def fill(connect, server):
    """Agents, labels, overflow, several layouts."""
    for i, name in enumerate(STRANGE):
        push(connect, server, name, f"{i:032x}", {"C": 1}, b'{"A_Pressed": "banana"}', {"G": -1.5 / 7},
             {"H": [1, 3, 9]}, {"S": {"value": i, "labels": {"some": name}}}, {"req_a b": 1}, b"rubbish\n")
    push(connect, server, "web", STREAM,
         *({"C": {"add": i, "labels": {"path": name + "\0\n\t\x7f\u2028", "code": "\\n\""}}}
           for i, name in enumerate(STRANGE)), {"C": {"add": 2**52, "labels": {"code": "200"}}})
    unnamed = connect(server)
    unnamed.send({"G": 1e300}).ping()
    server.wait_for("G", equals=1e300, agent=unnamed.agent)


def test_a_restored_server_goes_on_as_the_one_that_was_dumped(rasadd, connect):
    server = rasadd('stale_after = "0s"' + CONF)
    fill(connect, server)
    assert server.scrape().get("C_total", overflow="true") is not None
    backup = dump(server)
    before = families(server)
    server.stop()
    other = moved(rasadd, server, backup)
    assert families(other) == before
    welcome = connect(other).hello(STRANGE[1], f"{1:032x}")
    sent = [b'{"C": 1}', b'{"A_Pressed": "banana"}', json.dumps({"G": -1.5 / 7}).encode(),
            b'{"H": [1, 3, 9]}', json.dumps({"S": {"value": 1, "labels": {"some": STRANGE[1]}}}).encode(),
            b'{"req_a b": 1}', b"rubbish"]
    assert welcome == {"applied": 7, "committed": 7, "chain": chain(sent)}
    push(connect, other, "web", STREAM, {"C": {"add": 2, "labels": {"code": "none before"}}})
    other.stop(signal.SIGKILL)
    other.start()
    again = dump(other)
    # The overflow of a family has a state in each shard that has taken a sample for it.
    alone = [[s for s in of_kind(which, "series") if not s.get("overflow")] for which in (again, backup)]
    assert len(alone[0]) == len(alone[1])
    assert {s["stream"]: s["applied"] for s in of_kind(again, "stream")}[STREAM] == len(STRANGE) + 2


def test_a_restored_database_is_dumped_as_it_was(rasadd, connect):
    server = rasadd(CONF)
    fill(connect, server)
    backup = dump(server)
    server.stop()
    other = moved(rasadd, server, backup)
    again = dump(other)
    assert again.splitlines()[1:-1] == backup.splitlines()[1:-1]
    assert sealed(backup) == backup
    assert json.loads(again.splitlines()[0])["commit"] == json.loads(backup.splitlines()[0])["commit"]


def test_the_lines_say_what_the_manual_says(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "web", STREAM, {"C": {"add": 3, "labels": {"path": "/é"}}}, {"G": 1})
    start = time.time_ns()
    backup = lines(dump(server))
    head, end = backup[0], backup[-1]["end"]
    assert list(head) == ["rasad_backup", "version", "byte_order", "time_ns", "commit", "uptime_ns"]
    assert head["rasad_backup"] == 1 and head["byte_order"] in ("little", "big") and head["commit"] >= 1
    assert start <= head["time_ns"] <= time.time_ns()
    assert end["lines"] == len(backup) - 1
    layout = next(b["layout"] for b in backup if "layout" in b and b["layout"]["title"] == "C")
    assert layout == {"id": layout["id"], "title": "C", "is_glob": False, "key": "", "name": "C",
                      "plugin": "counter", "kind": "counter", "state_version": layout["state_version"],
                      "state_size": layout["state_size"], "shape": layout["shape"],
                      "labels": ["path", "code"], "aside_ns": 0}
    series = next(b["series"] for b in backup if "series" in b and b["series"]["layout"] == layout["id"])
    assert len(base64.b64decode(series.pop("state"), validate=True)) == layout["state_size"]
    assert series == {"id": series["id"], "layout": layout["id"], "agent": "web", "named": True,
                      "labels": {"path": "/é"}, "overflow": False,
                      "created_ns": series["created_ns"], "updated_ns": series["updated_ns"]}
    stream = next(b["stream"] for b in backup if "stream" in b)
    assert stream["agent"] == "web" and stream["stream"] == STREAM and stream["applied"] == 2
    assert abs(stream["last_seen_ns"] - time.time_ns()) < 60e9


def test_layouts_aside_come_along(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 3}, {"H": [1, 3]}, {"G": 1})
    created = server.scrape().value("C_created", agent="w")
    server.stop()
    less = "\n".join(line for line in CONF.splitlines() if '"C"' not in line).replace("1, 2, 4", "1, 9")
    server.conf = less
    server.start()
    push(connect, server, "w", STREAM, {"H": 5})
    backup = dump(server)
    assert sorted(layout["title"] for layout in of_kind(backup, "layout") if layout["aside_ns"] != 0) == ["C", "H"]
    server.stop()
    other = moved(rasadd, server, backup)
    assert other.scrape().series("C_total") == []
    assert other.scrape().value("H_count", agent="w") == 1
    other.stop()
    other.conf = CONF
    other.start()
    scrape = other.scrape()
    assert scrape.value("C_total", agent="w") == 3
    assert scrape.value("C_created", agent="w") == created
    assert scrape.value("H_bucket", agent="w", le="4") == 2


def test_numbers_survive_to_the_last_bit(rasadd, tmp_path):
    most, least = 2**63 - 1, -2**63
    head = {"rasad_backup": 1, "version": "9.9.9", "byte_order": "little", "time_ns": most,
            "commit": 2**64 - 1, "uptime_ns": 2**53 + 1}
    layout = {"id": 1, "title": "G", "is_glob": False, "key": "", "name": "G", "plugin": "old", "kind": "gauge",
              "state_version": 2**32 - 1, "state_size": 3, "shape": "", "labels": ["l"], "aside_ns": 2**53 + 1}
    series = {"id": most, "layout": 1, "agent": None, "named": False, "labels": {"l": "v"}, "overflow": False,
              "created_ns": most - 1, "updated_ns": least, "state": "AP+A"}
    stream = {"agent": "w", "stream": "f" * 32, "applied": 2**64 - 1, "chain": "ffffffff",
              "last_used_ns": 2**62 + 1, "last_seen_ns": most - 2}
    backup = sealed(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in
                             (head, {"layout": layout}, {"series": series}, {"stream": stream})))
    ctl("restore", str(tmp_path / "state"), stdin=backup)
    server = rasadd(f'state_dir = "{tmp_path}/state"  metric "G" {{ plugin = "gauge" }}')
    again = dump(server)
    assert of_kind(again, "layout")[0] == layout
    assert of_kind(again, "series") == [series]
    assert of_kind(again, "stream") == [stream]
    assert lines(again)[0]["commit"] == 2**64 - 1 and lines(again)[0]["uptime_ns"] == 2**53 + 1


def test_an_empty_state_is_a_backup_too(rasadd):
    server = rasadd(CONF)
    backup = dump(server)
    server.stop()
    other = moved(rasadd, server, backup)
    assert of_kind(dump(other), "series") == []


# ---- What is refused -----------------------------------------------------------------------------

@pytest.fixture
def small(rasadd, connect):
    """A small backup of each kind of line."""
    server = rasadd('state_dir = "state"  metric "C" { plugin = "counter"  labels = { "l" } }')
    push(connect, server, "w", STREAM, {"C": {"add": 1, "labels": {"l": "v"}}})
    return dump(server)


def refuse(tmp_path, backup):
    """Which line was refused, and why; nothing may be left."""
    folder = tmp_path / "none"
    said = ctl("restore", str(folder), stdin=backup, status=1)
    assert not folder.exists(), said
    before, line, why = said.split(":", 3)[1:]
    assert before == " standard input"
    return int(line), why.strip()


def test_a_backup_that_was_cut_is_refused(small, tmp_path):
    whole = small.splitlines(keepends=True)
    for count in range(len(whole)):
        line, why = refuse(tmp_path, b"".join(whole[:count]))
        assert line == count + 1 and why == "the backup was cut off before this line (take a whole one)"
        line, why = refuse(tmp_path, b"".join(whole[:count]) + whole[count][:-1])
        assert line == count + 1 and why == "the backup was cut off within this line (take a whole one)"


def test_a_line_that_is_gone_or_there_twice_is_refused(small, tmp_path):
    whole = small.splitlines(keepends=True)
    for i in range(len(whole)):
        assert refuse(tmp_path, b"".join(whole[:i] + whole[i + 1:]))[0] <= len(whole)
        assert refuse(tmp_path, b"".join(whole[:i + 1] + whole[i:]))[0] in (i + 2, len(whole) + 1)
    assert "something follows the end" in refuse(tmp_path, small + b"\n")[1]
    assert "something follows the end" in refuse(tmp_path, small + b"x")[1]


def test_each_byte_counts(small, tmp_path):
    """A flipped bit is found, in its line or by the checksum; the unit test flips each."""
    ends = [i for i, byte in enumerate(small) if byte == 10]
    for at in range(0, len(small), 13):
        flipped = bytearray(small)
        flipped[at] ^= 1 << at % 8
        line, _ = refuse(tmp_path, bytes(flipped))
        own = sum(end < at for end in ends) + 1
        assert own <= line <= len(ends) + 1, (at, line)


@pytest.mark.parametrize("old, new, line, why", (
    ('"rasad_backup":1', '"rasad_backup":2', 1, "it is of format 2, and this version knows format 1 (use the"),
    ('"rasad_backup":1', '"backup":1', 1, "this is no backup of Rasad's (rasadctl dump makes one)"),
    ('"byte_order":"little"', '"byte_order":"big"', 1, "its states are of a machine of another byte order"),
    ('"is_glob":false', '"is_glob":0', 2, '"is_glob" must be true or false'),
    ('"kind":"counter"', '"kind":"meter"', 2, '"kind" must be gauge, counter, histogram or summary'),
    ('"layout":{"id":1,', '"layout":{"id":0,', 2, '"id" must be from 1 to 16777216'),
    ('"layout":{"id":1,', '"layout":{', 2, '"id" is missing'),
    ('"layout":{"id":1,', '"layout":{"id":1,"more":1,', 2, "a member is unknown"),
    ('"layout":{"id":1,', '"layout":{"id":1.0,', 2, '"id" must be a number'),
    ('"series":{"id":1,"layout":1', '"series":{"id":1,"layout":2', 3, "there is no layout 2"),
    ('"labels":{"l":', '"labels":{"m":', 3, "a label is not one of its layout's"),
    ('"labels":{"l":"v"', '"labels":{"l":""', 3, "a label must be a text of 1 to 4096 bytes"),
    ('"created_ns":', '"created_ns":9223372036854775808,"c":', 3, '"created_ns" is too large'),
    ('"agent":"w","named"', '"agent":null,"named"', 3, 'nobody can\'t be "named"'),
    ('"agent":"w","named"', f'"agent":"{"w" * 256}","named"', 3, '"agent" must have 1 to 255 bytes'),
    ('"state":"', '"state":"!', 3, '"state" must be base64'),
    ('"state":"', '"state":"AAAA', 3, "a state of "),
    (f'"stream":"{STREAM}"', f'"stream":"{STREAM.upper()}"', 4,
     '"stream" must be 32 lower-case hexadecimal digits'),
    ('"applied":1', '"applied":-1', 4, '"applied" must be from 0 to 18446744073709551615'),
    ('{"stream":{', '{"strum":{', 4, "the line is none that this version knows"),
    ('{"stream":{', '{"stream":{{', 4, "the line is no JSON object"),
))
def test_what_is_wrong_is_said_with_its_line(small, tmp_path, old, new, line, why):
    assert old.encode() in small
    said = refuse(tmp_path, sealed(small.replace(old.encode(), new.encode())))
    assert said[0] == line and said[1].startswith(why), said


def test_lines_out_of_order_are_refused(small, tmp_path):
    head, layout, series, stream, _ = small.splitlines(keepends=True)
    assert refuse(tmp_path, sealed(head + series + layout + stream)) == (2, "there is no layout 1")
    assert refuse(tmp_path, sealed(head + layout + stream + series)) == (4, '"series" comes too late')
    assert refuse(tmp_path, sealed(head + layout + layout)) == (3, "ids of layouts must rise")
    assert refuse(tmp_path, sealed(head + layout + series + series)) == (4, "ids of series must rise")
    assert refuse(tmp_path, sealed(head + stream + stream)) == (3, "streams must rise")
    assert refuse(tmp_path, sealed(layout)) == (1, "this is no backup of Rasad's (rasadctl dump makes one)")


def test_a_folder_with_a_database_is_left_as_it_is(rasadd, connect, small):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 1})
    folder = server.folder / "state"
    said = ctl("restore", str(folder), stdin=small, status=1)
    assert said == (f"rasadctl: {folder}/data.mdb is there, and is not overwritten (stop its server and move it "
                    "away, or name another folder)\n")
    server.restart(signal.SIGTERM)
    assert server.scrape().value("C_total", agent="w") == 1
    (folder / "data.mdb").rename(folder / "moved")  # the server runs on
    said = ctl("restore", str(folder), stdin=small, status=1)
    assert "is another server's, which runs" in said
    assert not (folder / "data.mdb").exists() and not (folder / "new.mdb").exists()


def test_a_damaged_state_is_replaced_as_the_server_says(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 7})
    backup = dump(server)
    server.stop()
    file = server.folder / "state" / "data.mdb"
    file.write_bytes(b"What is this? " * 1000)
    ended = subprocess.run([program("rasadd"), "-c", server.write_conf()], cwd=server.folder,
                           stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert "(move it away; then rasadctl restore puts a backup in its place, or the server" in ended.stderr
    file.rename(server.folder / "damaged.mdb")
    (server.folder / "backup").write_bytes(backup)
    said = ctl("restore", str(server.folder / "state"), str(server.folder / "backup")).decode()
    assert f"{server.folder}/state: 1 series in " in said and "1 streams, of commit " in said
    server.start()
    assert server.scrape().value("C_total", agent="w") == 7


def test_an_interrupted_restore_leaves_no_database(rasadd, small, tmp_path):
    folder = tmp_path / "state"
    restoring = subprocess.Popen([program("rasadctl"), "restore", folder], stdin=subprocess.PIPE)
    restoring.stdin.write(small[:-10])
    restoring.stdin.flush()
    until((folder / "new.mdb").exists, "the restore is under way")
    restoring.kill()
    restoring.wait()
    assert not (folder / "data.mdb").exists()
    ctl("restore", str(folder), stdin=small)
    assert sorted(path.name for path in folder.iterdir()) == ["data.mdb", "rasadd.lock"]
    server = rasadd(f'state_dir = "{folder}"  metric "C" {{ plugin = "counter"  labels = {{ "l" }} }}')
    assert server.scrape().value("C_total", agent="w", l="v") == 1


def test_other_ways_to_fail(rasadd, tmp_path, small):
    memory = rasadd("")
    assert "keeps its state in memory only (its conf says state_dir = \"\")" in dump(memory, status=1)
    assert "no server at" in ctl("dump", "-S", str(tmp_path / "none.sock"), status=69)
    assert ctl("restore", status=64).startswith("rasadctl: no FOLDER to restore into\nusage: rasadctl restore")
    assert "usage" in ctl("restore", "a", "b", "c", status=64)
    assert "usage" in ctl("dump", "a", status=64)
    assert ctl("restore", str(tmp_path / "a"), str(tmp_path / "b"), status=1) == \
        f"rasadctl: cannot open {tmp_path}/b: No such file or directory\n"
    assert "cannot make" in ctl("restore", str(tmp_path / "a" / "b"), stdin=small, status=1)
    assert "cannot read on: Is a directory" in ctl("restore", str(tmp_path / "a"), str(tmp_path), status=1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_is_the_folders_owners(tmp_path, small):
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 4711, 4712)
    ctl("restore", str(folder), stdin=small)
    for file in folder.iterdir():
        assert (file.stat().st_uid, file.stat().st_gid) == (4711, 4712), file


def test_a_backup_cannot_be_written(rasadd, connect):
    server = rasadd(CONF)
    push(connect, server, "w", STREAM, {"C": 1})
    with open("/dev/full", "wb") as full:
        done = subprocess.run([program("rasadctl"), "dump", "-S", f"{server.folder}/rasad.sock"], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "cannot write the backup: No space left on device" in done.stderr


# ---- A server at work ----------------------------------------------------------------------------

SERIES = 100_000
PUSHERS = 4


@pytest.fixture
def loaded(rasadd, connect):
    """A server with many series, and an agent with one stream."""
    server = rasadd(f'''
state_dir = "state"
metric "M" {{ plugin = "histogram"  buckets = {{ 1, 2, 4 }}  labels = {{ "i" }}  max_series = {SERIES} }}
metric "N" {{ plugin = "counter" }}''')
    client = connect(server)
    client.hello("filler", STREAM)
    for at in range(0, SERIES, 1000):
        client.send({"M": [{"value": 1, "labels": {"i": f"{i}"}} for i in range(at, at + 1000)]})
    client.wait_ack(SERIES // 1000)
    return server


class Pusher(threading.Thread):
    """An agent whose every message adds one to its counter; it notes how long acks take."""

    def __init__(self, client, number):
        super().__init__()
        self.client, self.longest, self.acked, self.ending = client, 0, 0, False
        client.hello(f"pusher-{number}", f"{number:032x}")

    def run(self):
        while not self.ending:
            start = time.monotonic()
            self.client.send(b'{"N":1}' * 50)
            self.acked += 50
            self.client.wait_ack(self.acked)
            self.longest = max(self.longest, time.monotonic() - start)


def test_a_dump_of_a_busy_server_is_one_commit_and_holds_nobody_up(loaded, connect):
    pushers = [Pusher(connect(loaded), i) for i in range(PUSHERS)]
    for pusher in pushers:
        pusher.start()
    before = -1
    for _ in range(5):
        backup = dump(loaded)
        assert sum(line.startswith(b'{"series":') for line in backup.splitlines()) >= SERIES
        few = b"\n".join(line for line in backup.splitlines() if b'"pusher-' in line)
        counts = {s["agent"]: base64.b64decode(s["state"]) for s in of_kind(few, "series")}
        # A stream is known from its hello on.
        applied = {s["agent"]: s["applied"] for s in of_kind(few, "stream") if s["applied"] > 0}
        assert set(counts) == set(applied)
        for name, number in applied.items():
            assert number_of(counts[name]) == number, name
        assert sum(applied.values()) > before, "the senders got on"
        before = sum(applied.values())
    for pusher in pushers:
        pusher.ending = True
    for pusher in pushers:
        pusher.join(DEADLINE_S)
        assert not pusher.is_alive()
        assert pusher.longest < 2 * SLOW, f"an ack took {pusher.longest} s"
    made = [int(line.rpartition("ms=")[2]) for line in loaded.lines if "backup made" in line]
    assert len(made) == 5 and max(made) < 2000 * SLOW, made


def number_of(state):
    """A counter's state begins with the whole part of its sum."""
    return int.from_bytes(state[:8], sys.byteorder)


def test_who_reads_a_dump_slowly_holds_nobody_up(loaded, connect):
    slow = socket.socket(socket.AF_UNIX)
    slow.settimeout(DEADLINE_S)
    slow.connect(f"{loaded.folder}/rasad.sock")
    slow.sendall(b'{"verb":"dump"}\n')
    first = slow.recv(4096)
    assert b'{"ok":true,"bytes":' in first
    push(connect, loaded, "w", OTHER, *({"N": 1} for _ in range(100)))
    assert loaded.scrape("/metrics?name[]=N_total").value("N_total", agent="w") == 100
    assert "another backup is being taken (try again when it has ended)" in dump(loaded, status=1)
    head, _, backup = first.partition(b"\n")
    size, backup = json.loads(head)["bytes"], bytearray(backup)
    while len(backup) < size:
        backup += slow.recv(1 << 20)
    assert len(backup) == size and backup.endswith(b"}}\n") and b'"agent":"w"' not in backup
    slow.sendall(b'{"verb":"status"}\n')  # the connection goes on
    assert slow.recv(1 << 16).startswith(b'{"ok":true,"data":')
    slow.sendall(b'{"verb":"dump"}\n')
    slow.recv(4096)
    slow.close()
    until(lambda: subprocess.run([program("rasadctl"), "dump", "-S", f"{loaded.folder}/rasad.sock"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                                 timeout=60).returncode == 0, "one who left holds no place")


def test_the_server_can_stop_while_a_dump_is_taken(loaded):
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(f"{loaded.folder}/rasad.sock")
    slow.sendall(b'{"verb":"dump"}\n')
    assert slow.recv(4096)
    assert loaded.stop() == 0
    slow.close()


def test_a_dump_that_breaks_off_is_69(loaded, tmp_path):
    with open(tmp_path / "backup", "wb") as out:
        reading, writing = os.pipe()  # nobody reads it, so that the dump can't end
        taking = subprocess.Popen([program("rasadctl"), "dump", "-S", f"{loaded.folder}/rasad.sock"],
                                  stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        out.write(os.read(reading, 1))
        loaded.stop(signal.SIGKILL)
        while (more := os.read(reading, 1 << 20)):
            out.write(more)
        os.close(reading)
    assert taking.wait(DEADLINE_S) == 69
    assert "the server has closed the connection" in taking.stderr.read().decode()
    assert "cut off" in ctl("restore", str(tmp_path / "state"), str(tmp_path / "backup"), status=1)
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="wants a small disk")
def test_a_dump_can_be_taken_while_the_disk_is_full(rasadd, connect, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("no tmpfs can be mounted")
    try:
        server = rasadd(CONF.replace('"state"', f'"{small}/state"'))
        push(connect, server, "w", STREAM, {"C": 1})
        filler = os.open(small / "filler", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(filler, b"x" * 4096)
        os.close(filler)
        client = connect(server)
        client.hello("w", STREAM)
        client.send(*({"C": 1, f"req_{i}": 1} for i in range(300)))
        server.wait_for("rasad_commit_errors_total", at_least=1)
        assert [s["applied"] for s in of_kind(dump(server), "stream")] == [1]
        (small / "filler").unlink()
        server.stop()
    finally:
        subprocess.run(["umount", "-l", small], check=False)
