# SPDX-License-Identifier: Apache-2.0
"""An upgrade in place: another program in the same process, with all its connections and counts."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import BUILD, Process, built_with, free_port, program
from wire import Client, chain, until

STREAM = "00112233445566778899aabbccddeeff"
METRICS = ('metric "A" { plugin = "counter" }\nmetric "G" { plugin = "gauge" }\n'
           'metric "g_*" { plugin = "counter" }\n')
UPGRADED = r"info upgraded from=\S+ version=\S+ connections=(\d+) paused_us=(\d+)"
REFUSED = r"error upgrade refused"


class Upgrading:
    """A server that was started through a symbolic link, which a test turns to something else."""

    def __init__(self, server, link):
        self.server, self.link = server, link

    def __getattr__(self, name):
        return getattr(self.__dict__["server"], name)

    def install(self, target):
        """Puts another program in place, as a package manager would."""
        fresh = self.link.with_suffix(".new")
        if isinstance(target, str) and target.startswith("#!"):
            fresh.write_text(target)
            fresh.chmod(0o755)
        else:
            fresh.symlink_to(target)
        fresh.rename(self.link)

    def install_again(self):
        self.install(Path(program("rasadd")))

    def upgrade(self):
        """By the signal; how many connections were kept."""
        before = len(self.server.lines)
        self.server.kill(signal.SIGUSR2)
        line = self.server.wait_line(f"{UPGRADED}|{REFUSED}.*", after=before, deadline_s=60)
        assert line[1] is not None, self.server.log
        return int(line[1])

    def refuses(self):
        """By the signal; what the log says of it."""
        before = len(self.server.lines)
        self.server.kill(signal.SIGUSR2)
        line = self.server.wait_line(f"{UPGRADED}|{REFUSED}.*", after=before, deadline_s=60)
        assert line[1] is None, self.server.log
        return line[0]

    def ctl(self, *arguments):
        return subprocess.run([program("rasadctl"), "-S", self.server.folder / "rasad.sock", *arguments],
                              capture_output=True, text=True, timeout=60)

    def descriptors(self):
        """What each open descriptor is, numbers of sockets and the like left out."""
        folder = Path(f"/proc/{self.server.pid}/fd")
        return sorted(re.sub(r"\d+", "N", os.readlink(fd)) for fd in folder.iterdir())

    def children(self):
        """The states of processes whose parent it is."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.server.pid:
                found.append(fields[0])
        return sorted(found)


@pytest.fixture
def upgrading(rasadd, tmp_path, monkeypatch):
    """upgrading(conf): a server that can be upgraded."""
    def start(conf=METRICS, state=True, **options):
        link = tmp_path / "rasadd-installed"
        link.symlink_to(program("rasadd"))
        real = program
        monkeypatch.setattr("harness.program", lambda name: str(link) if name == "rasadd" else real(name))
        folder = tmp_path / "state"
        folder.mkdir()
        head = f'state_dir = "{folder}"\n' if state else ""
        made = Upgrading(rasadd(head + conf, **options), link)
        monkeypatch.setattr("harness.program", real)
        return made
    return start


def test_a_connection_stays_over_an_upgrade(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 5, "g_x": 1})
    client.ping()
    pid, before = server.pid, server.scrape()
    assert server.upgrade() == 1
    assert client.send({"A": 2}).ping() == []
    after = server.scrape()
    assert server.popen.poll() is None and server.pid == pid
    assert after.value("rasad_messages_total") == before.value("rasad_messages_total") + 2
    assert after.value("rasad_samples_total", metric="A") == 2
    assert after.value("rasad_samples_total", metric="g_x") == 1
    assert after.value("rasad_connections_total") == 1
    assert after.value("rasad_agents") == 1
    assert after.value("process_start_time_seconds") == before.value("process_start_time_seconds")


def test_a_message_that_has_half_arrived_is_applied_once(upgrading, connect):
    server = upgrading()
    clients = []
    message = b'{"A": 1, "g_\\u00e9x": "12"}'
    for cut in range(len(message) + 1):
        client = connect(server)
        client.send(b'{"A": 1} ', message[:cut]).drained()
        clients.append((client, cut))
    counted = connect(server)
    counted.send(b"27".ljust(64) + message[:9]).drained()
    header = connect(server)
    header.send(b"27".ljust(40)).drained()
    assert server.upgrade() == len(clients) + 2
    for client, cut in clients:
        client.send(message[cut:]).ping()
    counted.send(message[9:]).ping()
    header.send(b" " * 24 + message).ping()
    scrape = server.scrape()
    assert scrape.rejected() == {}
    assert scrape.value("rasad_samples_total", metric="A") == 2 * len(clients) + 2
    assert scrape.value("rasad_agents") == len(clients) + 2


def test_malformed_and_too_long_messages_go_on_as_such(upgrading, connect):
    server = upgrading('max_message = "1KiB"\n' + METRICS)
    broken = connect(server).send(b'{"A": nonsense ').drained()
    long = connect(server).send(b'{"A": "' + b"x" * 2000).drained()
    numbered = connect(server)
    numbered.hello("web-1", STREAM)
    first = b"2000".ljust(64) + b"y" * 500
    numbered.send(first).drained()
    server.upgrade()
    broken.send(b'still}\n{"A": 1}').ping()
    long.send(b'"}\n{"A": 1}').ping()
    numbered.send(b"y" * 1500 + b'{"A": 1}')
    numbered.wait_ack(2)
    assert server.scrape().rejected() == {"bad_json": 1, "too_long": 2}
    welcome = numbered.hello("web-1", STREAM)
    assert welcome["applied"] == 2 and welcome["chain"] == chain([b"y" * 2000, b'{"A": 1}'])


def test_a_named_stream_goes_on_with_its_number_and_chain(upgrading, connect):
    server = upgrading()
    client = connect(server)
    assert client.hello("web-1", STREAM)["applied"] == 0
    messages = [b'{"A": %d}' % i for i in range(10)]
    client.send(*messages[:4]).wait_ack(4)
    client.send(messages[4][:5]).drained()
    server.upgrade()
    client.send(messages[4][5:], *messages[5:]).wait_ack(10)
    welcome = connect(server).hello("web-1", STREAM)
    assert welcome == {"applied": 10, "committed": 10, "chain": chain(messages)}
    assert client.rest() == [], "the older connection was fenced"
    scrape = server.scrape()
    assert scrape.value("rasad_agents") == 1
    assert scrape.value("rasad_agent_up", agent="web-1") == 1


def test_agents_that_left_are_still_known(upgrading, connect):
    server = upgrading()
    client = connect(server)
    client.hello("gone", STREAM, first=8, chain="00000000")
    client.send({"A": 1}).ping()
    client.end()
    two = [connect(server), connect(server)]
    for one in two:
        one.hello("twice")
        one.send({"A": 1}).ping()
    before = server.wait_for("rasad_agent_up", equals=0, agent="gone")
    server.upgrade()
    after = server.scrape()
    for name in ("rasad_agent_up", "rasad_agent_last_seen_timestamp_seconds", "rasad_agent_dropped_total"):
        assert after.value(name, agent="gone") == before.value(name, agent="gone")
    assert after.value("rasad_agent_dropped_total", agent="gone") == 7
    assert after.value("rasad_agents") == 1
    two[0].end()
    two[1].ping()
    assert server.scrape().value("rasad_agents") == 1
    two[1].end()
    server.wait_for("rasad_agents", equals=0)


def test_replies_that_nobody_has_read_yet_are_sent_after_it(upgrading, connect):
    server = upgrading()
    slow = connect(server, receive_buffer=4096)
    size = 250
    count = 0
    # Until the server has replies that its socket doesn't take; it then reads on, for it may keep some.
    slow.socket.setblocking(False)
    ping = json.dumps({"@ping": "p" * (size - 10)}).encode() + b"\n"
    quiet = time.monotonic()
    sent = b""
    while time.monotonic() - quiet < 0.5 and count < 150_000 // size * 20:
        try:
            n = slow.socket.send(sent or ping)
            sent = (sent or ping)[n:]
            count += not sent
            quiet = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
        if slow.unsent() == 0 and count * size > 100_000 and count % 50 == 0:
            break
    slow.socket.settimeout(20)
    server.upgrade()
    if sent:
        slow.socket.sendall(sent)
        count += 1
    for _ in range(count):
        reply = slow.read()
        assert reply == {"@pong": "p" * (size - 10)}
    assert slow.send({"A": 1}).ping() == []


def test_a_goodbye_whose_replies_are_unread_still_ends(upgrading, connect):
    server = upgrading()
    slow = connect(server, receive_buffer=4096)
    slow.send(*[{"@ping": "q" * 240}] * 100)
    slow.send(b"!DISCONNECT").drained()
    server.upgrade()
    assert slow.rest() == [{"@pong": "q" * 240}] * 100


def test_rasadctl_upgrade_tells_what_came_of_it(upgrading, connect):
    server = upgrading()
    connect(server).send({"A": 1}).ping()
    done = server.ctl("upgrade")
    assert done.returncode == 0 and done.stderr == "", done
    assert re.fullmatch(r"upgraded from \S+ to \S+: 1 connections kept, paused for \d+\.\d ms\n", done.stdout)
    done = server.ctl("upgrade", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["connections"] == 1 and said["version"] == said["from"]
    assert 0 < said["paused_seconds"] < 20
    assert server.ctl("status").returncode == 0


def test_a_sender_by_hand_stays_too(upgrading):
    server = upgrading()
    sender = subprocess.Popen([program("rasadctl"), "-S", server.folder / "rasad.sock", "send"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sender.stdin.write('{"A": 1}\n')
    sender.stdin.flush()
    server.wait_for("rasad_samples_total", equals=1, metric="A")
    server.upgrade()
    out, _ = sender.communicate('{"A": 2}\n{"A": "no"}\n', timeout=30)
    assert sender.returncode == 65
    assert [line.split()[0] for line in out.splitlines()] == ["accepted", "accepted", "refused"]


BAD_PROGRAMS = {
    "exits": ("#!/bin/sh\nexit 1\n", "says nothing and ends with 1", 1),
    "talks": ("#!/bin/sh\necho 'libwanted.so.7: cannot open' >&2\nexit 127\n", "libwanted.so.7: cannot open", 1),
    "lies": ("#!/bin/sh\nexit 0\n", "says nothing and ends with 0", 1),
    "crashes": ("#!/bin/sh\nkill -SEGV $$\n", "is ended by SIGSEGV", 1),
    "is none": ("#!/no/such/interpreter\n", "cannot start", 1),
}


@pytest.mark.parametrize("what", BAD_PROGRAMS)
def test_a_program_that_does_not_start_is_refused_and_the_old_one_goes_on(upgrading, connect, what):
    source, reason, code = BAD_PROGRAMS[what]
    server = upgrading()
    client = connect(server).send({"A": 1})
    server.install(source)
    assert reason in server.refuses()
    done = server.ctl("upgrade")
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith("rasadctl: ") and reason in done.stderr and done.stderr.count("\n") == 1
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)
    server.install_again()
    assert server.upgrade() == 1


def test_a_program_that_hangs_is_refused(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 1})
    server.install("#!/bin/sh\nsleep 1000\n")
    before = len(server.lines)
    server.kill(signal.SIGUSR2)
    until(server.children, "the new program was started")
    client.send({"A": 1}).ping()  # meanwhile all goes on
    server.wait_for("A_total", equals=2, agent=client.agent)
    assert server.wait_line(REFUSED + ".*does not answer within", after=before, deadline_s=40)
    assert server.children() == []


def test_the_server_stops_although_a_new_program_hangs(upgrading):
    server = upgrading()
    server.install("#!/bin/sh\nexec sleep 1000\n")
    server.kill(signal.SIGUSR2)
    until(server.children, "the new program was started")
    start = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - start < 10


OTHER_FORMAT = f"""#!{sys.executable}
# A rasadd that is handed another format than it reads.
import fcntl, os, struct, sys
word, _, fd = sys.argv[1].partition("=")
if word == "{{where}}":
    size = os.fstat(int(fd)).st_size
    data = bytearray(os.pread(int(fd), size, 0))
    data[{{at}}] ^= {{bit}}
    fresh = os.memfd_create("other", 0)
    os.write(fresh, data)
    os.dup2(fresh, int(fd))
    os.set_inheritable(int(fd), True)
    os.close(fresh)
    sys.argv[1] = f"{{{{word}}}}={{{{fd}}}}"
os.execv({program('rasadd')!r}, sys.argv)
"""


def test_a_program_that_reads_another_format_is_refused(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 1})
    server.install(OTHER_FORMAT.format(where="--check-handover", at=9, bit=1))
    assert "the handover has format 259" in server.refuses()
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)


@pytest.mark.parametrize("at", [0, 8, 12, 16, 60])
def test_a_damaged_handover_costs_connections_and_nothing_else(upgrading, connect, at):
    server = upgrading()
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"A": 1}).wait_ack(1)
    server.install(OTHER_FORMAT.format(where="--handover", at=at, bit=4))
    before, pid = len(server.lines), server.pid
    server.kill(signal.SIGUSR2)
    server.wait_line("warning connections were not taken over", after=before, deadline_s=60)
    assert client.rest() == []
    server.server.port = int(server.wait_line(r"info listening address=127\.0\.0\.1:(\d+)$", after=before)[1])
    server.server.http = int(server.wait_line(r"info serving address=127\.0\.0\.1:(\d+)$", after=before)[1])
    again = connect(server)
    again.hello("web-1", STREAM)
    again.send({"A": 1}).ping()
    assert server.pid == pid and server.popen.poll() is None
    assert server.scrape().value("rasad_agents") == 1
    assert server.ctl("status").returncode == 0


def test_a_conf_with_errors_is_the_reason(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 1})
    server.server.conf += 'metric "B" { plugin = "guage" }\nmetric "C" { plugin = "gauge" nonsense = 1 }\n'
    server.write_conf()
    refused = server.refuses()
    assert 'unknown plugin' in refused
    done = server.ctl("upgrade")
    assert done.returncode == 78 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 2 and 'did you mean \\"gauge\\"' in done.stderr.replace('"', '\\"')
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)


def test_without_state_dir_it_is_refused(upgrading):
    server = upgrading(state=False)
    assert "would lose all counts" in server.refuses()
    done = server.ctl("upgrade")
    assert done.returncode == 1 and "(set state_dir, or restart the server)" in done.stderr


def test_a_changed_conf_is_in_force_after_it(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 1})
    client.ping()
    port, page = free_port(), free_port()
    head = server.server.conf.split("\n")[0]
    server.server.conf = (f'{head}\nlisten {{ port = {port} }}\nhttp {{ port = {page} }}\n'
                          f'admin_socket = "{server.folder}/other.sock"\nmetric "G" {{ plugin = "gauge" }}\n')
    server.write_conf()
    late = connect(server)
    assert server.upgrade() == 2
    server.server.port, server.server.http = port, page
    client.send({"G": 3, "A": 1}).ping()
    connect(server).send({"G": 4}).ping()
    late.send({"G": 5}).ping()
    scrape = server.wait_for("G", equals=3, agent=client.agent)
    assert "A" not in scrape.families
    assert not (server.folder / "rasad.sock").exists() and (server.folder / "other.sock").exists()
    assert subprocess.run([program("rasadctl"), "-S", server.folder / "other.sock", "upgrade"]).returncode == 0


def shown_names(page):
    """The senders of A, by a scrape at a unix socket."""
    with socket.socket(socket.AF_UNIX) as web:
        web.settimeout(20)
        web.connect(str(page))
        web.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: web.recv(65536), b"")).decode()
    return set(re.findall(r'^A_total\{agent="(unix:\d+\.\d+)"\}', text, re.M))


def test_unix_sockets_stay(upgrading, tmp_path):
    page = tmp_path / "http.sock"
    agents = tmp_path / "agents.sock"
    link = tmp_path / "rasadd-installed"
    link.symlink_to(program("rasadd"))
    (tmp_path / "state").mkdir()
    conf = tmp_path / "unix.conf"
    conf.write_text(f'state_dir = "{tmp_path}/state"\nlisten {{ address = "unix:{agents}" }}\n'
                    f'http {{ address = "unix:{page}" }}\nadmin_socket = ""\n' + METRICS)
    process = Process([link, "-c", conf], tmp_path)
    try:
        process.wait_line("info serving")
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
            one.settimeout(20)
            one.connect(str(agents))
            one.sendall(b'{"A": 1}{"@ping": 1}')
            assert one.recv(100) == b'{"@pong":1}\n'
            process.kill(signal.SIGUSR2)
            process.wait_line(UPGRADED, deadline_s=60)
            other.settimeout(20)
            other.connect(str(agents))
            other.sendall(b'{"A": 1}{"@ping": 2}')
            one.sendall(b'{"A": 1}{"@ping": 3}')
            assert one.recv(100) == b'{"@pong":3}\n' and other.recv(100) == b'{"@pong":2}\n'
            names = {f"unix:{os.getpid()}.1", f"unix:{os.getpid()}.2"}
            until(lambda: shown_names(page) == names, "both are shown")
    finally:
        assert process.clean_up() is None, process.log
    assert not page.exists() and not agents.exists()


def test_isolated_plugins_go_on_in_new_processes(upgrading, connect):
    server = upgrading(METRICS + 'metric "I" { plugin = "counter"  isolate = true }\n')
    client = connect(server).send({"I": 1})
    client.ping()
    assert len(server.children()) == 1
    for _ in range(3):
        server.upgrade()
        client.send({"I": 1}).ping()
    until(lambda: len(server.children()) == 1, "one worker and no zombie")
    assert server.children() != ["Z"]
    assert server.scrape().value("rasad_samples_total", metric="I") == 4


class Poller(threading.Thread):
    """Scrapes on and on; each on a connection of its own."""

    def __init__(self, server, same_process=True):
        super().__init__(daemon=True)
        self.counters = ("rasad_messages_total", "rasad_scrape_seconds_count",
                         "rasad_connections_total") if same_process else ()
        self.port, self.done, self.failures, self.count = server.http, False, [], 0
        self.last = {}
        self.start()

    def run(self):
        while not self.done:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("GET", "/metrics")
                response = connection.getresponse()
                text = response.read().decode()
                connection.close()
                assert response.status == 200
                for name in self.counters:
                    value = float(re.search(rf"^{name} (\S+)$", text, re.M)[1])
                    assert value >= self.last.get(name, 0), f"{name} went back"
                    self.last[name] = value
                self.count += 1
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(repr(error))

    def finish(self):
        self.done = True
        self.join(60)
        assert self.failures == [], self.failures[:5]
        return self.count


class Sender(threading.Thread):
    """Sends without pause, in pieces that end anywhere; named or not."""

    def __init__(self, server, name=None):
        super().__init__(daemon=True)
        self.client, self.agent = Client(server), name
        self.done, self.sent, self.failure = False, 0, None
        if name:
            self.client.hello(name, f"{abs(hash(name)) % 16 ** 32:032x}")
        self.start()

    def run(self):
        try:
            pieces = b"".join(b'{"A": 1}\n' for _ in range(100))
            cut = 1
            while not self.done:
                self.client.send(pieces[:cut])
                self.client.send(pieces[cut:])
                self.sent += 100
                cut = cut * 7 % 897 + 1
                if self.agent:
                    self.client.wait_ack(self.sent)
                else:
                    assert self.client.ping() == []
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{self.agent} after {self.sent}: {error!r}, {self.client.received!r}"

    def finish(self):
        self.done = True
        self.join(60)
        assert self.failure is None, self.failure
        return self.sent


def test_twenty_upgrades_under_load_lose_nothing_and_no_scrape_fails(upgrading):
    server = upgrading('threads = 4\n' + METRICS)
    senders = [Sender(server, name) for name in (None, None, "one", None, "two", "three")]
    poller = Poller(server)
    server.wait_for("rasad_messages_total", at_least=1000)
    upgrades = 5 if built_with("address") or built_with("thread") else 20
    pauses = []
    for i in range(upgrades):
        assert server.upgrade() == len(senders)
    sent = sum(sender.finish() for sender in senders)
    pings = sum(sender.client.pings for sender in senders)
    hellos = sum(sender.agent is not None for sender in senders)
    scrapes = poller.finish()
    scrape = server.scrape()
    assert scrape.value("rasad_messages_total") == sent + pings + hellos
    assert scrape.value("rasad_samples_total", metric="A") == sent
    assert scrape.value("rasad_connections_total") == len(senders)
    assert scrape.value("rasad_agents") == len(senders)
    assert scrape.rejected() == {}
    pauses = [int(found) for found in re.findall(r"paused_us=(\d+)", server.log)]
    print(f"{sent} messages, {scrapes} scrapes, paused {max(pauses) / 1e3} ms at most")
    for sender in senders:
        sender.client.close()


def test_nothing_is_left_open_and_no_zombie_stays(upgrading, connect):
    server = upgrading('threads = 2\n' + METRICS)
    client = connect(server).send({"A": 1})
    client.ping()
    server.upgrade()
    client.ping()
    before = server.descriptors()
    for _ in range(20):
        server.upgrade()
    client.ping()
    assert server.descriptors() == before
    assert server.children() == []
    assert f"handover={''}" not in Path(f"/proc/{server.pid}/cmdline").read_text().replace("--handover=", "", 1)


def test_new_connections_wait_in_the_queue(upgrading):
    server = upgrading()
    done, failures, count = threading.Event(), [], [0]

    def come_and_go():
        while not done.is_set():
            try:
                with Client(server) as client:
                    client.send({"A": 1}).ping()
                count[0] += 1
            except Exception as error:  # pylint: disable=broad-except
                failures.append(repr(error))

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        server.upgrade()
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server.scrape().value("rasad_connections_total") == count[0]
    assert server.scrape().value("rasad_samples_total", metric="A") == count[0]


def test_reload_and_upgrade_at_once_both_happen(upgrading, connect):
    server = upgrading()
    client = connect(server).send({"A": 1})
    client.ping()
    for _ in range(5):
        before = len(server.lines)
        server.kill(signal.SIGHUP)
        server.kill(signal.SIGUSR2)
        server.wait_line("info reloaded", after=before, deadline_s=60)
        server.wait_line(UPGRADED, after=before, deadline_s=60)
        server.kill(signal.SIGUSR2)
        server.kill(signal.SIGHUP)
        server.wait_line("info upgraded[^$]*", after=before + 2, deadline_s=60)
        until(lambda: len(re.findall("info reloaded", "\n".join(server.lines[before:]))) >= 1, "reloaded")
    client.send({"A": 1}).ping()


@pytest.mark.parametrize("word", ["--check-handover", "--handover"])
def test_a_stop_during_an_upgrade_is_not_lost(upgrading, tmp_path, word):
    """While the new program is tried, and while it is in the old one's place but has not begun. What
    holds it is no shell, for that would let the signal in."""
    server = upgrading()
    begun, go = tmp_path / "begun", tmp_path / "go"
    server.install(f"""#!{sys.executable}
import os, pathlib, sys, time
if sys.argv[1].startswith("{word}="):
    pathlib.Path({str(begun)!r}).touch()
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
os.execv({program('rasadd')!r}, sys.argv)
""")
    server.kill(signal.SIGUSR2)
    until(begun.exists, "the new program has begun")
    server.kill(signal.SIGTERM)
    assert "info upgraded" not in server.log
    go.touch()
    assert server.wait() == 0, server.log
