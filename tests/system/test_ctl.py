# SPDX-License-Identifier: Apache-2.0
"""rasadctl and the admin socket: every verb on a pipe and on a terminal, every exit code, and what
clients do that are slow, hostile, too many, or there when the server stops."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading

import pytest

from harness import built_with, program
from wire import DEADLINE_S, until

CONF = """
metric "cpu" { plugin = "gauge"  name = "cpu_usage_ratio"  help = "Use of CPU" }
metric "hits" { plugin = "counter"  labels = { "path" } }
metric "rtt" { plugin = "histogram"  name = "rtt_seconds"  buckets = { 1, 2, 5 } }
metric "req_*" { plugin = "counter" }
"""
TABLES = ("plugins", "metrics", "agents", "series")
EVIL = "evil\u202e\u2066\u200b name"  # what a hello lets through, and a terminal should not
SLOW = 5 if built_with("address") or built_with("thread") else 1


def socket_of(server):
    return f"{server.folder}/rasad.sock"


def command_of(server, *arguments):
    return [program("rasadctl"), "-S", socket_of(server), *arguments]


def ctl(server, *arguments, stdin=b"", status=0):
    """Runs rasadctl to its end; returns what it printed."""
    done = subprocess.run(command_of(server, *arguments), input=stdin, capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    assert (done.stderr == b"") == (status in (0, 65)) or "-n" in arguments, done.stderr
    return done.stdout.decode() if status in (0, 65) else done.stderr.decode()


def ask(server, *arguments, **options):
    return json.loads(ctl(server, *arguments, "--json", **options))


def send_some(connect, server, agent="web-1"):
    """A named agent that stays, with a series of each kind."""
    client = connect(server)
    client.hello(agent)
    client.send({"cpu": 0.25}, {"hits": {"add": 3, "labels": {"path": "/a"}}}, {"rtt": [1, 4]},
                {"cpu": "fast"}).ping()
    return client


class Admin:
    """A connection to the admin socket as a stranger would write it."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(socket_of(server))
        self.file = self.socket.makefile("rb")

    def ask(self, request):
        self.socket.sendall(request if isinstance(request, bytes) else
                            json.dumps(request).encode() + b"\n")
        return self.read()

    def read(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def admin():
    opened = []

    def start(server):
        opened.append(Admin(server))
        return opened[-1]
    yield start
    for one in opened:
        one.close()


class Tail:
    """A running rasadctl whose lines are read as they come."""

    def __init__(self, server, *arguments):
        self.popen = subprocess.Popen(command_of(server, *arguments), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)

    def wait(self):
        """The exit code and what it said on standard error."""
        _, said = self.popen.communicate(timeout=60)
        return self.popen.returncode, said.decode()


@pytest.fixture
def background():
    opened = []

    def start(server, *arguments):
        opened.append(Tail(server, *arguments))
        return opened[-1]
    yield start
    for one in opened:
        one.popen.kill()
        one.popen.communicate()


def wait_watchers(server, count):
    until(lambda: ask(server, "status")["watchers"] == count, f"{count} watch")


# ---- What is shown ------------------------------------------------------------------------------

def test_status_tells_how_the_server_does(rasadd, connect):
    server = rasadd(CONF)
    client = send_some(connect, server)
    data = ask(server, "status")
    assert data["pid"] == server.pid
    assert (data["agents"], data["connections"], data["watchers"]) == (1, 1, 0)
    assert (data["messages"], data["samples"], data["refused"]) == (6, 4, 1)  # hello and ping too
    assert (data["plugins"], data["metrics"], data["series"]) == (3, 3, 3)
    assert data["conf"] == str(server.folder / "rasad.conf")
    assert data["last_reload_successful"] is True
    assert data["memory_bytes"] > 1 << 20
    text = ctl(server, "status")
    assert text.startswith(f"rasadd {data['version']} (ABI 1)  pid {server.pid}  up ")
    assert "intake   messages 6  samples 4  refused 1\n" in text
    client.close()
    until(lambda: ask(server, "status")["agents"] == 0, "the agent is gone")


def test_the_tables_show_what_is_there(rasadd, connect):
    server = rasadd(CONF)
    send_some(connect, server)
    plugins = {row["plugin"]: row for row in ask(server, "plugins")}
    assert set(plugins) == {"gauge", "counter", "histogram"}
    assert plugins["counter"]["metrics"] == 1 and plugins["gauge"]["refused"] == 1
    assert plugins["gauge"]["file"].endswith("/gauge.so") and plugins["gauge"]["abi"] == 1
    metrics = {row["metric"]: row for row in ask(server, "metrics")}
    assert metrics["rtt_seconds"]["key"] == "rtt" and metrics["rtt_seconds"]["samples"] == 2
    assert metrics["cpu_usage_ratio"]["help"] == "Use of CPU"
    assert metrics["cpu_usage_ratio"]["line"] > 0
    [agent] = ask(server, "agents")
    assert (agent["agent"], agent["state"], agent["messages"], agent["refused"]) == \
        ("web-1", "live", 4, 1)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", agent["address"])
    assert 0 <= agent["seen_seconds_ago"] < 60 and 0 <= agent["connected_seconds"] < 60


def test_the_tables_line_up(rasadd, connect):
    server = rasadd(CONF)
    send_some(connect, server, "web-1")
    send_some(connect, server, "a-much-longer-name-日本")
    for verb in TABLES:
        titles, *rows = ctl(server, verb).splitlines()
        assert titles == titles.upper() and len(rows) >= 2
        assert all(row == row.rstrip() for row in rows)
    titles, *rows = ctl(server, "agents").splitlines()
    # a wide character takes two cells, so the line with two of them has two characters less
    start = titles.index("ADDRESS")
    assert rows[0][start - 2 - 2:start - 2].isspace() and rows[0][start - 2:].startswith("127.")
    assert rows[1][start - 2:start].isspace() and rows[1][start:].startswith("127.")


def test_series_shows_values_of_every_kind(rasadd, connect):
    server = rasadd(CONF)
    send_some(connect, server)
    series = {row["series"]: row for row in ask(server, "series")}
    assert series["cpu_usage_ratio"]["value"] == 0.25
    assert series["cpu_usage_ratio"]["agent"] == "web-1"
    hits = series['hits_total{path="/a"}']
    assert hits["value"] == 3 and hits["labels"] == {"agent": "web-1", "path": "/a"}
    rtt = series["rtt_seconds"]
    assert (rtt["count"], rtt["sum"]) == (2, 5)
    assert rtt["buckets"][:3] == [[1, 1], [2, 1], [5, 2]]
    assert 0 <= rtt["age_seconds"] < 60
    text = ctl(server, "series")
    assert re.search(r'^hits_total\{path="/a"\}  web-1  counter +3 +- +- +\d', text, re.M)
    assert re.search(r"^rtt_seconds +web-1  histogram +- +2 +5 +\d", text, re.M)


@pytest.mark.parametrize("selector, agent, expected", [
    ("*", None, 6), ("cpu*", None, 2), ("hits", None, 2), ("hits_total", None, 2),
    ('hits{path="/a"}', None, 2), ('hits{path="/b"}', None, 0), ('{path=""}', None, 4),
    ('{agent="web-2"}', None, 3), (None, "web-2", 3), ("cpu*", "web-2", 1), (None, "web", 0),
    ("nothing", None, 0),
])
def test_series_selects(rasadd, connect, selector, agent, expected):
    server = rasadd(CONF)
    for name in ("web-1", "web-2"):
        send_some(connect, server, name)
    arguments = ([selector] if selector else []) + (["--agent", agent] if agent else [])
    assert len(ask(server, "series", *arguments)) == expected


def test_series_merges_what_shards_share(rasadd, connect):
    server = rasadd('threads = 3\nagent_label = ""\n' + CONF)
    for _ in range(12):
        connect(server).send({"hits": 1}).ping()
    [row] = ask(server, "series", "hits")
    assert row["value"] == 12 and row["agent"] is None and row["labels"] == {}
    # and one that nobody has sent, and that has no labels, is there from the start
    [row] = ask(server, "series", "rtt_seconds")
    assert row["count"] == 0 and "age_seconds" not in row


def test_hostile_names_steer_no_terminal(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello(EVIL)
    client.send({"cpu": 1}, {"hits": {"value": 1, "labels": {"path": "\x1b[2J\x9b\n"}}}).ping()
    forbidden = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
    for verb in ("agents", "series", "status"):
        for arguments in ((verb,), (verb, "--json")):
            assert not forbidden.search(ctl(server, *arguments)), arguments
    assert "evil\\u{202e}\\u{2066}\\u{200b} name" in ctl(server, "agents")
    [agent] = ask(server, "agents")
    assert agent["agent"] == EVIL
    assert {"\x1b[2J\x9b\n"} == {row["labels"]["path"] for row in ask(server, "series", "hits")}
    text = ctl(server, "series", "--agent", EVIL)
    assert len(text.splitlines()) == 3


# ---- On a terminal ------------------------------------------------------------------------------

class Terminal:
    """rasadctl on a pseudo terminal."""

    def __init__(self, server, *arguments, rows=24, columns=80):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.popen = subprocess.Popen(command_of(server, *arguments), stdin=slave, stdout=slave,
                                      stderr=slave, start_new_session=True,
                                      env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"})
        self.slave, self.text = slave, ""

    def wait_for(self, pattern):
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], DEADLINE_S)
            assert ready, f"never showed {pattern!r} but {self.text!r}"
            self.text += os.read(self.master, 65536).decode()
        return self.text

    def end(self):
        """The exit code, with all that was shown."""
        code = self.popen.wait(DEADLINE_S)
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode()
        os.close(self.slave)
        os.close(self.master)
        return code


@pytest.mark.parametrize("verb", ("status",) + TABLES + ("plan",))
def test_a_verb_says_the_same_on_a_terminal(rasadd, connect, verb):
    server = rasadd(CONF)
    send_some(connect, server)
    terminal = Terminal(server, verb)
    assert terminal.end() == 0
    masked = [re.sub(r"\b\d+(\.\d+)?(s| MiB)", "#", text).split()
              for text in (terminal.text.replace("\r\n", "\n"), ctl(server, verb))]
    assert masked[0] == masked[1]
    assert "\x1b" not in terminal.text


def test_top_draws_in_place_until_q(rasadd, connect):
    server = rasadd(CONF)
    client = send_some(connect, server, "x" * 200)
    terminal = Terminal(server, "top", rows=4, columns=40)
    terminal.wait_for(r"\x1b\[H1 agents  [\d.]+ messages/s")
    client.send({"cpu": 1}).ping()
    assert termios.tcgetattr(terminal.slave)[3] & termios.ECHO == 0
    os.write(terminal.master, b"q")
    terminal.popen.wait(DEADLINE_S)
    assert termios.tcgetattr(terminal.slave)[3] & termios.ECHO != 0, "the terminal is not put back"
    assert terminal.end() == 0
    for screen in terminal.text.split("\x1b[H")[1:]:
        lines = [line.replace("\x1b[K", "").replace("\x1b[J", "").rstrip("\r")
                 for line in screen.split("\n")]
        assert len(lines) <= 4 and all(len(line) <= 40 for line in lines), lines


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_top_puts_the_terminal_back_on_a_signal(rasadd, number):
    server = rasadd(CONF)
    terminal = Terminal(server, "top")
    terminal.wait_for(r"\x1b\[H0 agents")
    terminal.popen.send_signal(number)
    terminal.popen.wait(DEADLINE_S)
    assert termios.tcgetattr(terminal.slave)[3] & termios.ICANON != 0
    assert terminal.end() == 0


def test_top_on_a_pipe_prints_batches(rasadd, connect):
    server = rasadd(CONF)
    client = send_some(connect, server)
    stop = threading.Event()

    def pump():
        while not stop.is_set():
            client.send({"cpu": 1}).ping()

    pumping = threading.Thread(target=pump)
    pumping.start()
    try:
        text = ctl(server, "top", "-n", "2")
        batches = ctl(server, "top", "-n", "1", "--json")
    finally:
        stop.set()
        pumping.join()
    assert "\x1b" not in text and len(re.findall(r"^AGENT +ADDRESS +MSG/S", text, re.M)) == 2
    assert len(re.findall(r"^web-1 +127\.0\.0\.1:\d+ +[1-9][\d.]* ", text, re.M)) == 2
    [row] = json.loads(batches)
    assert row["agent"] == "web-1" and row["message_rate"] > 0 and row["refused_rate"] == 0


# ---- send ---------------------------------------------------------------------------------------

def test_send_tells_what_became_of_a_sample(rasadd):
    server = rasadd(CONF)
    assert ctl(server, "send", "cpu", "0.42", "--agent", "me") == \
        'accepted  cpu_usage_ratio{agent="me"} = 0.42\n'
    assert ctl(server, "send", "--agent", "me", "cpu", "-5") == \
        'accepted  cpu_usage_ratio{agent="me"} = -5\n'
    assert ctl(server, "send", "hits", "2", "--label", "path=/x=y", "--agent", 'm"e') == \
        'accepted  hits_total{agent="m\\"e",path="/x=y"} = 2\n'
    assert ctl(server, "send", "rtt", "4", "--agent", "me") == \
        'accepted  rtt_seconds{agent="me"} = 1 (sum 4)\n'
    assert re.fullmatch(r'accepted  req_x_total\{agent="rasadctl:\d+"\} = 1\n',
                        ctl(server, "send", "req_x", "1"))
    scrape = server.scrape()
    assert scrape.value("cpu_usage_ratio", agent="me") == -5
    assert scrape.value("hits_total", agent='m"e', path="/x=y") == 2


def test_send_exits_with_65_if_one_was_refused(rasadd):
    server = rasadd(CONF)
    assert ctl(server, "send", "cpu", "fast", status=65) == \
        'refused   bad_value  cpu: wants a number, got "fast"\n'
    assert "unknown_key  nope: " in ctl(server, "send", "nope", "1", status=65)
    assert "bad_label  cpu: " in ctl(server, "send", "cpu", "1", "--label", "a=b", status=65)
    assert server.scrape().rejected() == {"bad_value": 1, "unknown_key": 1, "bad_label": 1}


def test_send_takes_json_lines(rasadd):
    server = rasadd(CONF)
    lines = (b'{"cpu": 1, "hits": [1, 2, "x"]}\n rubbish\n{"cpu":\n 2}\n{"rtt": 1}{"rtt": 2}'
             b'{"nokey": 1}\n{"hits": {"add"')
    assert ctl(server, "send", "--agent", "me", stdin=lines, status=65).splitlines() == [
        'accepted  cpu_usage_ratio{agent="me"} = 1',
        'accepted  hits_total{agent="me"} = 1',
        'accepted  hits_total{agent="me"} = 3',
        'refused   bad_value  hits: wants a number, got "x"',
        'refused   bad_json  rubbish',
        'accepted  cpu_usage_ratio{agent="me"} = 2',
        'accepted  rtt_seconds{agent="me"} = 1 (sum 1)',
        'accepted  rtt_seconds{agent="me"} = 2 (sum 3)',
        'refused   unknown_key  nokey: no metric takes this key (add one to the conf)',
        'refused   truncated  {"hits": {"add"',
    ]
    assert ctl(server, "send", stdin=b"") == ""
    assert ctl(server, "send", stdin=b"rubbish", status=65).startswith("refused   ")
    assert ctl(server, "send", "--agent", "me", stdin=b'{"cpu": 7}\n!DISCONNECT\n{"cpu": 8}') == \
        'accepted  cpu_usage_ratio{agent="me"} = 7\n'


def test_send_is_not_misled_by_pings_of_its_input(rasadd):
    pings = b"".join(b'{"@ping":%d}\n' % number for number in range(50))
    out = ctl(rasadd(CONF), "send", stdin=pings + b'{"hits":1}\n{"hits":-1}\n', status=65)
    assert [line.split()[0] for line in out.splitlines()] == ["accepted", "refused"]


@pytest.mark.parametrize("threads", (1, 3))
def test_send_is_exact(rasadd, threads):
    """Every verdict of many samples, in their order, while others send as well."""
    server = rasadd(f"threads = {threads}\n" + CONF)
    count = 20_000 // SLOW
    lines = b"".join(b'{"hits": 1}\n' for _ in range(count))
    senders = [subprocess.Popen(command_of(server, "send", "--agent", f"me-{i}"),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i in range(3)]
    said = [None] * len(senders)

    def feed(i):
        said[i], _ = senders[i].communicate(lines, timeout=120)

    feeders = [threading.Thread(target=feed, args=(i,)) for i in range(len(senders))]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    for i, output in enumerate(said):
        assert senders[i].returncode == 0
        assert output.decode().splitlines() == [
            f'accepted  hits_total{{agent="me-{i}"}} = {n}' for n in range(1, count + 1)]
    assert server.scrape().total("hits_total") == 3 * count


def test_send_counts_what_one_message_has_too_many_of(rasadd):
    server = rasadd(CONF)
    count = 100_000
    message = json.dumps({"hits": [1] * count + ["x"] * 10}).encode()
    *shown, rest = ctl(server, "send", "--agent", "me", stdin=message, status=65).splitlines()
    more = re.fullmatch(r"\((\d+) accepted and (\d+) refused that are not shown\)", rest)
    assert len(shown) + int(more[1]) == count and int(more[2]) == 10
    assert server.scrape().value("hits_total", agent="me") == count


def test_send_says_json_for_programs(rasadd):
    server = rasadd(CONF)
    lines = [json.loads(line) for line in ctl(
        server, "send", "--json", "--agent", "me", stdin=b'{"cpu": 1, "nokey": 2}', status=65
    ).splitlines()]
    assert [(line["verdict"], line["key"], line["sample"]) for line in lines] == \
        [("accepted", "cpu", "1"), ("refused", "nokey", "2")]
    assert lines[0]["value"] == 1 and lines[1]["reason"] == "unknown_key"


def test_send_leaves_nothing_behind(rasadd):
    server = rasadd(CONF)
    for _ in range(40):
        ctl(server, "send", "cpu", "1", "--agent", "me")
    until(lambda: ask(server, "status")["connections"] == 0, "the connections are closed")
    assert server.scrape().value("rasad_agents") == 0


# ---- tail ---------------------------------------------------------------------------------------

def test_tail_shows_verdicts(rasadd, connect, background):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1")
    tail = background(server, "tail", "-n", "4")
    wait_watchers(server, 1)
    client.send({"cpu": 0.5}, {"hits": {"add": 2, "labels": {"path": "/"}}}, {"cpu": "high"},
                b'rubb\x1bish\n', {"cpu": 1})
    lines = [tail.popen.stdout.readline().decode() for _ in range(4)]
    stamp = r"\d\d:\d\d:\d\d\.\d\d\d  web-1 {7}  "
    for line, rest in zip(lines, (
            r'accepted  cpu: 0\.5  cpu_usage_ratio\{agent="web-1"\} = 0\.5',
            r'accepted  hits: \{"add":2,"labels":\{"path":"/"\}\}  '
            r'hits_total\{agent="web-1",path="/"\} = 2',
            r'refused   bad_value  cpu: "high"  wants a number, got "high"',
            r"refused   bad_json  rubb\\x1bish")):
        assert re.fullmatch(stamp + rest + "\n", line), line
    assert tail.wait() == (0, "(4 shown, 0 skipped)\n")
    wait_watchers(server, 0)


def test_tail_filters(rasadd, connect, background):
    server = rasadd(CONF)
    clients = {name: connect(server) for name in ("web-1", "web-2")}
    for name, client in clients.items():
        client.hello(name)
    filters = {"--agent=web-2": 3, "--key=c*": 4, "--rejected": 2, "--key=none": 0}
    tails = {word: background(server, "tail", "--json", word) for word in filters}
    wait_watchers(server, len(filters))
    for client in clients.values():
        client.send({"cpu": 1, "hits": 1}, {"cpu": "x"}).ping()
    for word, count in filters.items():
        lines = [json.loads(tails[word].popen.stdout.readline()) for _ in range(count)]
        for line in lines:
            assert word != "--agent=web-2" or line["agent"] == "web-2"
            assert word != "--key=c*" or line["key"] == "cpu"
            assert word != "--rejected" or line["verdict"] == "refused"
    assert server.stop() == 0
    for tail in tails.values():
        assert tail.popen.stdout.read() == b"", "more than was asked for"


def test_tail_sees_unnamed_senders_by_their_address(rasadd, connect, background):
    server = rasadd(CONF)
    client = connect(server)
    tail = background(server, "tail", "--json", "-n", "1", "--agent", client.agent)
    wait_watchers(server, 1)
    client.send({"cpu": 1}).ping()
    assert json.loads(tail.popen.stdout.readline())["agent"] == client.agent


def test_a_slow_reader_is_told_what_he_missed(rasadd, connect, admin):
    """Who doesn't read costs bounded memory, holds nobody up, and every sample is accounted for."""
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1")
    slow = admin(server)
    assert slow.ask({"verb": "tail", "key": "hits"}) == {"ok": True}
    count, before = 50_000 // SLOW, server.status_kib("VmRSS")
    for _ in range(count // 1000):
        client.send(b'{"hits":1}' * 1000).ping()
    if SLOW == 1:  # a sanitizer keeps what was freed
        assert server.status_kib("VmRSS") - before < 16 << 10
    assert server.scrape().value("hits_total", agent="web-1") == count
    seen, skipped, last = 0, 0, 0
    while seen + skipped < count:
        line = slow.read()
        skipped += line.get("skipped", 0)
        if "skipped" not in line:
            seen += 1
            assert line["value"] == last + 1 or line["value"] == seen + skipped
            last = line["value"]
    assert seen > 100 and skipped > 0 and seen + skipped == count
    client.send({"hits": 1}).ping()
    assert slow.read()["value"] == count + 1


def test_tail_ends_when_nobody_reads_it(rasadd, connect, background):
    server = rasadd(CONF)
    client = connect(server)
    tail = background(server, "tail")
    wait_watchers(server, 1)
    client.send({"cpu": 1}).ping()
    assert tail.popen.stdout.readline()
    tail.popen.stdout.close()  # as `rasadctl tail | head -1` does, and nothing more is sent
    assert tail.popen.wait(DEADLINE_S) == 0
    assert tail.popen.stderr.read() == b""
    wait_watchers(server, 0)


def test_tail_under_load_loses_no_count(rasadd, connect, background):
    server = rasadd("threads = 2\n" + CONF)
    watching = [background(server, "tail", "--json", "--rejected") for _ in range(3)]
    wait_watchers(server, 3)
    per_client, clients = 5_000 // SLOW, [connect(server) for _ in range(4)]

    def pump(client):
        for _ in range(per_client // 100):
            client.send(b'{"hits":1,"cpu":"x"}' * 100).ping()

    pumps = [threading.Thread(target=pump, args=(client,)) for client in clients]
    for thread in pumps:
        thread.start()
    totals = []
    for tail in watching:
        total = 0
        while total < per_client * len(clients):
            line = json.loads(tail.popen.stdout.readline())
            total += line.get("skipped", 1)
        totals.append(total)
    for thread in pumps:
        thread.join()
    assert totals == [per_client * len(clients)] * 3
    assert server.scrape().total("hits_total") == per_client * len(clients)


# ---- plan and reload ----------------------------------------------------------------------------

def test_plan_tells_and_reload_does(rasadd, connect):
    server = rasadd(CONF)
    send_some(connect, server)
    server.conf = CONF.replace("1, 2, 5", "1, 2") + 'metric "new" { plugin = "gauge" }\n'
    server.conf = server.conf.replace('metric "req_*" { plugin = "counter" }', "")
    server.write_conf()
    expected = {"cpu": "kept", "hits": "kept", "rtt": "restarted", "new": "added",
                "req_*": "removed"}
    planned = ask(server, "plan")
    assert {row["metric"]: row["action"] for row in planned} == expected
    assert {row["metric"] for row in ask(server, "metrics")} == \
        {"cpu_usage_ratio", "hits", "rtt_seconds"}, "a plan does nothing"
    table = ctl(server, "reload")
    assert table.startswith("METRIC  ACTION")
    assert re.search(r"^rtt +restarted +\S", table, re.M)
    assert "new" in {row["metric"] for row in ask(server, "metrics")}
    assert ask(server, "status")["reloads"] == 1
    server.wait_line(rf"info reload asked for uid={os.getuid()} pid=\d+")


def test_plan_takes_another_file(rasadd, tmp_path, monkeypatch):
    server = rasadd(CONF)
    text = (server.folder / "rasad.conf").read_text()
    (tmp_path / "other.conf").write_text(text + 'metric "more" { plugin = "gauge" }\n')
    monkeypatch.chdir(tmp_path)
    rows = ask(server, "plan", "other.conf")
    assert {"metric": "more", "action": "added", "detail": None} in rows


def test_a_broken_conf_is_reported_as_by_rasadd_t(rasadd):
    server = rasadd(CONF)
    server.conf = CONF + 'metric "x" { plugin = "guage" }\nmetric "y" { plugin = "gauge" bad = 1 }'
    path = server.write_conf()
    tested = subprocess.run([program("rasadd"), "-t", "-c", path], capture_output=True, text=True,
                            check=False)
    assert tested.returncode == 78 and len(tested.stderr.splitlines()) == 2
    for verb in ("plan", "reload"):
        assert ctl(server, verb, status=78) == tested.stderr
    assert ask(server, "status")["failed_reloads"] == 1
    assert ask(server, "status")["last_reload_successful"] is False
    assert "the last reload was refused" in ctl(server, "status")


# ---- Exit codes, and what is wrong on the way ---------------------------------------------------

@pytest.mark.parametrize("arguments", [
    (), ("nonsense",), ("status", "extra"), ("status", "--nonsense"), ("status", "-n", "3"),
    ("series", "a", "b"), ("series", "a{"), ("top", "-n", "0"), ("top", "-n", "x"),
    ("tail", "-n"), ("tail", "--agent"), ("send", "key"), ("send", "--label", "a=b"),
    ("send", "k", "1", "--label", "a"), ("send", "@hello", "1"), ("send", "k", "1", "2"),
    ("send", "cpu", "1", "--agent", "x" * 256), ("send", "cpu", "1", "--agent", "a\nb"),
    ("plan", "a", "b"), ("reload", "x"), ("agents", b"\xff"),
])
def test_wrong_usage_is_64(rasadd, arguments):
    server = rasadd(CONF)
    assert "rasadctl" in ctl(server, *arguments, status=64)


def test_help_and_version():
    help_text = subprocess.run([program("rasadctl"), "-h"], capture_output=True, text=True,
                               check=True).stdout
    verbs = re.findall(r"^  ([a-z-]+)  +[a-z]", help_text, re.M)
    assert {"status", *TABLES, "top", "tail", "send", "plan", "reload"} <= set(verbs)
    for verb in verbs:
        said = subprocess.run([program("rasadctl"), verb, "-h"], capture_output=True, text=True,
                              check=True)
        assert said.stdout.startswith("usage: rasadctl " + verb) and said.stderr == ""
    version = subprocess.run([program("rasadctl"), "-V"], capture_output=True, text=True,
                             check=True)
    assert re.fullmatch(r"rasadctl \d+\.\d+\.\d+\n", version.stdout)


@pytest.mark.parametrize("verb", ("status", "agents", "top", "tail", "reload", "send"))
def test_without_a_server_it_is_69(rasadd, tmp_path, verb):
    missing = subprocess.run([program("rasadctl"), verb, "-S", tmp_path / "none.sock"],
                             input=b"", capture_output=True, check=False)
    assert missing.returncode == 69
    assert missing.stderr.decode() == (f"rasadctl: no server at {tmp_path}/none.sock: no such file "
                                       "or directory (is rasadd running?)\n")
    server = rasadd(CONF)
    server.kill(signal.SIGKILL).wait()
    said = ctl(server, verb, status=69)
    assert said == (f"rasadctl: no server at {socket_of(server)}: connection refused "
                    "(is rasadd running?)\n")


def test_the_socket_is_found_in_the_environment(rasadd):
    server = rasadd(CONF)
    done = subprocess.run([program("rasadctl"), "status", "--json"], capture_output=True,
                          env=os.environ | {"RASAD_SOCKET": socket_of(server)}, check=True)
    assert json.loads(done.stdout)["pid"] == server.pid


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_others_are_not_permitted(rasadd):
    server = rasadd(CONF)
    mode = os.stat(socket_of(server)).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    folder = server.folder
    for path in (folder, *folder.parents):  # the socket alone shall keep them out
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    done = subprocess.run(command_of(server, "status"), capture_output=True, check=False,
                          preexec_fn=become_nobody)
    assert done.returncode == 77, done
    assert done.stderr.decode() == (f"rasadctl: no access to {socket_of(server)}: permission denied "
                                    "(join the socket's group, or use sudo)\n")


def test_a_full_disk_is_an_error(rasadd):
    server = rasadd(CONF)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command_of(server, "status"), stdout=full, stderr=subprocess.PIPE,
                              check=False)
    assert done.returncode == 1 and done.stderr == b"rasadctl: cannot write to standard output\n"


# ---- The socket itself --------------------------------------------------------------------------

@pytest.mark.parametrize("closed, verb, complaint", (
    ("<&-", "send", "cannot read standard input: Bad file descriptor"),
    (">&-", "status", "cannot write to standard output"),
    (">&-", "status --json", "cannot write to standard output"),
    (">&-", "tail -n 1", "cannot write to standard output"),
))
def test_a_closed_descriptor_is_not_the_connection(rasadd, connect, closed, verb, complaint):
    server = rasadd(CONF)
    process = subprocess.Popen(["sh", "-c", f'exec "$0" -S "$1" {verb} {closed}',
                                program("rasadctl"), socket_of(server)], stderr=subprocess.PIPE)
    if verb.startswith("tail"):
        until(lambda: ask(server, "status")["watchers"] == 1, "nobody watches")
        connect(server).send({"hits": 1}).ping()
    assert complaint in process.communicate(timeout=DEADLINE_S)[1].decode()
    assert process.returncode == 1


def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(rasadd, run):
    server = rasadd(CONF)
    path = server.folder / "second.conf"
    path.write_text((server.folder / "rasad.conf").read_text())
    second = run(program("rasadd"), "-c", path)
    assert second.wait() == 1
    assert f'admin_socket: cannot listen on "{socket_of(server)}": ' in second.log.replace('\\"', '"')
    assert ask(server, "status")["pid"] == server.pid
    server.kill(signal.SIGKILL).wait()
    assert os.path.exists(socket_of(server))
    server.start()
    assert ask(server, "status")["pid"] == server.pid
    assert server.stop() == 0
    assert not os.path.exists(socket_of(server))


def test_without_its_folder_the_server_runs_without(rasadd, tmp_path):
    server = rasadd(f'admin_socket = "{tmp_path}/missing/rasad.sock"\n' + CONF)
    server.wait_line("warning no admin socket: its folder is not there")
    assert server.stop() == 0
    server = rasadd('admin_socket = ""\n' + CONF)
    assert server.scrape().value("rasad_agents") == 0
    assert "admin" not in server.log


@pytest.mark.parametrize("request_, why", [
    (b"[]\n", "no JSON object"), (b"rubbish\n", "no JSON object"),
    (b'{"verb":"' + b"x" * 70_000 + b'"}\n', "no JSON object"), (b"{}\n", "no verb"),
    ({"verb": 7}, "must be a string"), ({"verb": "stat\0us"}, "NUL"), ({"verb": "no"}, "unknown"),
    ({"verb": "status", "agent": "x"}, "doesn't go with"), ({"verb": "series", "x": 1}, "unknown"),
    ({"verb": "tail", "rejected": "yes"}, "true or false"),
    ({"verb": "series", "selector": "x{"}, "label is missing"),
], ids=range(11))
def test_a_bad_request_is_told_so(rasadd, admin, request_, why):
    server = rasadd(CONF)
    reply = admin(server).ask(request_)
    assert reply["ok"] is False and reply["code"] == 64 and why in reply["error"]
    assert ask(server, "status")["pid"] == server.pid


def test_a_connection_takes_many_requests(rasadd, admin):
    server = rasadd(CONF)
    client = admin(server)
    for _ in range(300):
        assert client.ask({"verb": "status"})["data"]["pid"] == server.pid
    client.socket.sendall(b'{"verb":"agents"} {"verb":"metrics"}\n{"verb":"nope"}{"verb":"status"}')
    assert client.read()["data"] == []
    assert len(client.read()["data"]) == 3
    assert client.read()["code"] == 64
    assert client.read()["ok"] is True
    for byte in b'{"verb":"plugins"}':
        client.socket.sendall(bytes([byte]))
    assert len(client.read()["data"]) == 3


def test_20_clients_at_once(rasadd, admin):
    """16 are served, the others are told so; and places that were left are taken again."""
    server = rasadd(CONF)
    inside = [admin(server) for _ in range(16)]
    for client in inside:
        assert client.ask({"verb": "tail"}) == {"ok": True}
    for client in [admin(server) for _ in range(4)]:
        reply = client.read()
        assert reply["code"] == 1 and "too many clients" in reply["error"]
        assert client.read() is None
    assert "too many clients" in ctl(server, "status", status=1)
    for client in inside:
        client.close()
    until(lambda: subprocess.run(command_of(server, "status"), capture_output=True,
                                 check=False).returncode == 0, "a place is free")
    wait_watchers(server, 0)
    many = [subprocess.Popen(command_of(server, "series"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for _ in range(20)]
    for popen in many:
        out, err = popen.communicate(timeout=60)
        assert (popen.returncode == 0 and out.startswith(b"SERIES") and err == b"") or \
            (popen.returncode == 1 and b"too many clients" in err), (popen.returncode, out, err)


def test_who_reads_no_reply_keeps_no_place_for_long(rasadd, connect, admin):
    """A client that asks and asks and never reads fills its socket and is then waited for, which
    keeps nobody else from being served, nor the server from stopping."""
    server = rasadd(CONF)
    send_some(connect, server)
    deaf = admin(server)
    deaf.socket.settimeout(1)
    with pytest.raises(OSError):
        while True:
            deaf.socket.sendall(b'{"verb":"metrics"}' * 100)
    assert ask(server, "status")["pid"] == server.pid
    assert server.stop() == 0


def test_the_server_stops_with_clients_connected(rasadd, connect, admin, background):
    server = rasadd(CONF)
    idle, half, watching = admin(server), admin(server), admin(server)
    half.socket.sendall(b'{"verb":')
    assert watching.ask({"verb": "tail"}) == {"ok": True}
    sender = admin(server)
    assert sender.ask({"verb": "send"}) == {"ok": True}
    assert sender.ask({"cpu": 1})["@verdict"]["value"] == 1
    tail, top = background(server, "tail"), background(server, "top")
    wait_watchers(server, 2)
    assert top.popen.stdout.readline()
    assert server.stop() == 0
    for client in (idle, half, sender):
        assert client.read() is None
    for one in (tail, top):
        code, said = one.wait()
        assert code == 69 and "the server has closed the connection" in said


def test_send_goes_on_through_reloads(rasadd, connect):
    """A sender at the admin socket is a sender like others: nothing of his is lost or told twice."""
    server = rasadd(CONF)
    count = 3000 // SLOW
    sender = subprocess.Popen(command_of(server, "send", "--agent", "me"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    for i in range(1, count + 1):
        sender.stdin.write(b'{"hits": 1}\n')
        sender.stdin.flush()
        assert sender.stdout.readline() == b'accepted  hits_total{agent="me"} = %d\n' % i
        if i % (count // 10) == 0:
            ctl(server, "reload")
    sender.stdin.close()
    assert sender.wait(DEADLINE_S) == 0
    assert server.scrape().value("hits_total", agent="me") == count
