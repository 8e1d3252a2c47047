# SPDX-License-Identifier: Apache-2.0
"""A thousand agents at once, and what happens when descriptors run out."""
import resource
import select
import time

import pytest

from wire import Client, until

CONF = 'metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }'
AGENTS = 1000
LIMIT = 64


@pytest.fixture
def many_descriptors():
    """Room for our side of the connections (and for the server, which inherits the limit)."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thousand_agents_are_connected_at_once(many_descriptors, rasadd, connect):
    server = rasadd(CONF)
    clients = [connect(server) for _ in range(AGENTS)]
    for n, client in enumerate(clients):
        if n % 2:
            client.send({"@hello": {"agent": f"web-{n}", "stream": f"{n:032x}"}})
        client.send({"A_Pressed": "1"})
    for client in clients:
        client.ping()
    scrape = server.scrape()
    assert scrape.value("rasad_agents") == AGENTS
    assert len(scrape.series("A_Pressed_total")) == AGENTS
    assert scrape.total("A_Pressed_total") == AGENTS
    assert scrape.total("rasad_agent_up") == AGENTS / 2
    for client in clients:
        client.close()
    assert server.wait_for("rasad_agents", equals=0).total("A_Pressed_total") == AGENTS


def is_alive(client):
    """Whether the server has not ended the connection."""
    readable, _, _ = select.select([client.socket], [], [], 0)
    if not readable:
        return True
    try:
        return client.socket.recv(1) != b""
    except ConnectionResetError:
        return False


def test_beyond_its_descriptors_it_refuses_and_rests(many_descriptors, rasadd, connect):
    server = rasadd(CONF, wrapper=["prlimit", f"--nofile={LIMIT}:{LIMIT}"])
    first = connect(server)
    first.send({"A_Pressed": "1"}).ping()
    crowd = [connect(server) for _ in range(200)]
    until(lambda: sum(map(is_alive, crowd)) < LIMIT, "those beyond the limit are told so")
    inside = [client for client in crowd if is_alive(client)]
    assert len(inside) > LIMIT // 4
    for client in inside:
        client.send({"A_Pressed": "1"}).ping()

    cpu, begun = server.cpu_seconds(), time.monotonic()
    while time.monotonic() - begun < 1:  # the second over which the server may not be busy
        select.select([first.socket], [], [], 0.25)
    assert server.cpu_seconds() - cpu < 0.2, "it spins"

    for _ in range(5):
        scrape = server.scrape()
    assert scrape.value("rasad_agents") == len(inside) + 1
    assert scrape.total("A_Pressed_total") == len(inside) + 1
    first.send({"A_Pressed": "1"}).ping()

    for client in inside[:10]:
        client.close()
    server.wait_for("rasad_agents", equals=len(inside) - 9)
    newcomers = [Client(server) for _ in range(10)]
    for client in newcomers:
        client.send({"A_Pressed": "1"}).ping()
        client.close()
    assert len(server.lines) < 500, "refusals are logged at a bounded rate"


def test_connections_come_and_go_without_a_trace(rasadd, connect):
    server = rasadd('anonymous_expire = "100ms"\n' + CONF)
    fds = server.scrape().value("process_open_fds")
    rss = None
    for turn in range(1500):
        with Client(server) as client:
            client.send({"A_Pressed": "1"})
            assert client.end() == []
        if turn == 500:
            rss = server.status_kib("VmRSS")
    server.wait_for("rasad_agents", equals=0)
    server.wait_for("rasad_series", metric="A_Pressed", equals=0)
    assert abs(server.scrape().value("process_open_fds") - fds) <= 2
    assert server.status_kib("VmRSS") - rss < 16 * 1024
