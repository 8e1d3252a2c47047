# SPDX-License-Identifier: Apache-2.0
"""What somebody who means harm has tried: each of these once went wrong."""
import http.client
import os
import signal
import socket
import subprocess
import time

import pytest

from harness import program
from wire import Client, chain, counted, until

CONF = 'threads = 4\nmetric "C" { plugin = "counter" }'
STREAM = "0123456789abcdef" * 2


def test_length_headers_in_counted_bytes_are_no_headers(rasadd, connect):
    server = rasadd("max_message = \"4MiB\"\n" + CONF)
    nest = b"{}"
    for _ in range(2000):
        nest = counted(nest)
    client = connect(server)
    client.send(nest).ping()
    assert server.scrape().rejected() == {"bad_json": 1}
    client.send(counted(counted(b'{"C": 1}')), b"\n").ping()
    assert server.scrape().rejected() == {"bad_json": 2}
    assert server.scrape().get("C_total") is None


def test_an_endless_number_costs_no_memory(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"C": 1}).ping()
    before = server.status_kib("VmRSS")
    for _ in range(64):
        client.send(b"1" * (1 << 20))
    client.send(b'\n{"C": 1}').ping()
    assert server.status_kib("VmRSS") - before < 16 << 10
    assert server.scrape().value("C_total", agent=client.agent) == 2


def test_a_ping_beside_a_hello_is_answered_once_whichever_shard_it_goes_to(rasadd, connect):
    server = rasadd(CONF)
    for i in range(12):
        client = connect(server)
        client.send(b'{"@ping": 1, "@hello": {"agent": "web-%d"}}' % i).socket.shutdown(socket.SHUT_WR)
        replies = client.rest()
        assert [r for r in replies if "@pong" in r] == [{"@pong": 1}], replies
        assert len(replies) == 2


def test_the_number_of_agents_stays_right_when_one_takes_a_strangers_address_for_its_name(
        rasadd, connect):
    server = rasadd(CONF)
    for _ in range(5):
        stranger, named = connect(server), connect(server)
        named.hello(stranger.agent)
        named.ping()
        stranger.send({"C": 1}).ping()
        assert server.scrape().value("rasad_agents") == 1
        named.end()
        stranger.end()
        server.wait_for("rasad_agents", equals=0)


def test_a_named_agent_that_sent_nothing_is_still_known_when_it_is_gone(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1")
    client.end()
    server.wait_for("rasad_agent_up", agent="web-1", equals=0)
    later = time.monotonic() + 1.2  # two sweeps, of which one would have taken it
    until(lambda: time.monotonic() > later, "it is later")
    assert server.scrape().value("rasad_agent_up", agent="web-1") == 0


def test_the_chain_counts_a_refused_header_as_the_bytes_behind_it(rasadd, connect):
    server = rasadd('max_message = "1KiB"\n' + CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    body = b"{" * 2000
    header = counted(body)[:64]
    client.send(header + body[:1000]).drained()
    client.send(body[1000:], b'{"C": 1}').wait_ack(2)
    assert client.hello("web-1", STREAM)["chain"] == chain([body, b'{"C": 1}'])
    client.send(b"0".ljust(64)).wait_ack(3)
    assert client.hello("web-1", STREAM)["chain"] == chain([body, b'{"C": 1}', b""])


def test_a_hello_without_chain_is_no_fork(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send(b'{"C": 1}').wait_ack(1)
    client.end()
    again = connect(server)
    assert again.hello("web-1", STREAM, first=2)["applied"] == 1
    assert server.scrape().value("rasad_agent_forks_total", agent="web-1") == 0


@pytest.mark.parametrize("value", [b"12345678901234567890", b"-0", b'"a\\u0000b"',
                                   b'{"a\\u0000":1,"b":1e1}', b"null"], ids=repr)
def test_a_pong_is_the_ping_as_it_was_written(rasadd, connect, value):
    client = connect(rasadd(CONF))
    client.send(b'{"@ping": ' + value + b" }")
    assert client.read_line() == b'{"@pong":' + value + b"}"


def test_a_ping_whose_name_is_written_with_an_escape_is_a_ping(rasadd, connect):
    client = connect(rasadd(CONF))
    client.send(b'{"\\u0040ping": [1, "a/b"]}')
    assert client.read_line() == b'{"@pong":[1,"a/b"]}'


def test_a_path_with_a_nul_is_no_other_path(rasadd):
    server = rasadd(CONF)
    assert server.request("/metrics%00x")[0].status == 404
    assert server.request("/%00")[0].status == 404


def test_web_on_a_unix_socket_leaves_nothing_behind(tmp_path):
    path = tmp_path / "web.sock"
    conf = tmp_path / "rasad.conf"
    conf.write_text(f'listen {{ port = 0 }}\nhttp {{ address = "unix:{path}" }}\n{CONF}\n')
    server = subprocess.Popen([program("rasadd"), "-c", conf], stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if line.startswith("info serving"):
                break
        assert line == f"info serving address=unix:{path}\n"
        web = http.client.HTTPConnection("localhost")
        web.sock = socket.socket(socket.AF_UNIX)
        web.sock.connect(str(path))
        web.request("GET", "/-/healthy")
        assert web.getresponse().status == 200
        web.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        assert server.wait(20) == 0
        server.stderr.close()
    assert not path.exists()


def test_a_log_that_nobody_reads_stops_nobody(tmp_path):
    """Standard error is a pipe that is read up to the ports, and then never again."""
    conf = tmp_path / "rasad.conf"
    conf.write_text(f"listen {{ port = 0 }}\nhttp {{ port = 0 }}\n{CONF}\n")
    server = subprocess.Popen([program("rasadd"), "-v", "-c", conf], stderr=subprocess.PIPE)
    try:
        head = b""
        while b"serving" not in head or not head.endswith(b"\n"):
            head += os.read(server.stderr.fileno(), 4096)

        class Where:
            port = int(head.split(b"listening address=127.0.0.1:")[1].split()[0])
        with Client(Where) as first:
            for _ in range(700):
                with Client(Where) as client:
                    client.send({"C": 1})
            for _ in range(100):
                first.send({"C": "x" * 200}, {"C": 1}).ping()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        server.stderr.close()


def test_when_the_spare_descriptor_is_gone_too_it_still_rests(rasadd, connect):
    server = rasadd(CONF, wrapper=["prlimit", "--nofile=48:48"])
    crowd = [connect(server) for _ in range(60)]
    for _ in range(20):  # scrapes need descriptors of their own, beside the crowd's
        try:
            server.request("/-/healthy")
        except OSError:
            pass
    before = server.cpu_seconds()
    held = connect(server)
    held.socket.settimeout(1)
    try:
        while held.socket.recv(100):
            pass
    except OSError:
        pass
    assert server.cpu_seconds() - before < 0.5, "it spins"
    for client in crowd:
        client.close()

    def gets_in():
        with Client(server) as late:
            late.send({"@ping": 1})
            return late.read() == {"@pong": 1}
    until(gets_in, "there is room again")
