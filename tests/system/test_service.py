# SPDX-License-Identifier: Apache-2.0
"""A restart by a service manager that keeps descriptors, as systemd does (sd_notify(3), FDSTORE=1)."""
import array
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from harness import LISTENING, SERVING, Process, Server, program
from test_upgrade import METRICS, STREAM, Poller, Sender
from wire import chain, until

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
        self.socket.bind(self.path)
        self.states, self.store, self.sizes, self.most = [], [], [], most
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()

    def hear(self):
        while True:
            data, ancillary, flags, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 253))
            assert not flags & socket.MSG_CTRUNC, "more descriptors than can pass"
            fds = array.array("i")
            for _, _, content in ancillary:
                fds.frombytes(content)
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            name = words.get("FDNAME", "stored")
            if words.get("FDSTORE") == "1":
                assert words["FDPOLL"] == "0", "a connection that has ended is still to be read"
                self.sizes.append(len(fds))
                room = self.most - len(self.store)
                self.store += [(name, fd) for fd in fds[:room]]
                for fd in fds[room:]:
                    os.close(fd)
            elif words.get("FDSTOREREMOVE") == "1":
                for _, fd in [kept for kept in self.store if kept[0] == name]:
                    os.close(fd)
                self.store = [kept for kept in self.store if kept[0] != name]
            else:
                for fd in fds:  # BARRIER=1
                    os.close(fd)
            self.states += [word for word in words if word in ("READY", "STOPPING")]


class Service(Server):
    """A server that is started anew with what the manager has kept."""

    def __init__(self, folder, conf, manager, **options):
        self.manager = manager
        super().__init__(folder, conf, environment={"NOTIFY_SOCKET": manager.path}, **options)

    def start(self):
        # The list is turned round, since systemd's order is nobody's business.
        store = list(reversed(self.manager.store))
        ready = self.manager.states.count("READY")
        self.process = Process(
            [sys.executable, "-c", LAUNCHER, ",".join(str(fd) for _, fd in store),
             ":".join(name for name, _ in store), program("rasadd"), "-c", self.write_conf()],
            self.folder, environment=self.environment, descriptors=[fd for _, fd in store])
        self.past.append(self.process)
        self.port = int(self.process.wait_line(LISTENING)[1])
        self.http = int(self.process.wait_line(SERVING)[1])
        until(lambda: self.manager.states.count("READY") > ready, "READY=1")
        return self


@pytest.fixture
def service(started, tmp_path):
    """service(conf): a server under a service manager."""
    def start(conf=METRICS, state=True, most=10_000):
        (tmp_path / "state").mkdir()
        made = Service.__new__(Service)
        made.past, made.process = [], None
        started.append(made)
        head = f'state_dir = "{tmp_path}/state"\n' if state else ""
        made.__init__(tmp_path, head + conf, Manager(tmp_path, most))
        return made
    return start


def test_a_restart_keeps_connections(service, connect):
    server = service()
    assert server.manager.states == ["READY"]
    client, named = connect(server), connect(server)
    client.send({"A": 1}, b'{"A": ').drained()
    named.hello("web-1", STREAM)
    messages = [b'{"A": %d}' % i for i in range(6)]
    named.send(*messages[:3]).wait_ack(3)
    named.send(messages[3][:4]).drained()
    assert server.stop() == 0
    assert server.manager.states == ["READY", "STOPPING"]
    assert [name for name, _ in server.manager.store].count("rasad-handover") == 1
    client.send(b"2}")  # while there is no server
    named.send(messages[3][4:])
    server.start()
    assert server.manager.store == [], "what is kept twice is never closed"
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


def test_hundreds_of_connections_go_in_batches(service, connect):
    server = service()
    clients = [connect(server).send({"A": 1}) for _ in range(600)]
    for client in clients:
        client.ping()
    assert server.stop() == 0
    assert max(server.manager.sizes) == 253 and sum(server.manager.sizes) == 600 + 2 + 1
    server.start()
    for client in clients:
        client.send({"A": 1}).ping()
    assert server.scrape().value("rasad_agents") == 600


def test_what_the_store_has_no_room_for_is_closed(service, connect):
    server = service(most=5)
    clients = [connect(server).send({"A": 1}) for _ in range(6)]
    for client in clients:
        client.ping()
    assert server.stop() == 0
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


def test_a_store_that_keeps_nothing_does_no_harm(service, connect):
    server = service(most=0)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"A": 1}).wait_ack(1)
    assert server.stop() == 0
    assert client.rest() == []
    server.start()
    connect(server).hello("web-1", STREAM)


def test_a_damaged_handover_is_closed(service, connect):
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
    server.wait_line("warning connections were not taken over.*there is no handover")
    assert client.rest() == [] and server.manager.store == []
    connect(server).send({"A": 1}).ping()


def test_without_state_dir_nothing_is_kept(service, connect):
    server = service(state=False)
    client = connect(server).send({"A": 1})
    client.ping()
    assert server.stop() == 0
    assert server.manager.store == [] and client.rest() == []


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
