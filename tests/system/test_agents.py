# SPDX-License-Identifier: Apache-2.0
"""The main job: agents and strangers' clients push, and each has series of its own."""
import os
import random
import signal
import socket
import urllib.request

import pytest

from harness import free_port, program
from wire import counted, until

CONF = '''
metric "CPU_Utilization" { plugin = "gauge"           help = "Utilization of CPU" }
metric "A_Pressed"       { plugin = "letter_counter"  letters = "aA" }
metric "RTT"             { plugin = "histogram"  name = "rtt_seconds"
                           buckets = { 0.0001, 0.001, 0.01, 0.1, 1 } }
'''
KEYS = ("CPU_Utilization", "A_Pressed_total", "rtt_seconds_count")


def all_there(server, names):
    """A scrape in which each of these agents has all three series, or None."""
    scrape = server.scrape()
    there = all(scrape.get(key, agent=name) for key in KEYS[1:] for name in names)
    return scrape if there and all(
        scrape.get("CPU_Utilization", agent=name) is not None for name in names) else None


def test_agents_started_before_the_server_appear_and_come_back_within_2_s(rasadd, agent):
    port = free_port()
    names = ["web-1", "web-2"]
    agents = [agent(f"127.0.0.1:{port}", name=name, interval="0.1") for name in names]
    for one in agents:
        one.wait_line("(?i)trying to reconnect")
    server = rasadd(CONF, port=port)
    scrape = until(lambda: all_there(server, names), "both agents with all their series")
    assert {labels["agent"] for labels, _ in scrape.series("A_Pressed_total")} == set(names)
    server.restart(signal.SIGINT)
    until(lambda: server.scrape().get("rasad_agents") == 2, "both agents are back", deadline_s=2)
    scrape = until(lambda: all_there(server, names), "both go on sending")
    before = {name: scrape.value("A_Pressed_total", agent=name) for name in names}
    for name in names:
        server.wait_for("A_Pressed_total", agent=name, at_least=before[name] + 1)
        assert server.scrape().value("rasad_agent_up", agent=name) == 1


def test_an_agent_pushes_its_lines_and_ends_once_all_are_acknowledged(rasadd, agent):
    server = rasadd(CONF)
    web = agent(server, name="web-1", lines=['{"A_Pressed": "a"}'] * 10_000)
    web.wait_all_acked()
    assert server.scrape().value("A_Pressed_total", agent="web-1") == 10_000


def test_an_agent_goes_to_its_second_server_when_the_first_is_away(rasadd, agent):
    server = rasadd(CONF)
    agent([f"127.0.0.1:{free_port()}", server], name="web-1", interval="0.1", collectors="letters")
    server.wait_for("A_Pressed_total", agent="web-1", at_least=1)


def test_a_stopped_agent_shows_as_down(rasadd, agent):
    server = rasadd(CONF)
    web = agent(server, name="web-1", interval="0.1")
    server.wait_for("rasad_agent_up", agent="web-1", equals=1)
    assert web.stop() == 0
    server.wait_for("rasad_agent_up", agent="web-1", equals=0)
    server.wait_for("rasad_agents", equals=0)


def test_the_old_header_and_objects_run_together_count_exactly(rasadd, connect):
    server = rasadd(CONF)
    old, plain = connect(server), connect(server)
    for _ in range(10):
        old.send(counted(b'{"A_Pressed": "1"}'))
        plain.send(b'{"A_Pressed": "1"}')
    plain.ping()
    scrape = server.wait_for("A_Pressed_total", agent=old.agent, equals=10)
    assert scrape.value("A_Pressed_total", agent=plain.agent) == 10
    assert scrape.value("rasad_agents") == 2
    old.send(counted(b"!DISCONNECT"))
    assert old.rest() == [], "nothing but pongs is written to unnamed senders"
    plain.send(b"!DISCONNECT")
    assert plain.rest() == []
    scrape = server.wait_for("rasad_agents", equals=0)
    assert scrape.rejected() == {}
    assert scrape.value("A_Pressed_total", agent=old.agent) == 10


def test_a_new_connection_from_the_same_address_goes_on_from_its_value(rasadd, connect):
    server = rasadd(CONF)
    first = connect(server, source_port=random.randrange(20000, 30000))  # where nobody else draws from
    first.send({"A_Pressed": "1"}).ping()
    first.reset()  # so that the address is free at once
    server.wait_for("rasad_agents", equals=0)
    again = connect(server, source_port=first.port)
    again.send({"A_Pressed": "1"}).ping()
    assert server.scrape().value("A_Pressed_total", agent=first.agent) == 2


CUTS = [
    b'{"A_Pressed": "1", "CPU_Utilization": -12.5e-1}',
    '{"A_Pressed": "é€😀a"}'.encode(),
    counted(b'{"A_Pressed": "a"}'),
    b'{"A_Pressed": {"value": 1}}\r\n',
    rb'{"A_Pressed": "\ud83d\ude00a"}',
    b' 42 {"A_Pressed": 1} 7\n',
    b'{"@ping": 1}{"A_Pressed": 1}',
]


@pytest.mark.parametrize("message", CUTS, ids=lambda m: m.decode().strip()[:24])
def test_a_message_may_be_cut_at_every_byte(rasadd, connect, message):
    server = rasadd(CONF)
    client = connect(server)
    for at in range(1, len(message)):
        client.send(message[:at]).drained()
        client.send(message[at:]).drained()
    client.send(b"\n").ping()
    scrape = server.scrape()
    assert scrape.rejected() == {}
    assert scrape.value("A_Pressed_total", agent=client.agent) == len(message) - 1


def test_ten_messages_may_come_in_one_send_and_one_byte_by_byte(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send(b'{"A_Pressed": "1"}' * 5 + b'{"A_Pressed": "1"}\r\n' * 4 + counted(b'{"A_Pressed": 1}'))
    for byte in b'{"A_Pressed": 100}':
        client.send(bytes([byte])).drained()
    client.ping()
    scrape = server.scrape()
    assert scrape.value("A_Pressed_total", agent=client.agent) == 110
    assert scrape.rejected() == {}


def test_what_was_sent_before_sigterm_is_applied(rasadd, connect):
    server = rasadd(CONF)
    clients = [connect(server) for _ in range(8)]
    for client in clients:
        client.send(b'{"A_Pressed": "1", "RTT": 0.5}\n' * 5000)
    for client in clients:
        client.arrived()
    assert server.stop(signal.SIGTERM) == 0
    match = server.wait_line(r"info stopped messages=(\d+) samples=(\d+)$")
    assert (int(match[1]), int(match[2])) == (40_000, 80_000)
    for client in clients:
        assert client.rest() == []


def test_sighup_does_not_end_the_server(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"A_Pressed": 1}).ping()
    server.kill(signal.SIGHUP)
    client.send({"A_Pressed": 1}).ping()
    assert server.wait_for("A_Pressed_total", agent=client.agent, equals=2)
    server.kill(signal.SIGPIPE)
    client.send({"A_Pressed": 1}).ping()


def has_ipv6():
    """Whether this machine has a loopback of the newer kind."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_ipv6_senders_are_told_apart_by_their_bracketed_address(tmp_path, run):
    """And an IPv4 one at the same "::" is shown as what it is."""
    port, web = free_port(), free_port()
    conf = tmp_path / "rasad.conf"
    conf.write_text(f'listen {{ address = "::" port = {port} }}\nhttp {{ port = {web} }}\n{CONF}')
    server = run(program("rasadd"), "-c", conf)
    server.wait_line("serving")
    with socket.create_connection(("::1", port)) as six, \
            socket.create_connection(("127.0.0.1", port)) as four:
        for client in (six, four):
            client.sendall(b'{"A_Pressed": "a"}{"@ping": 1}')
            assert client.recv(100) == b'{"@pong":1}\n'
        text = urllib.request.urlopen(f"http://127.0.0.1:{web}/metrics").read().decode()
        assert f'A_Pressed_total{{agent="[::1]:{six.getsockname()[1]}"}} 1\n' in text
        assert f'A_Pressed_total{{agent="127.0.0.1:{four.getsockname()[1]}"}} 1\n' in text
    agent = run(program("rasad-agent"), "-s", f"localhost:{port}", "-s", f"[::1]:{port}", "-n", "web-6")
    agent.wait_line("info connected")


def test_senders_on_a_unix_socket_are_told_apart_by_process_and_number(tmp_path, run):
    path, web = tmp_path / "in.sock", free_port()
    conf = tmp_path / "rasad.conf"
    conf.write_text(f'listen {{ address = "unix:{path}" }}\nhttp {{ port = {web} }}\n{CONF}')
    server = run(program("rasadd"), "-c", conf)
    server.wait_line("serving")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for client in clients:
        client.connect(str(path))
        client.sendall(b'{"A_Pressed": "a"}{"@ping": 1}')
        assert client.recv(100) == b'{"@pong":1}\n'
    text = urllib.request.urlopen(f"http://127.0.0.1:{web}/metrics").read().decode()
    for number in (1, 2):
        assert f'A_Pressed_total{{agent="unix:{os.getpid()}.{number}"}} 1\n' in text
    for client in clients:
        client.close()
    assert server.stop() == 0
    assert not path.exists()
