# SPDX-License-Identifier: Apache-2.0
"""A restart by a service manager that keeps descriptors, as systemd does (sd_notify(3), FDSTORE=1)."""
import array
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import BUILD, LISTENING, ROOT, SERVING, Process, Server, built_with, free_port, program
from test_upgrade import METRICS, OTHER_FORMAT, STREAM, Poller, Sender
from wire import Client, chain, counted, crc32c, until

sys.path.insert(0, str(ROOT / "tests/power"))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

SO_COOKIE = 57  # <asm-generic/socket.h>

# Puts descriptors where sd_listen_fds(3) looks for them, and becomes the program.
LAUNCHER = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD, 3000) for fd in fds]
for fd in fds:
    os.close(fd)
for i, fd in enumerate(lifted):
    os.dup2(fd, 3 + i)
    os.close(fd)
if fds:
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(fds))
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


class Manager:
    """What systemd does with NOTIFY_SOCKET: hears states, and keeps descriptors by name."""

    def __init__(self, folder, most=10_000):
        self.path = str(folder / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(self.path)
        self.words, self.store, self.given, self.syncs, self.most = [], [], 0, 0, most
        self.beats = []  # when each came
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()

    @property
    def states(self):
        """The changes of state, in their order."""
        return [state for words in self.words for state in ("READY", "RELOADING", "STOPPING")
                if words.get(state) == "1"]

    @staticmethod
    def which(fd):
        """What tells one open file from others; systemd asks kcmp(2)."""
        there = os.fstat(fd)
        if not stat.S_ISSOCK(there.st_mode):
            return "file", there.st_ino
        with socket.socket(fileno=os.dup(fd)) as copy:
            return "socket", copy.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)

    def keep(self, name, fds):
        for fd in fds:
            if any(self.which(fd) == self.which(kept) for _, kept in self.store):
                os.close(fd)
            elif len(self.store) >= self.most:
                os.close(fd)
            else:
                self.given += 1
                self.store.append((name, fd))

    def forget(self, name):
        for _, fd in [kept for kept in self.store if kept[0] == name]:
            os.close(fd)
        self.store = [kept for kept in self.store if kept[0] != name]

    def hear(self):
        while True:
            data, ancillary, flags, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 253))
            assert not flags & socket.MSG_CTRUNC, "more descriptors than can pass"
            fds = array.array("i")
            for _, _, content in ancillary:
                fds.frombytes(content)
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            if words.get("FDSTORE") == "1":
                assert words["FDPOLL"] == "0", "a connection that has ended is still to be read"
                self.keep(words.get("FDNAME", "stored"), fds)
            elif words.get("FDSTOREREMOVE") == "1":
                self.forget(words["FDNAME"])
            else:
                for fd in fds:  # BARRIER=1
                    os.close(fd)
            if "TEST_SYNC" in words:
                self.syncs += 1
            elif words.get("WATCHDOG") == "1":
                self.beats.append(time.monotonic())
            self.words.append(words)

    def sync(self):
        """Waits until all that was said before is heard; returns itself."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
            before = self.syncs
            asker.sendto(b"TEST_SYNC=1", self.path)
            until(lambda: self.syncs > before, "the manager hears")
        return self

    def names(self, prefix=""):
        return sorted(name for name, _ in self.sync().store if name.startswith(prefix))

    def sockets(self):
        """How many connections are kept, beside the two listening sockets."""
        return len(self.names("rasad-socket-")) - 2

    def wait_kept(self, count):
        until(lambda: self.sockets() == count, f"{count} connections are kept, not {self.sockets()}")


class Service(Server):
    """A server that is started anew with what the manager has kept, and with what its socket units have
    opened (name, socket), which the manager keeps in any case."""

    def __init__(self, folder, conf, manager, units=(), **options):
        self.manager, self.units = manager, units
        options["environment"] = {"NOTIFY_SOCKET": manager.path} | options.get("environment", {})
        super().__init__(folder, conf, **options)

    def start(self):
        # The list is turned round, since systemd's order is nobody's business.
        store = list(reversed(self.manager.sync().store))
        store += [(name, unit.fileno()) for name, unit in self.units]
        ready = self.manager.states.count("READY")
        self.process = Process(
            [sys.executable, "-c", LAUNCHER, ",".join(str(fd) for _, fd in store),
             ":".join(name for name, _ in store), program("rasadd"), "-c", self.write_conf()],
            self.folder, environment=self.environment, descriptors=[fd for _, fd in store])
        self.past.append(self.process)
        listening = self.process.wait_line(r"info listening address=(?:127\.0\.0\.1:(\d+)|unix:)")
        self.port = int(listening[1] or 0)
        self.http = int(self.process.wait_line(SERVING)[1])
        until(lambda: self.manager.states.count("READY") > ready, "READY=1")
        return self

    def kill_9(self):
        """The end without a word, and the start that Restart=on-failure makes."""
        self.kill(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL
        return self.start()


def listens_at(fd, port):
    """Whether this is the listening socket with that port."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as copy:
        return (copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
                and copy.getsockname()[1] == port)


@pytest.fixture
def service(started, tmp_path):
    """service(conf): a server under a service manager."""
    def start(conf=METRICS, state=True, most=10_000, **options):
        (tmp_path / "state").mkdir()
        made = Service.__new__(Service)
        made.past, made.process = [], None
        started.append(made)
        head = f'state_dir = "{tmp_path}/state"\n' if state else ""
        made.__init__(tmp_path, head + conf, Manager(tmp_path, most), **options)
        return made
    return start


def test_a_restart_keeps_connections(service, connect):
    server = service()
    assert server.manager.states == ["READY"]
    assert any("EXTEND_TIMEOUT_USEC" in words for words in server.manager.words)
    client, named = connect(server), connect(server)
    client.send({"A": 1}, b'{"A": ').drained()
    named.hello("web-1", STREAM)
    messages = [b'{"A": %d}' % i for i in range(6)]
    named.send(*messages[:3]).wait_ack(3)
    named.send(messages[3][:4]).drained()
    assert server.stop() == 0
    assert server.manager.states == ["READY", "STOPPING"]
    assert server.manager.names("rasad-handover") == ["rasad-handover"]
    assert server.manager.sockets() == 2
    client.send(b"2}")  # while there is no server
    named.send(messages[3][4:])
    server.start()
    assert server.manager.names("rasad-handover") == [], "what was taken is of no use again"
    assert server.manager.sockets() == 2, "the rest stays there, in case of a kill"
    client.send({"A": 1}).ping()
    named.send(*messages[4:]).wait_ack(6)
    assert named.hello("web-1", STREAM)["chain"] == chain(messages)
    scrape = server.scrape()
    assert scrape.value("rasad_agents") == 2
    assert scrape.rejected() == {}
    assert scrape.value("rasad_samples_total", metric="A") == 5, "counts are those of the new process"
    assert client.end() == []


def test_who_says_goodbye_meanwhile_takes_nobody_along(service, connect):
    server = service()
    client, leaving, named = connect(server), connect(server), connect(server)
    client.send({"A": 1}).ping()
    named.hello("web-1", STREAM)
    server.kill(signal.SIGSTOP)
    leaving.send({"A": 1}, b"!DISCONNECT").arrived()
    named.send({"A": 1}, b"!DISCONNECT").arrived()
    server.kill(signal.SIGTERM)
    server.kill(signal.SIGCONT)
    assert server.wait() == 0
    server.start()
    assert leaving.end() == []
    assert named.end() == [{"@ack": 1}]
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)
    assert server.scrape().total("A_total") == 4


def descriptors(pid):
    """What each open descriptor is, numbers left out."""
    folder = Path(f"/proc/{pid}/fd")
    return sorted(re.sub(r"\d+", "N", os.readlink(fd)) for fd in folder.iterdir())


def test_many_restarts_and_upgrades_leave_nothing_behind(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    open_first = None
    for _ in range(3):
        client.ping()
        assert server.stop() == 0
        server.start()
        client.ping()
        before, ready = len(server.lines), server.manager.states.count("READY")
        server.kill(signal.SIGUSR2)
        server.wait_line("info upgraded", after=before, deadline_s=60)
        until(lambda r=ready: server.manager.states.count("READY") > r, "READY=1 of the new program")
        client.send({"A": 1}).ping()
        # Three places and the client; what said READY=1 may still be there for a moment.
        until(lambda: descriptors(server.pid).count("socket:[N]") == 4, "no further socket is open")
        open_first = open_first or descriptors(server.pid)
        assert descriptors(server.pid) == open_first


def test_hundreds_of_connections_are_given_once(service, connect):
    server = service()
    clients = [connect(server).send({"A": 1}) for _ in range(600)]
    for client in clients:
        client.ping()
    assert server.stop() == 0
    assert server.manager.sockets() == 600
    assert server.manager.given == 600 + 2 + 2, "sockets, the handover, and where they stand"
    server.start()
    assert server.manager.sync().given == 600 + 2 + 2
    for client in clients:
        client.send({"A": 1}).ping()
    assert server.scrape().value("rasad_agents") == 600


def test_what_the_store_has_no_room_for_is_closed(service, connect):
    server = service(most=6, environment={"FDSTORE": "6"})
    clients = [connect(server).send({"A": 1}) for _ in range(6)]
    for client in clients:
        client.ping()
    assert server.stop() == 0
    assert len(server.manager.store) == 6
    server.start()
    server.wait_line(r"warning connections could not be taken over.* count=4$")
    alive = 0
    for client in clients:
        try:
            client.send({"A": 1}).ping()
            alive += 1
        except (AssertionError, OSError):
            pass
    assert alive == 2
    assert server.scrape().value("rasad_agents") == 2


def test_no_more_is_kept_than_a_process_can_begin_with(service, connect, monkeypatch):
    lowered = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (128, 20000))\nos.execv("
    monkeypatch.setattr(sys.modules[__name__], "LAUNCHER", LAUNCHER.replace("os.execv(", lowered))
    server = service()
    clients = [connect(server).send({"A": 1}) for _ in range(100)]
    for client in clients:
        client.ping()
    server.manager.wait_kept(128 - 64 - 2 - 2)  # two memories, two listening sockets
    server.kill(signal.SIGUSR2)  # the next image finds the limit raised
    server.wait_line("info upgraded", deadline_s=60)
    clients += [connect(server).send({"A": 1}) for _ in range(100)]
    for client in clients:
        client.ping()
    time.sleep(1.5)  # connections that have lived for a second would be kept
    assert server.manager.sockets() <= 60
    server.kill_9()
    connect(server).send({"A": 1}).ping()


def test_a_store_that_keeps_nothing_does_no_harm(service, connect):
    server = service(most=0)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"A": 1}).wait_ack(1)
    assert server.stop() == 0
    assert client.rest() == []
    server.start()
    connect(server).hello("web-1", STREAM)


def test_without_a_sound_handover_it_goes_on_as_after_a_kill(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    client.ping()
    assert server.stop() == 0
    store = server.manager.store
    at = [name for name, _ in store].index("rasad-handover")
    other = os.memfd_create("other")
    os.write(other, b"nonsense")
    os.close(store[at][1])
    store[at] = ("rasad-handover", other)
    server.start()
    server.wait_line("warning connections are taken over as after a kill.*there is no handover")
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)


def test_a_handover_that_was_taken_is_never_taken_again(service, connect):
    server = service()
    client, named = connect(server).send({"A": 1}), connect(server)
    client.ping()
    named.hello("web-1", STREAM)
    named.send({"A": 1}).wait_ack(1)
    assert server.stop() == 0
    name, stale = next(kept for kept in server.manager.store if kept[0] == "rasad-handover")
    stale = os.dup(stale)
    server.start()
    named.send({"A": 1}).wait_ack(2)
    client.ping()
    server.wait_for("A_total", equals=2, agent="web-1")
    server.manager.store.append((name, stale))  # as if nobody had heard that it was taken
    server.kill_9()
    server.wait_line("info connections of a process that was killed taken over count=2$")
    assert named.hello_again(named.read()["@again"])["applied"] == 2
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)
    assert server.manager.names("rasad-handover") == []


def test_without_state_dir_nothing_is_kept(service, connect):
    server = service(state=False)
    client = connect(server).send({"A": 1})
    client.ping()
    assert server.stop() == 0
    assert server.manager.sync().store == [] and client.rest() == []


def test_no_scrape_and_no_newcomer_fails_over_restarts(service):
    server = service()
    senders = [Sender(server, name) for name in (None, "one", "two")]
    poller = Poller(server, same_process=False)
    for _ in range(4):
        assert server.stop() == 0
        server.start()
    sent = [sender.finish() for sender in senders]
    assert poller.finish() > 0
    assert min(sent) > 0
    for sender in senders:
        assert sender.client.ping() == []
        sender.client.close()


# ---- Killed ---------------------------------------------------------------------------------


def test_an_idle_client_is_counted_on_the_same_connection_after_a_kill(service, connect):
    server = service()
    client, silent = connect(server).send({"A": 1}), connect(server)
    client.ping()
    server.wait_for("A_total", equals=1, agent=client.agent)
    server.manager.wait_kept(2)
    server.kill_9()
    server.wait_line("info connections of a process that was killed taken over count=2$")
    client.send({"A": 2}).ping()
    server.wait_for("A_total", equals=3, agent=client.agent)
    assert silent.hello("web-1", STREAM)["applied"] == 0, "nothing came from it, so it may say hello"
    assert client.end() == []
    server.manager.wait_kept(1)


def test_what_was_half_read_is_passed_over_after_a_kill(service, connect):
    server = service()
    lines, runs, begun = connect(server), connect(server), connect(server)
    lines.send({"A": 1}).ping()
    lines.send(b'{"A": 10, "G"').drained()
    runs.send(b'{"A": 1}').drained()
    runs.send(b'{"A"').drained()
    begun.send(b'{"A"').drained()
    server.manager.wait_kept(3)
    server.wait_for("A_total", equals=1, agent=runs.agent)
    server.kill_9()
    lines.send(b': {"A": 100}}\n{"A": 2}\n').ping()
    server.wait_for("A_total", equals=3, agent=lines.agent)
    assert server.scrape().rejected() == {"truncated": 1}
    assert runs.rest() == [], "nobody knows where its next message begins"
    assert begun.rest() == [], "it might have been a hello"


def test_who_sends_no_lines_is_never_misread_after_a_kill(service, connect):
    server = service()
    pretty = b'{\n "X": [\n  {"A": 1000},\n  {"A": 1000}\n ],\n "A": 1\n}\n'
    # What a sender sent, and what it is in the middle of; the last with a part of which it isn't yet known.
    begun = {
        "together": (b'{"A": 1}{"A": 1}', b'{"A"'),
        "together, in lines": (b'{"A": 1}{"A": 1}\n', b'{"A"'),
        "pretty": (pretty, pretty[:20]),
        "pretty for the first time": (b'{"A": 1}\n', pretty[:20]),
        "counted": (counted(b'{"A": 1}\n'), counted(b'{"A": 1}\n')[:-3]),
        "header": (counted(b'{"A": 1}\n'), counted(b'{"A": 1}\n')[:20]),
        "too long": (b'{"A": 1}\n' + counted(b"x" * 5_000_000)[:64], b'{"A": 1000}\n'),
    }
    senders = {why: connect(server) for why in begun}
    between = {why: connect(server) for why in begun if why != "too long"}
    for why, (whole, part) in begun.items():
        senders[why].send(whole).drained()
        senders[why].send(part).drained()
        if why in between:
            between[why].send(whole).drained()
    server.manager.wait_kept(len(senders) + len(between))
    sums = {client: server.wait_for("A_total", at_least=1, agent=client.agent).value("A_total", agent=client.agent)
            for client in [*senders.values(), *between.values()]}
    server.kill_9()
    for why, client in senders.items():
        assert client.rest() == [], why
        assert server.scrape().value("A_total", agent=client.agent) == sums[client], why
    for why, client in between.items():
        client.send(begun[why][0]).drained()
        server.wait_for("A_total", equals=2 * sums[client], agent=client.agent)
    # Who is killed again is no better known.
    server.kill_9()
    for why, client in between.items():
        client.send(begun[why][0]).drained()
        server.wait_for("A_total", equals=3 * sums[client], agent=client.agent)
    assert server.stop() == 0
    server.start()
    for client in between.values():
        client.send(b'{"A"').drained()
    server.manager.wait_kept(len(between))
    server.kill_9()
    for why, client in between.items():
        if why != "pretty for the first time":
            assert client.rest() == [], why


def test_a_conf_that_has_changed_meanwhile_is_the_one_that_counts(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    client.ping()
    server.manager.wait_kept(1)
    server.conf = server.conf.replace("state_dir", "# state_dir", 1)
    port = server.port = free_port()
    server.kill_9()
    client.send({"A": 1}).ping()
    server.port = port  # the log begins with the old one, where somebody might have waited
    connect(server).send({"A": 1}).ping()
    server.wait_for("A_total", equals=1, agent=client.agent)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", client.server_port)).close()
    assert server.stop() == 0
    assert server.manager.sync().store == [] and client.rest() == []


def test_a_place_that_was_taken_is_moved_to_once_it_is_free(service, connect):
    server = service()
    client, old = connect(server).send({"A": 1}), server.port
    client.ping()
    server.manager.wait_kept(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.port = port = taken.getsockname()[1]
        server.kill_9()
        server.wait_line("error still listening where it was")
        assert server.port == old
    server.port = port
    server.kill_9()
    server.port = port  # the log begins with the old one, where somebody might have waited
    client.send({"A": 1}).ping()
    connect(server).send({"A": 1}).ping()


@pytest.fixture
def units():
    """The sockets of two socket units."""
    opened = [(name, socket.create_server(("127.0.0.1", 0))) for name in ("http", "ingest")]
    yield opened
    for _, unit in opened:
        unit.close()


def test_sockets_of_units_are_served_whatever_becomes_of_the_server(service, connect, units):
    ports = {name: unit.getsockname()[1] for name, unit in units}
    server = service(units=units)
    client, sent = connect(server), 0

    def goes_on():
        nonlocal sent
        assert (server.port, server.http) == (ports["ingest"], ports["http"])
        client.send({"A": 1}).ping()
        connect(server).send({"A": 1}).ping()
        sent += 1
        server.wait_for("A_total", equals=sent, agent=client.agent)

    goes_on()
    until(lambda: len(server.manager.names("rasad-socket-")) == 2, "no sockets but those of connections are kept")
    server.kill_9()
    goes_on()
    assert server.stop() == 0
    server.start()
    goes_on()
    before = len(server.lines)
    server.kill(signal.SIGUSR2)
    server.wait_line("upgraded", after=before)
    goes_on()
    server.kill_9()
    goes_on()
    assert server.stop() == 0
    # The units' sockets are theirs: who connects now waits for the next start.
    late = connect(server).send({"A": 7})
    server.start()
    late.ping()
    goes_on()
    server.wait_for("A_total", equals=7, agent=late.agent)


def test_a_server_that_keeps_nothing_leaves_the_units_sockets_open(service, connect, units):
    server = service(units=units, state=False)
    connect(server).send({"A": 1}).ping()
    assert server.stop() == 0
    for name, unit in units:
        assert unit.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1, name
    late = connect(server).send({"A": 7})
    server.start()
    late.ping()
    server.wait_for("A_total", equals=7, agent=late.agent)


def test_an_http_socket_that_was_shut_down_is_opened_anew(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    client.ping()
    server.manager.wait_kept(1)
    server.kill(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    kept, = (fd for _, fd in server.manager.sync().store if listens_at(fd, server.http))
    with socket.socket(fileno=os.dup(kept)) as copy:
        copy.shutdown(socket.SHUT_RDWR)
    server.start()
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)


def test_a_units_unix_socket_stays_the_units(service, tmp_path):
    path = str(tmp_path / "ingest.sock")
    unit = socket.socket(socket.AF_UNIX)
    unit.bind(path)
    unit.listen()
    server = service(METRICS + f'listen {{ address = "unix:{path}" }}\n', units=[("ingest", unit)])
    senders = []

    def connect_one():
        sender = socket.socket(socket.AF_UNIX)
        sender.connect(path)
        senders.append(sender)
        return f"unix:{os.getpid()}.{len(senders)}"

    def all_count(names):
        for sender in senders:
            sender.sendall(b'{"A": 1}\n')
        for i, name in enumerate(names):
            expected[i] += 1
            server.wait_for("A_total", equals=expected[i], agent=name)

    expected, names = [0] * 4, []
    for _ in range(2):  # each is an agent of its own
        names.append(connect_one())
    all_count(names)
    server.manager.wait_kept(len(names) - 1)  # and HTTP's
    before, ready = len(server.lines), server.manager.states.count("READY")
    server.kill(signal.SIGUSR2)
    server.wait_line("info upgraded", after=before, deadline_s=60)
    until(lambda: server.manager.states.count("READY") > ready, "READY=1 of the new program")
    names.append(connect_one())
    all_count(names)
    server.manager.wait_kept(len(names) - 1)
    # The conf says another place, which means nothing while there is the unit's.
    server.conf = server.conf.replace(path, path + ".other")
    server.write_conf()
    subprocess.run([program("rasadctl"), "-S", server.folder / "rasad.sock", "reload"], check=True)
    names.append(connect_one())
    all_count(names)
    assert os.path.exists(path) and not os.path.exists(path + ".other")
    assert unit.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    for sender in (unit, *senders):
        sender.close()


def test_a_start_that_fails_takes_nothing_from_the_next_one(service, tmp_path):
    path = str(tmp_path / "ingest.sock")
    server = service(METRICS + f'listen {{ address = "unix:{path}" }}\n')
    sender = socket.socket(socket.AF_UNIX)
    sender.connect(path)
    name = f"unix:{os.getpid()}.1"
    sender.sendall(b'{"A": 1}\n')
    server.wait_for("A_total", equals=1, agent=name)
    server.manager.wait_kept(1)
    server.kill(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    sender.sendall(b'{"A": 2}\n')
    late = socket.socket(socket.AF_UNIX)
    late.connect(path)
    late.sendall(b'{"A": 4}\n')
    # The socket of HTTP is lost, and its port is another's.
    kept = server.manager.sync().store
    lost = [i for i, (_, fd) in enumerate(kept) if listens_at(fd, server.http)]
    os.close(kept.pop(lost[0])[1])
    with socket.create_server(("127.0.0.1", server.http)):
        with pytest.raises(AssertionError):
            server.start()
        assert server.wait() == 1
    assert os.path.exists(path)
    server.start()
    server.wait_for("A_total", equals=3, agent=name)
    sender.sendall(b'{"A": 1}\n')
    server.wait_for("A_total", equals=4, agent=name)
    server.wait_for("A_total", equals=4, agent=f"unix:{os.getpid()}.2")
    sender.close()
    late.close()


def test_a_lost_listening_socket_is_opened_anew(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    client.ping()
    server.manager.wait_kept(1)
    server.kill(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    kept = server.manager.sync().store
    lost = [i for i, (_, fd) in enumerate(kept) if listens_at(fd, server.port)]
    os.close(kept.pop(lost[0])[1])
    server.start()
    client.send({"A": 1}).ping()
    connect(server).send({"A": 1}).ping()


def test_a_connection_that_the_server_closes_ends_for_its_peer(service, connect):
    server = service()
    older, misused = connect(server), connect(server)
    older.hello("web-1", STREAM)
    server.manager.wait_kept(2)
    kept = server.manager.names()
    connect(server).hello("web-1", STREAM)
    assert older.rest() == [], "fenced"
    misused.send({"@hello": {}})
    assert "@error" in misused.read() and misused.read() is None
    server.manager.wait_kept(1)
    assert len(set(kept) - set(server.manager.names())) == 2, "their own names left the store"


def test_short_connections_are_none_of_the_managers_business(service, connect):
    server = service()
    for _ in range(300):
        with connect(server) as client:
            client.send({"A": 1}).ping()
    assert server.manager.sockets() == 0 and server.manager.given < 20


def test_what_has_no_place_in_the_store_goes_on_without(service, connect):
    server = service(most=6, environment={"FDSTORE": "6"})
    clients = [connect(server).send({"A": 1}) for _ in range(6)]
    for client in clients:
        client.ping()
    server.manager.wait_kept(2)
    server.kill_9()
    alive = 0
    for client in clients:
        try:
            client.send({"A": 1}).ping()
            alive += 1
        except (AssertionError, OSError):
            pass
    assert alive == 2


def test_named_clients_are_asked_to_say_hello_again(service, connect):
    server = service()
    client, foreign = connect(server), connect(server)
    client.hello("web-1", STREAM)
    foreign.hello("web-2", STREAM)
    messages = [b'{"A": %d}' % i for i in range(8)]
    client.send(*messages[:3]).wait_ack(3)
    client.send(messages[3][:5]).drained()
    server.manager.wait_kept(2)
    server.kill_9()
    again = client.read()["@again"]
    assert re.fullmatch("[0-9a-f]{32}", again)
    # All of this is for the process that is gone: the rest of a message, whole ones, strange hellos.
    client.send(messages[3][5:], *messages[4:], b"\n", {"@hello": {"agent": "web-1", "again": "0" * 32}},
                {"A": 1, "again": again}, b"x" * 100_000)
    welcome = client.hello_again(again, first=1, chain="00000000")
    assert welcome == {"applied": 3, "committed": 3, "chain": chain(messages[:3])}
    client.send(*messages[3:]).wait_ack(8)
    scrape = server.wait_for("A_total", equals=sum(range(8)), agent="web-1")
    assert scrape.rejected() == {} and scrape.value("rasad_agents") == 2
    assert "@again" in foreign.read()
    foreign.send({"A": 1})
    assert foreign.rest() == [], "who doesn't know how to answer has to come back"
    server.wait_line("info connection closed.*it did not say hello again")
    assert server.scrape().total("A_total") == sum(range(8))


def test_a_hello_again_may_be_cut_by_another_kill(service, connect):
    server = service()
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"A": 1}).wait_ack(1)
    server.manager.wait_kept(1)
    server.kill_9()
    first = client.read()["@again"]
    client.send(b'\n{"@hello": {"agent": "web-1", "str').drained()
    server.kill_9()
    second = client.read()["@again"]
    assert second != first
    client.send(b'eam": "%s", "again": "%s"}}\n' % (STREAM.encode(), first.encode()), {"A": 1})
    assert client.hello_again(second)["applied"] == 1
    client.send({"A": 1}).wait_ack(2)
    server.wait_for("A_total", equals=2, agent="web-1")


def test_a_restart_hands_over_who_was_asked_for_a_hello(service, connect):
    server = service()
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"A": 1}).wait_ack(1)
    server.manager.wait_kept(1)
    server.kill_9()
    again = client.read()["@again"]
    client.send(b'{"A": 1}\n\n{"@hello"').drained()
    assert server.stop() == 0
    server.start()
    client.send(b': {"agent": "web-1", "stream": "%s", "again": "%s"}}\n'
                % (STREAM.encode(), again.encode()))
    assert client.wait_welcome()["applied"] == 1
    client.send({"A": 1}).wait_ack(2)
    server.kill_9()
    assert client.hello_again(client.read()["@again"])["applied"] == 2


def test_a_kill_after_an_upgrade_is_like_any_other(service, connect):
    server = service()
    client, named = connect(server).send({"A": 1}), connect(server)
    client.ping()
    named.hello("web-1", STREAM)
    server.manager.wait_kept(2)
    before = len(server.lines)
    ready = server.manager.states.count("READY")
    server.kill(signal.SIGUSR2)
    server.wait_line("info upgraded", after=before, deadline_s=60)
    until(lambda: server.manager.states.count("READY") > ready, "READY=1 of the new program")
    assert server.manager.sockets() == 2 and len(server.manager.names("rasad-standing")) == 1
    server.wait_for("A_total", equals=1, agent=client.agent)
    server.kill_9()
    client.send({"A": 1}).ping()
    server.wait_for("A_total", equals=2, agent=client.agent)
    assert named.hello_again(named.read()["@again"])["applied"] == 0
    before, ready = len(server.lines), server.manager.states.count("READY")
    server.kill(signal.SIGUSR2)
    server.wait_line("info upgraded", after=before, deadline_s=60)
    until(lambda: server.manager.states.count("READY") > ready, "READY=1 of the new program")
    assert client.end() == []
    server.manager.wait_kept(1)


def test_who_is_in_the_store_stays_there_over_an_upgrade_whoever_came_later(service, connect):
    server = service(most=6, environment={"FDSTORE": "6"})
    stored = [connect(server) for _ in range(2)]
    for i, client in enumerate(stored):
        client.hello(f"web-{i}", STREAM)
    server.manager.wait_kept(2)
    kept = server.manager.names()
    for _ in range(6):
        connect(server).send({"A": 1}).ping()
    before, ready = len(server.lines), server.manager.states.count("READY")
    server.kill(signal.SIGUSR2)
    server.wait_line("info upgraded", after=before, deadline_s=60)
    until(lambda: server.manager.states.count("READY") > ready, "READY=1 of the new program")
    assert server.manager.names() == kept
    connect(server).hello("web-0", STREAM)
    assert stored[0].rest() == [], "fenced"
    server.kill_9()
    assert stored[1].hello_again(stored[1].read()["@again"])["applied"] == 0


@pytest.mark.parametrize("of_units", [False, True])
def test_an_upgrade_that_can_read_nothing_leaves_nothing_in_the_store(
        service, connect, tmp_path, monkeypatch, units, of_units):
    link, real = tmp_path / "rasadd-installed", program
    link.symlink_to(real("rasadd"))
    monkeypatch.setattr("test_service.program", lambda name: str(link) if name == "rasadd" else real(name))
    server = service(units=units if of_units else ())
    client = connect(server).send({"A": 1})
    client.ping()
    until(lambda: len(server.manager.names("rasad-socket-")) == (1 if of_units else 3), "all is kept")
    link.unlink()
    link.write_text(OTHER_FORMAT.format(where="--handover", at=60, bit=4))
    link.chmod(0o755)
    before, ready = len(server.lines), server.manager.states.count("READY")
    server.kill(signal.SIGUSR2)
    server.wait_line("warning connections were not taken over", after=before, deadline_s=60)
    assert client.rest() == []
    until(lambda: server.manager.states.count("READY") > ready, "READY=1 of the new program")
    assert server.manager.sockets() == 0
    server.port = int(server.wait_line(LISTENING, after=before)[1])
    connect(server).send({"A": 1}).ping()
    for _, unit in units if of_units else []:
        assert unit.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1, "they are the units' own"


class AgainSender(threading.Thread):
    """A named sender that never reconnects, and keeps what isn't acknowledged."""

    def __init__(self, server, name, stream):
        super().__init__(daemon=True)
        self.client, self.done, self.failure = Client(server), False, None
        self.messages, self.acked, self.next, self.cut = [], 0, 0, 1
        self.chains = [0]  # before each message, and behind the last
        assert self.client.hello(name, stream)["applied"] == 0
        self.start()

    def take(self, reply):
        if "@ack" in reply:
            assert self.acked <= reply["@ack"] <= self.next
            self.acked = reply["@ack"]
            return
        welcome = self.client.hello_again(
            reply["@again"], first=self.acked + 1, chain=f"{self.chains[self.acked]:08x}")
        assert welcome["applied"] >= self.acked, "what was acknowledged is on the disk"
        assert welcome["chain"] == f"{self.chains[welcome['applied']]:08x}"
        self.acked, self.next = welcome["committed"], welcome["applied"]

    def run(self):
        try:
            while not self.done or self.acked < len(self.messages):
                if not self.done and len(self.messages) < self.acked + 300:
                    for i in range(50):
                        self.messages.append(b'{"A": 1, "G": %d}' % i)
                        self.chains.append(crc32c(self.messages[-1], self.chains[-1]))
                text = b"\n".join(self.messages[self.next:]) + b"\n"
                self.next = len(self.messages)
                self.client.send(text[:self.cut])  # so that a kill finds a part of a message
                self.client.send(text[self.cut:])
                self.cut = self.cut * 7 % 897 + 1
                self.take(self.client.read())
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"after {self.acked}: {error!r}, {self.client.received[:200]!r}"

    def finish(self):
        self.done = True
        self.join(60)
        assert self.failure is None and not self.is_alive(), self.failure
        return len(self.messages)


class Feed(threading.Thread):
    """Lines for a rasad-agent's standard input, some at a time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.source, self.target = os.pipe()
        self.done, self.count = False, 0

    def run(self):
        while not self.done:
            os.write(self.target, b'{"A": 1}\n' * 100)
            self.count += 100
            time.sleep(0.01)
        os.close(self.target)


def test_ten_kills_under_load_keep_connections_and_counts(service, run):
    server = service("threads = 2\n" + METRICS)
    feed = Feed()
    real = run(program("rasad-agent"), "-s", f"127.0.0.1:{server.port}", "-n", "real", "--stdin",
               stdin=feed.source)
    os.close(feed.source)
    feed.start()
    senders = [AgainSender(server, f"py-{i}", f"{i:032x}") for i in range(3)]
    server.manager.wait_kept(4)
    for i in range(10):
        count = server.scrape().get("A_total", agent="py-0") or 0
        server.wait_for("A_total", at_least=count + 1, agent="py-0")
        server.kill_9()
    sent = [sender.finish() for sender in senders]
    feed.done = True
    assert real.wait(60) == 0, real.log
    for i, count in enumerate(sent):
        server.wait_for("A_total", equals=count, agent=f"py-{i}")
    server.wait_for("A_total", equals=feed.count, agent="real")
    assert [sender.client.agains for sender in senders] == [10] * 3
    assert "reconnect" not in real.log
    assert len(re.findall("the server has started anew", real.log)) == 10
    for sender in senders:
        sender.client.close()
    print(f"{sum(sent)} and {feed.count} messages")


# ---- Other words ----------------------------------------------------------------------------


def test_listening_sockets_follow_a_reload(service, connect):
    server = service()
    client = connect(server).send({"A": 1})
    client.ping()
    server.manager.wait_kept(1)
    server.port = free_port()
    server.write_conf()
    before = server.manager.names()
    subprocess.run([program("rasadctl"), "-S", server.folder / "rasad.sock", "reload"], check=True)
    until(lambda: server.manager.names() != before, "the new sockets are kept")
    assert server.manager.sockets() == 1
    server.kill_9()
    client.send({"A": 1}).ping()
    connect(server).send({"A": 1}).ping()


def test_a_reload_is_told_and_so_is_a_refused_one(service):
    server = service()
    manager = server.manager
    ctl = [program("rasadctl"), "-S", server.folder / "rasad.sock", "reload"]
    assert subprocess.run(ctl, capture_output=True).returncode == 0
    manager.sync()
    assert manager.states == ["READY", "RELOADING", "READY"]
    told = [words for words in manager.words if words.get("RELOADING") == "1"]
    assert abs(int(told[0]["MONOTONIC_USEC"]) - time.monotonic_ns() // 1000) < 60_000_000
    server.conf += '\nmetric "B" { plugin = "conter" }\n'
    server.write_conf()
    refused = subprocess.run(ctl, capture_output=True, text=True)
    assert refused.returncode == 78 and "conter" in refused.stderr
    manager.sync()
    assert manager.states == ["READY", "RELOADING", "READY", "RELOADING", "READY"]
    last = [words["STATUS"] for words in manager.words if "STATUS" in words]
    assert last[0] == "taking samples for 3 metrics" and re.search("^reload refused: .*conter", last[-1])
    server.kill(signal.SIGHUP)
    until(lambda: manager.states.count("RELOADING") == 3 and manager.states[-1] == "READY", "SIGHUP")


@pytest.mark.skipif(built_with("address") or built_with("thread"),
                    reason="a sanitizer wants to be what is preloaded first")
def test_a_start_on_a_slow_disk_asks_for_time(service, tmp_path):
    faults = Faults(tmp_path / "faults", program="rasadd")
    server = service(environment=faults.environment)
    assert server.stop() == 0
    before = len(server.manager.sync().words)
    # The first who maps the database is the process that looks through it.
    slow = faults.set("mmap", 0, most=1, delay_us=2_500_000, below=tmp_path / "state")
    server.start()
    assert slow.failed == 1
    asked = [words for words in server.manager.words[before:] if "EXTEND_TIMEOUT_USEC" in words]
    assert len(asked) >= 3, "at the beginning, and after each second of waiting"


@pytest.mark.skipif(built_with("address") or built_with("thread"),
                    reason="a sanitizer wants to be what is preloaded first")
def test_the_watchdog_is_fed_while_an_upgrade_waits_for_the_disk(service, connect, tmp_path):
    faults = Faults(tmp_path / "faults", program="rasadd")
    server = service(environment=faults.environment | {"WATCHDOG_USEC": "3000000"})
    client = connect(server)
    beats = server.manager.beats
    until(lambda: len(beats) >= 2, "beats come")
    faults.set("fdatasync", 0, delay_us=4_000_000, below=tmp_path / "state")
    server.kill(signal.SIGUSR2)
    sent = 0
    while not any("info upgraded" in line for line in server.lines):  # so that there is something to commit
        client.send({"A": 1})
        sent += 1
        time.sleep(0.02)
        assert sent < 3000, "the upgrade takes long"
    faults.clear()
    until(lambda: server.manager.states.count("READY") > 1, "READY=1 of the new program")
    gaps = [later - beat for beat, later in zip(beats, beats[1:])]
    assert max(gaps) < 3, gaps
    client.ping()
    server.wait_for("A_total", equals=sent, agent=client.agent)


def test_the_watchdog_is_fed_until_a_plugin_hangs(service, connect, tmp_path):
    subprocess.run(["cc", "-std=c17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs,-z,now",
                    "-DHANGING_UPDATE", f"-I{ROOT}/core/include", "-o", tmp_path / "tally.so",
                    ROOT / "tests/system/plugins/tally.c", "-lm"], check=True, timeout=60)
    built = next(BUILD.glob("lib/**/rasad/plugins"))
    server = service(f'threads = 2\nplugin_path = {{ "{tmp_path}", "{built}" }}\n'
                     'metric "T" { plugin = "tally" }\nmetric "A" { plugin = "counter" }\n',
                     environment={"WATCHDOG_USEC": "4000000"})
    beats = server.manager.beats
    until(lambda: len(beats) >= 2, "beats come")
    subprocess.run([program("rasadctl"), "-S", server.folder / "rasad.sock", "reload"], check=True)
    before = len(beats)
    until(lambda: len(beats) > before + 1, "beats come after a reload")
    client = connect(server).send({"A": 1})
    client.ping()
    server.manager.wait_kept(1)
    before = len(server.lines)
    connect(server).send({"T": 12345})
    server.wait_line("error a plugin keeps a thread of the server busy: the watchdog isn't fed", after=before)
    server.manager.sync()
    before = len(beats)
    time.sleep(4.5)  # that nothing comes can't be waited for
    assert len(beats) == before
    if built_with("thread"):  # which sees that the record is another thread's; that thread hangs
        server.kill_9()
        return
    server.kill(signal.SIGABRT)  # what systemd does then
    assert server.wait() == -signal.SIGABRT
    server.start()
    until(lambda: len(beats) > before + 1, "beats of the next process")
    # The second time the plugin is blamed, and put where it harms nobody.
    connect(server).send({"T": 12345})
    server.wait_line("error a plugin keeps a thread of the server busy")
    server.kill(signal.SIGABRT)
    assert server.wait() == -signal.SIGABRT
    server.start()
    server.wait_line("warning a plugin crashed the server twice.*metric=T plugin=tally")
    connect(server).send({"T": 12345}).ping()
    client.send({"A": 1}).ping()


@pytest.mark.skipif(built_with("thread"), reason="it sees that the record is another thread's")
def test_a_scrape_that_never_ends_is_blamed_on_its_plugin(service, connect, tmp_path):
    subprocess.run(["cc", "-std=c17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs,-z,now",
                    "-DHANGING_RENDER", f"-I{ROOT}/core/include", "-o", tmp_path / "tally.so",
                    ROOT / "tests/system/plugins/tally.c", "-lm"], check=True, timeout=60)
    built = next(BUILD.glob("lib/**/rasad/plugins"))
    server = service(f'plugin_path = {{ "{tmp_path}", "{built}" }}\n'
                     'metric "T" { plugin = "tally" }\nmetric "A" { plugin = "counter" }\n',
                     environment={"WATCHDOG_USEC": "3000000"})
    client = connect(server).send({"A": 1, "T": 12345})
    client.ping()
    server.manager.wait_kept(1)
    until(lambda: server.scrape("/metrics?name[]=A_total").total("A_total") == 1, "A is shown")
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", server.http)) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            before = len(server.lines)
            until(lambda: client.send({"A": 1}) and
                  any("a plugin keeps a scrape busy" in line for line in server.lines[before:]), "it is noticed")
        server.kill(signal.SIGABRT)  # what systemd does then
        assert server.wait() == -signal.SIGABRT
        server.start()
    server.wait_line("warning a plugin crashed the server twice.*metric=T plugin=tally")
    client.ping()
    beats = server.manager.beats
    assert server.scrape("/metrics?name[]=A_total").total("A_total") > 1
    before = len(beats)
    until(lambda: len(beats) > before, "beats of the next process")


# ---- The unit's sandbox ---------------------------------------------------------------------


@pytest.mark.skipif(built_with("address") or built_with("thread"), reason="sanitizers want more system calls")
def test_it_runs_in_the_sandbox_of_a_hardened_unit(rasadd, connect, tmp_path):
    wrapper = tmp_path / "unit_sandbox"
    subprocess.run(["cc", "-std=gnu17", "-O1", "-o", wrapper, ROOT / "tests/system/unit_sandbox.c", "-lseccomp"],
                   check=True, timeout=60)
    (tmp_path / "state").mkdir()
    server = rasadd(f'state_dir = "{tmp_path}/state"\n' + METRICS +
                    'metric "I" { plugin = "counter"  isolate = true }\n', wrapper=[wrapper])
    client = connect(server).send({"A": 1, "I": 2})
    client.ping()
    server.wait_for("I_total", equals=2, agent=client.agent)
    assert "the system refuses part of an isolated plugin's sandbox" not in server.log
    subprocess.run([program("rasadctl"), "-S", server.folder / "rasad.sock", "reload"], check=True)
    server.kill(signal.SIGUSR2)
    server.wait_line("info upgraded", deadline_s=60)
    client.send({"A": 1, "I": 2}).ping()
    server.wait_for("I_total", equals=4, agent=client.agent)
