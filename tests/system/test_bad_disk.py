# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, fails, or can't be written to: nothing is acknowledged that it doesn't have,
what it has goes on being shown, and all goes on by itself when it is good again."""
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import Process, built_with, free_port, program
from wire import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "power"))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.skipif(built_with("address") or built_with("thread"),
                                reason="a sanitizer wants to be what is preloaded first")

CONF = '''
threads = 2
metric "C" { plugin = "counter"  labels = { "path" }  max_series = 100000 }
metric "N" { plugin = "counter" }
metric "G" { plugin = "gauge" }
'''
STREAM = "0123456789abcdef" * 2
FAILED = r"error commit failed: nothing more is acknowledged or shown until the disk takes it"
GOOD_AGAIN = r"info the disk takes commits again failed=\d+"


def message(k):
    return {"C": {"add": 1, "labels": {"path": str(k % 5)}}, "N": 1, "G": k}


class Disk:
    """A server whose disk a test can spoil, one sender of numbered messages, and somebody who looks
    that no counter ever goes back."""

    def __init__(self, rasadd, connect, folder, conf="", state_dir=None, **options):
        self.state_dir = state_dir or folder / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.faults = Faults(folder / "faults", program="rasadd")
        self.connect = connect
        self.server = rasadd(f'state_dir = "{self.state_dir}"\n' + conf + CONF,
                             environment=self.faults.environment, **options)
        self.sent, self.acked, self.shown = 0, 0, 0
        self.watching, self.wrong = True, None
        self.turns = 0  # stops and starts by the test itself: odd while the server is down
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        self.client = None
        self.come_back()

    def come_back(self):
        """A new connection; sends again what the server has not applied."""
        self.client = self.connect(self.server)
        welcome = self.client.hello("web-1", STREAM)
        applied, self.acked = welcome["applied"], welcome["committed"]
        assert max(self.shown, self.acked) <= applied <= self.sent
        self.client.send(*(message(k) for k in range(applied + 1, self.sent + 1)))

    def watch(self):
        while self.watching and self.wrong is None:
            turns = self.turns
            try:
                shown = self.scrape("N").get("N_total", 0, agent="web-1")
            except Exception as error:  # pylint: disable=broad-except
                shown = self.shown
                if turns % 2 == 0 and turns == self.turns:
                    self.wrong = error
            if shown < self.shown:
                self.wrong = f"N went back from {self.shown} to {shown}"
            self.shown = shown
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        self.turns += 1
        return self.server.stop(number)

    def start(self):
        self.server.start()
        self.turns += 1

    def push(self, count):
        self.client.send(*(message(k) for k in range(self.sent + 1, self.sent + count + 1)))
        self.sent += count

    def scrape(self, name):
        return self.server.scrape(f"/metrics?name[]={name}")

    def errors(self):
        return self.scrape("rasad_commit_errors_total").value("rasad_commit_errors_total")

    def bytes_written(self):
        text = Path(f"/proc/{self.server.pid}/io").read_text()
        return int(re.search(r"^wchar: (\d+)$", text, re.M)[1])

    def fail(self, function, error, **how):
        return self.faults.set(function, error, below=self.state_dir, **how)

    def wait_errors(self, more):
        enough = self.errors() + more
        until(lambda: self.errors() >= enough, "commits fail")

    def check_all_there(self):
        """Once everything is acknowledged."""
        if self.acked < self.sent:
            self.client.wait_ack(self.sent)
            self.acked = self.sent
        scrape = self.server.scrape()
        assert scrape.value("N_total", agent="web-1") == self.sent
        assert scrape.value("G", agent="web-1") == self.sent
        for path in range(5):
            assert scrape.value("C_total", agent="web-1", path=str(path)) == \
                sum(k % 5 == path for k in range(1, self.sent + 1))

    def restart(self, number=signal.SIGKILL):
        self.stop(number)
        self.start()
        self.come_back()

    def finish(self):
        """It is exact, and stays so after a kill."""
        self.check_all_there()
        self.restart()
        self.push(10)
        self.check_all_there()
        self.watching = False
        self.watcher.join()
        assert self.wrong is None


@pytest.fixture(name="disk")
def start_disk(rasadd, connect, tmp_path):
    def start(conf="", **options):
        disks.append(Disk(rasadd, connect, tmp_path, conf, **options))
        return disks[-1]
    disks = []
    yield start
    for disk in disks:
        disk.watching = False
        disk.watcher.join()
        disk.faults.clear()
    assert [disk.wrong for disk in disks if disk.wrong is not None] == []


def lines(server, pattern):
    return [line for line in server.log.splitlines() if re.search(pattern, line)]


WRITES = ("pwrite", "write", "writev")
BAD = {
    "full": [(f, {"error": errno.ENOSPC}) for f in WRITES],
    "over the quota": [(f, {"error": errno.EDQUOT}) for f in WRITES],
    "EIO on write": [(f, {"error": errno.EIO}) for f in WRITES],
    "read-only": [(f, {"error": errno.EROFS}) for f in WRITES],
    "short writes": [(f, {"error": 0, "bytes": 100}) for f in ("pwrite", "writev")],
    "EIO on sync": [(f, {"error": errno.EIO}) for f in ("fdatasync", "fsync")],
    "EIO on whatever": [(f, {"error": errno.EIO}) for f in
                        WRITES + ("fdatasync", "fsync", "open", "ftruncate", "mmap")],
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("killed", [False, True])
def test_a_disk_that_is_bad_for_a_while(disk, what, killed):
    it = disk()
    it.push(100)
    it.check_all_there()
    rules = [it.fail(function, **how) for function, how in BAD[what]]
    it.push(100)
    it.wait_errors(4)
    assert it.client.ping() == [], "something was acknowledged"
    it.push(100)
    it.wait_errors(4)
    assert it.client.ping() == []
    assert it.server.scrape().value("N_total", agent="web-1") == 100
    assert len(lines(it.server, "warning|error")) == 1
    it.server.wait_line(FAILED)
    for rule in rules:
        rule.clear()
    if killed:
        it.restart()
    else:
        it.server.wait_line(GOOD_AGAIN)
    it.finish()


@pytest.mark.parametrize("function", ["pwrite", "writev", "fdatasync"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_each_single_call_fails_once(disk, function, error):
    """The first, the second, the third … of the calls of a commit; the last pwrite is the meta page's."""
    it = disk()
    it.push(100)
    it.check_all_there()
    for nth in range(1, 8):
        rule = it.fail(function, error, first=nth, every=0)
        while rule.failed == 0:
            it.push(7)
            it.check_all_there()
        rule.clear()
        it.push(7)
        it.check_all_there()
    assert it.errors() >= 7
    it.finish()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_kill_after_a_meta_page_that_was_lost(disk, nth):
    """LMDB writes the old meta page over the one that failed; that fails as well."""
    it = disk()
    it.push(100)
    it.check_all_there()
    rule = it.fail("pwrite", errno.EIO, first=nth)
    until(lambda: it.push(5) or rule.failed >= 2, "the meta page could not be written")
    it.stop(signal.SIGKILL)
    rule.clear()
    it.start()
    it.come_back()
    it.finish()


def test_after_an_error_on_sync_everything_is_written_anew(disk):
    """By what it writes: of a commit that holds one agent's series, and of the one after the error."""
    it = disk()
    it.push(100)
    other = it.connect(it.server)
    other.hello("web-2", STREAM)
    other.send(*({"C": {"add": 1, "labels": {"path": f"/{i}"}}} for i in range(2000))).wait_ack(2000)
    it.check_all_there()  # web-2 is quiet from now on
    before = it.bytes_written()
    it.push(1)
    it.check_all_there()
    one = it.bytes_written() - before
    rule = it.fail("fdatasync", errno.EIO, most=1)
    it.push(1)
    it.check_all_there()
    assert rule.failed == 1 and it.errors() == 1
    assert it.bytes_written() - before > 2 * one + 2000 * 50
    it.finish()


def test_what_waits_for_the_disk_does_not_pile_up(disk):
    """Series enough, so that all of them in memory anew with every attempt would show."""
    it = disk()
    client = it.connect(it.server)
    client.hello("web-2", STREAM)
    for start in range(0, 30_000, 5_000):
        client.send(*({"C": {"add": 1, "labels": {"path": f"/{i}"}}} for i in range(start, start + 5_000)))
    client.wait_ack(30_000)
    rule = it.fail("fdatasync", errno.EIO)
    it.push(10)
    it.wait_errors(4)
    before = it.server.status_kib("VmRSS")
    it.wait_errors(16)
    assert it.server.status_kib("VmRSS") < before + 5_000
    rule.clear()
    it.server.wait_line(GOOD_AGAIN, deadline_s=60)
    it.client.wait_ack(10)
    assert it.scrape("N").value("N_total", agent="web-1") == 10


def test_reading_stops_before_memory_is_full(disk):
    it = disk()
    it.push(10)
    it.check_all_there()
    rules = [it.fail(function, errno.ENOSPC) for function in WRITES]
    it.push(1)
    it.wait_errors(1)
    text = b'{"N": 1, "unknown": "' + b"x" * 8000 + b'"}\n'
    other = it.connect(it.server)
    other.hello("web-2", STREAM)
    other.socket.settimeout(2)
    sent, most = 0, 200 << 20
    with pytest.raises(socket.timeout):
        while sent < most:
            sent += other.socket.send(text[sent % len(text):])
    assert 30 << 20 < sent < 100 << 20
    kib = it.server.status_kib("VmRSS")
    assert kib < 250_000
    assert it.server.scrape().value("N_total", agent="web-1") == 10
    for rule in rules:
        rule.clear()
    other.socket.settimeout(60)
    other.socket.sendall(text[sent % len(text):] if sent % len(text) else b"")
    other.wait_ack((sent + len(text) - 1) // len(text))
    assert it.server.scrape().value("N_total", agent="web-2") == (sent + len(text) - 1) // len(text)
    it.finish()


@pytest.mark.parametrize("what", ["full", "EIO on sync"])
def test_a_stop_while_the_disk_is_bad(disk, what):
    it = disk()
    it.push(100)
    it.check_all_there()
    rules = [it.fail(function, **how) for function, how in BAD[what]]
    it.push(100)
    it.wait_errors(1)
    assert it.stop() == 0
    assert len(lines(it.server, "error the last commit failed: what is not on disk is lost, unless")) == 1
    for rule in rules:
        rule.clear()
    it.start()
    it.come_back()
    it.finish()


def test_a_map_that_cannot_grow(disk):
    """Begun with the least map there is, and filled; then there is no more address space once."""
    it = disk()
    it.stop()
    small = it.fail("mmap", errno.ENOMEM, first=2, most=2)  # behind that of who looks through it
    it.start()
    small.clear()
    it.come_back()
    client = it.connect(it.server)
    client.hello("web-2", STREAM)
    rule = it.fail("mmap", errno.ENOMEM, most=1)
    sent = 0
    while rule.failed == 0:
        assert sent < 60_000
        client.send(*({"C": {"add": 1, "labels": {"path": f"{i}".rjust(1500, "x")}}}
                      for i in range(sent, sent + 2000)))
        sent += 2000
        client.wait_ack(sent)
    assert it.errors() > 0
    it.push(10)
    it.client.wait_ack(10)
    assert it.scrape("N").value("N_total", agent="web-1") == 10


# ---- Disks of their own --------------------------------------------------------------------------

@pytest.fixture(name="mounted")
def mount_in_a_namespace(run, tmp_path):
    """mounted(command): the folder is a disk of its own, which outlives the server. Returns what to put
    in front of a program that is to see it, and where we see it."""
    def start(command):
        folder, done = tmp_path / "state", tmp_path / "mounted"
        folder.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root can mount a disk to be filled")
        holder = run("unshare", "-m", "sh", "-c", f'{command} "$0" && touch "$1" && exec sleep 3600',
                     folder, done)
        until(lambda: done.exists() or holder.popen.poll() is not None, "the disk is mounted")
        if holder.popen.poll() is not None:
            holder.expected = True
            pytest.skip(f"nothing can be mounted here: {holder.log}")
        return (["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", f"--wd={tmp_path}"],
                Path(f"/proc/{holder.pid}/root{folder}"))
    return start


def fill(folder):
    """To the last byte."""
    file = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 1):
        with pytest.raises(OSError):
            while True:
                os.write(file, b"x" * size)
    os.close(file)


@pytest.mark.parametrize("size", ["1m", "4m"])
def test_a_small_disk_that_is_full(disk, mounted, size):
    wrapper, seen = mounted(f"mount -t tmpfs -o size={size} none")
    it = disk(wrapper=wrapper)
    it.push(100)
    it.check_all_there()
    fill(seen)
    other = it.connect(it.server)
    other.hello("web-2", STREAM)
    other.send(*({"C": {"add": 1, "labels": {"path": f"/{i}"}}} for i in range(2000)))
    it.server.wait_line(FAILED)
    it.wait_errors(3)
    assert other.ping() == []
    it.push(100)
    assert it.client.ping() == []
    assert it.server.scrape().value("N_total", agent="web-1") == 100
    (seen / "filler").unlink()
    other.wait_ack(2000)
    it.server.wait_line(GOOD_AGAIN)
    it.finish()
    assert sum(value for labels, value in it.server.scrape().series("C_total")
               if labels["agent"] == "web-2") == 2000


# ---- At the start --------------------------------------------------------------------------------

HEAD = """
listen { address = "127.0.0.1"  port = 0 }
http { address = "127.0.0.1"  port = HTTP }
admin_socket = ""
"""


def write_conf(folder, http=0):
    path = folder / "rasad.conf"
    path.write_text(HEAD.replace("HTTP", str(http)) + f'state_dir = "{folder}/state"\n' + CONF)
    return path


@pytest.mark.parametrize("command, reason", [
    ("mount -t tmpfs -o ro none", "Read-only file system"),
    ("mount -t tmpfs -o size=4k none", "No space left on device|Input/output error"),
])
def test_a_disk_that_is_bad_from_the_start(mounted, tmp_path, command, reason):
    wrapper, _ = mounted(command)
    ended = subprocess.run([*wrapper, program("rasadd"), "-c", write_conf(tmp_path)], text=True,
                           stderr=subprocess.PIPE, timeout=30, check=False)
    assert ended.returncode == 1, ended
    assert re.search(f"error the server ends reason=.*{tmp_path}/state.*({reason})", ended.stderr)


def test_a_database_that_cannot_be_opened_is_not_called_damaged(disk):
    it = disk()
    it.push(100)
    it.check_all_there()
    it.stop()
    rule = it.fail("mmap", errno.ENOMEM)
    ended = subprocess.run([program("rasadd"), "-c", it.server.write_conf()], text=True, check=False,
                           stderr=subprocess.PIPE, timeout=30, env=os.environ | it.faults.environment)
    assert ended.returncode == 1
    assert f"cannot look at {it.state_dir}/data.mdb: Cannot allocate memory" in ended.stderr
    rule.clear()
    it.start()
    it.come_back()
    it.finish()


def answers(port):
    """Asked so, for the line that it serves may be the one that there is no memory for."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("function, error", [
    ("malloc", errno.ENOMEM), ("calloc", errno.ENOMEM), ("realloc", errno.ENOMEM),
    ("mmap", errno.ENOMEM), ("open", errno.EMFILE), ("pwrite", errno.ENOSPC), ("write", errno.EIO),
    ("writev", errno.EIO), ("fdatasync", errno.EIO), ("fsync", errno.EIO), ("rename", errno.EIO),
    ("unlink", errno.EIO), ("mkdir", errno.ENOSPC), ("ftruncate", errno.EIO)])
def test_each_call_fails_once_while_it_starts(tmp_path, function, error):
    """It starts all the same, or ends with a line that says why; the next start is good. Without memory
    while it reads the conf, libconfuse aborts, so that counts from the state's lock on; and a write
    counts in the state only, for a log line is one."""
    http, faults = free_port(), Faults(tmp_path / "faults", program="rasadd")
    conf = write_conf(tmp_path, http)
    state = tmp_path / "state"
    where = {"while_file": state / "rasadd.lock"} if "alloc" in function else \
        {"below": state} if function == "write" else {}
    nth, started, ended = 1, 0, 0
    while True:
        faults.clear()
        if nth % 2:
            subprocess.run(["rm", "-rf", state], check=True)  # as the first start ever
        (state / "rasadd.lock").unlink(missing_ok=True)
        rule = faults.set(function, error, first=nth, every=0, **where)
        server = Process([program("rasadd"), "-c", conf], tmp_path, environment=faults.environment)
        until(lambda: server.ended or answers(http), "it has started or ended")
        code = server.stop()
        assert code in (0, 1, 78), (nth, code, server.log)
        assert code == 0 or re.search("error|rasad.conf|memory|rasadd: ", server.log), (nth, server.log)
        started, ended = started + (code == 0), ended + (code != 0)
        if rule.failed == 0:
            break
        nth += 1
    print(f"{function}: {started} starts, {ended} ends, {nth - 1} calls")
    assert code == 0, server.log


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS,
                                   errno.ECONNABORTED, errno.EINTR, errno.EPROTO])
def test_a_connection_that_cannot_be_taken_in(disk, error):
    it = disk()
    it.push(10)
    rule = it.faults.set("accept", error, most=20)
    clients = [it.connect(it.server) for _ in range(30)]
    rule.wait_failed(3)
    rule.clear()
    served = 0
    for client in clients:
        try:
            served += client.ping() == []
        except (AssertionError, OSError):  # refused
            pass
    assert served >= 9
    it.finish()
