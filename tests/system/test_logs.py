# SPDX-License-Identifier: Apache-2.0
"""The log in both its looks, and that nobody outside can forge a line of it."""
import os
import re
import subprocess

import pytest

from harness import program
from wire import Client

CONF = 'metric "C" { plugin = "counter"  labels = { "path" } }'
PLAIN = {"NO_COLOR": "1"}
# ESC, CSI as one character, a line feed, a bell, a right-to-left override and a line separator.
EVIL = "\x1b[2J\x9b2J\ninfo forged\r[FORGED]\x07\u202e\u2028\u2066\x7f"
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def start_on_terminal(rasadd, **options):
    server = rasadd(CONF, terminal=True, **options)
    server.port = int(server.wait_line(r"\[LISTENING\]\S* 127\.0\.0\.1:(\d+)")[1])
    return server


def test_on_a_terminal_it_speaks_as_the_original_did(rasadd, connect):
    server = start_on_terminal(rasadd, environment=PLAIN)
    clients = [connect(server), connect(server)]
    for client in clients:
        server.wait_line(rf"^\[NEW CONNECTION\] 127\.0\.0\.1:{client.port}$")
    server.wait_line(r"^\[ACTIVE CONNECTIONS\] 2$")
    clients[0].close()
    after = len(server.lines)
    server.wait_line(r"^\[ACTIVE CONNECTIONS\] 1$", after=max(0, after - 1))
    lines = server.lines
    assert re.match(r"\[STARTING\]", lines[0])
    assert f"[LISTENING] 127.0.0.1:{server.port}" in lines
    assert "\x1b" not in server.log


def test_a_terminal_gets_no_control_codes_from_us(rasadd):
    server = start_on_terminal(rasadd)
    server.wait_line(r"^\[LISTENING\] ")
    assert "\x1b" not in server.log


def test_elsewhere_it_writes_level_message_and_pairs(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    server.wait_line(rf"^info new connection address=127\.0\.0\.1:{client.port}$")
    server.wait_line(r"^info active connections count=1$")
    assert server.stop() == 0
    assert server.lines[0].startswith("info starting")
    for line in server.lines:
        assert re.match(r"(info|warning|error) [a-z]", line)
    assert "\x1b" not in server.log


def test_with_v_each_message_is_shown(rasadd, connect):
    server = rasadd(CONF, arguments=["-v"])
    client = connect(server)
    client.send(b'{"C": 17}{"C":18}').ping()
    for text in ('"C\\": 17', '"C\\":18'):
        line = server.wait_line(re.escape(text)).string
        assert client.agent in line


def test_without_v_messages_are_not_shown(rasadd, connect):
    server = rasadd(CONF)
    connect(server).send({"C": 17}).ping()
    assert server.stop() == 0
    assert "17}" not in server.log


def send_evil(connect, server):
    """Everything of a sender's that may reach the log: keys, labels, text, names, rubbish."""
    client = connect(server)
    client.send({EVIL: 1}, {"C": EVIL}, {"C": {"value": 1, "labels": {EVIL: "x"}}},
                {"C": {"value": 1, "labels": {"path": EVIL}}}, {"C": {EVIL: 1}},
                b'\x1b[2J{"C": 1\n', b'{"C": "\xff\x1b"}\n', EVIL.encode() + b"\n").ping()
    for name in ("evil\u202e\u2066name", 'evil" agent="x', "evil info forged"):
        named = connect(server)
        named.hello(name, "0" * 32)
        named.send({"Nobody": 1}).wait_ack(1)
    refused = connect(server)
    refused.send({"@hello": {"agent": EVIL}})
    refused.rest()
    client.ping()


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
def test_no_sender_can_forge_a_line_or_steer_a_terminal(rasadd, connect, terminal):
    options = {"arguments": ["-v"], "environment": PLAIN}
    server = start_on_terminal(rasadd, **options) if terminal else rasadd(CONF, **options)
    send_evil(connect, server)
    server.wait_line("evil")
    assert server.stop() == 0
    for line in server.lines:
        assert not FORBIDDEN.search(line), repr(line)
        assert not re.match(r"info forged|\[FORGED\]|forged", line), repr(line)
        assert re.match(r"\[[A-Z ]+\]" if terminal else "(info|warning|error) ", line), repr(line)


def test_a_refused_message_has_no_key(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send(b"rubbish\n").ping()
    line = server.wait_line("bad_json").string
    assert "key=" not in line and client.agent in line and "rubbish" in line


def test_an_agent_says_that_it_tries_to_reconnect_once_a_try(rasadd, agent):
    web = agent("127.0.0.1:1", name="web-1")
    for tries in range(1, 4):
        lines = [line for line in web.lines if "econnect" in line]
        web.wait_line("(?i)trying to reconnect", after=len(lines) and web.lines.index(lines[-1]) + 1)
        assert tries


def test_flags_answer_as_documented():
    for name in ("rasadd", "rasad-agent"):
        def run(*flags):
            return subprocess.run([program(name), *flags], capture_output=True, text=True,
                                  timeout=20, env=os.environ, check=False)
        version, help_, wrong = run("-V"), run("-h"), run("--no-such-flag")
        assert version.returncode == 0 and re.search(r"\d+\.\d+", version.stdout)
        assert help_.returncode == 0 and "-c" in help_.stdout
        assert wrong.returncode == 64 and wrong.stderr


def test_a_port_in_use_is_said_and_ends_the_server_with_1(rasadd, tmp_path):
    server = rasadd(CONF)
    conf = tmp_path / "second.conf"
    conf.write_text(f'listen {{ address = "127.0.0.1"  port = {server.port} }}\n'
                    'http { address = "127.0.0.1"  port = 0 }\nstate_dir = ""\n'
                    f'admin_socket = "{tmp_path}/s.sock"\n' + CONF)
    second = subprocess.run([program("rasadd"), "-c", conf], capture_output=True, text=True,
                            timeout=20, check=False)
    assert second.returncode == 1
    assert str(server.port) in second.stderr and "in use" in second.stderr
    Client(server).close()


def test_what_is_closed_at_the_start_is_nothing_else_later(rasadd):
    server = rasadd(wrapper=("sh", "-c", 'exec "$0" "$@" <&- >&-'))
    assert [os.readlink(f"/proc/{server.pid}/fd/{fd}") for fd in (0, 1)] == ["/dev/null"] * 2
