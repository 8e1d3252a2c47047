# SPDX-License-Identifier: Apache-2.0
"""The agent's spool: a message that it took is delivered once, whatever is killed."""
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import termios
import threading

import pytest

from harness import free_port, program
from spool import messages
from wire import until

CONF = '''
metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }
metric "N"         { plugin = "counter" }
metric "CPU_Utilization" { plugin = "histogram"  name = "cpu"  buckets = { 50 } }
'''
PATIENCE_S = 60


class Feed:
    """A pipe into an agent's standard input, written to by a thread of its own."""

    def __init__(self):
        self.source, self.target = os.pipe()
        self.written = threading.Condition()
        self.bytes = 0

    def write(self, lines):
        """Writes until the reader is gone; sets off at once."""
        def run():
            try:
                for line in lines:
                    os.write(self.target, line.encode() + b"\n")
                    with self.written:
                        self.bytes += len(line) + 1
                        self.written.notify_all()
            except BrokenPipeError:
                pass
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self

    def wait_written(self, count):
        with self.written:
            assert self.written.wait_for(lambda: self.bytes >= count, PATIENCE_S)

    def unread(self):
        return struct.unpack("i", fcntl.ioctl(self.target, termios.FIONREAD, b"\0" * 4))[0]

    def wait_read(self):
        """Until all is written, and the agent has read it."""
        self.thread.join(PATIENCE_S)
        until(lambda: self.unread() == 0, "the agent has read its standard input")

    def end(self):
        """Once all is written, or nobody reads any more."""
        self.thread.join(PATIENCE_S)
        os.close(self.target)


@pytest.fixture
def spooled(run, tmp_path):
    """spooled(server, …): an agent whose spool lies in `folder`, by default one for all of a test."""
    def start(server, *arguments, stdin=None, name="web-1", folder=None, conf=""):
        folder = folder or tmp_path / "state"
        path = tmp_path / "agent.conf"
        path.write_text(conf)
        target = server if isinstance(server, str) else f"127.0.0.1:{server.port}"
        source = stdin.source if isinstance(stdin, Feed) else stdin
        agent = run(program("rasad-agent"), "-c", path, "-s", target, "-n", name, *arguments,
                    *(["--stdin"] if stdin is not None else []),
                    environment={"STATE_DIRECTORY": str(folder)}, stdin=source)
        if isinstance(stdin, Feed):
            os.close(stdin.source)
        return agent
    return start


def feed(lines):
    return Feed().write(lines)


def ends_well(agent):
    assert agent.wait(PATIENCE_S) == 0, agent.log


def nothing():
    return open(os.devnull, "rb")


def kill9(process):
    process.expected = True
    process.kill(signal.SIGKILL)
    process.wait()


def test_kill_9_of_the_agent_at_any_moment_loses_and_doubles_nothing(rasadd, spooled, tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    server = rasadd(CONF)
    for life in range(25):
        pipe = feed(json.dumps({"N": life * 100_000 + i}) for i in range(1, 50_000))
        agent = spooled(server, stdin=pipe)
        pipe.wait_written(chance.randrange(1, 400_000))
        kill9(agent)
        pipe.end()
    ends_well(spooled(server, stdin=nothing()))
    taken = [json.loads(message)["N"] for _, message in sorted(messages(tmp_path / "state").items())]
    assert len(taken) > 1000
    for life in range(25):  # of each life, the first so many, and no hole
        own = [n % 100_000 for n in taken if n // 100_000 == life]
        assert own == list(range(1, len(own) + 1))
    scrape = server.scrape()
    assert scrape.value("N_total", agent="web-1") == sum(taken)
    assert scrape.get("rasad_agent_dropped_total", 0, agent="web-1") == 0


def test_kill_9_of_an_agent_with_collectors_likewise(rasadd, spooled, tmp_path):
    chance = random.Random(3)
    server = rasadd(CONF)
    for _ in range(12):
        agent = spooled(server, "-C", "cpu", "-i", "0.01")
        count = len(messages(tmp_path / "state")) + chance.randrange(1, 20)
        until(lambda: len(messages(tmp_path / "state")) >= count, "the agent has taken some more")
        kill9(agent)
    ends_well(spooled(server, stdin=nothing()))
    taken = messages(tmp_path / "state").values()
    count = sum(b"CPU_Utilization" in message for message in taken)
    assert server.scrape().value("cpu_count", agent="web-1") == count == len(taken)


def test_a_server_in_memory_that_is_killed_is_given_what_is_kept(rasadd, spooled):
    server = rasadd(CONF)
    goes_on = threading.Event()

    def all_lines():
        for number in range(60_000):
            if number in (20_000, 40_000):  # not all before the first kill
                assert goes_on.wait(PATIENCE_S)
                goes_on.clear()
            yield '{"A_Pressed": "a"}'

    pipe = feed(all_lines())
    agent = spooled(server, stdin=pipe)
    for least in (1, 20_001):
        server.wait_for("A_Pressed_total", agent="web-1", at_least=least)
        kill9(server.process)
        server.start()
        goes_on.set()
    pipe.end()
    ends_well(agent)
    assert server.scrape().value("A_Pressed_total", agent="web-1") == 60_000


def test_what_waits_when_the_agent_is_stopped_goes_out_later(rasadd, spooled):
    port = free_port()
    pipe = feed(['{"A_Pressed": "a"}'] * 1000)
    agent = spooled(f"127.0.0.1:{port}", stdin=pipe)
    pipe.wait_read()
    assert agent.stop() == 1
    assert "unacknowledged=1000" in agent.log
    pipe.end()
    server = rasadd(CONF, port=port)
    ends_well(spooled(server, stdin=nothing()))
    assert server.scrape().value("A_Pressed_total", agent="web-1") == 1000


def test_a_second_agent_with_the_same_spool_is_refused(rasadd, spooled, tmp_path):
    server = rasadd(CONF)
    first = spooled(server, "-C", "letters")
    first.wait_line("info connected")
    for name in ("web-1", "web-2"):
        second = spooled(server, "-C", "letters", name=name)
        assert second.wait() == 1
        assert f"rasad-agent: {tmp_path}/state: another agent has this spool, process {first.pid} (" \
            in second.log
    third = spooled(server, "-C", "letters", name="web-2", folder=tmp_path / "other")
    third.wait_line("info connected")


def test_a_full_spool_drops_its_oldest_and_the_server_counts_them(rasadd, spooled):
    port = free_port()
    pipe = feed(json.dumps({"N": 1, "unknown": "x" * 100}) for i in range(5000))
    agent = spooled(f"127.0.0.1:{port}", stdin=pipe,
                    conf='spool_max = "64KiB"\nspool_full = "drop-oldest"\n')
    pipe.wait_read()
    agent.wait_line("the spool is full: the oldest messages are dropped")
    pipe.end()
    server = rasadd(CONF, port=port)
    assert agent.wait(PATIENCE_S) == 1
    scrape = server.scrape()
    dropped = scrape.value("rasad_agent_dropped_total", agent="web-1")
    assert 0 < dropped < 5000
    assert f"error messages were dropped messages={dropped:.0f}" in agent.log
    assert scrape.value("N_total", agent="web-1") + dropped == 5000


def test_a_full_spool_that_blocks_reads_no_more_until_there_is_room(rasadd, spooled):
    port = free_port()
    lines = [json.dumps({"N": 1, "unknown": "x" * 1000})] * 5000
    pipe = feed(lines)
    agent = spooled(f"127.0.0.1:{port}", stdin=pipe, conf='spool_max = "64KiB"\n')
    agent.wait_line("Trying to reconnect")
    until(lambda: pipe.unread() > 60_000, "the pipe is full as well")
    server = rasadd(CONF, port=port)
    pipe.end()
    ends_well(agent)
    scrape = server.scrape()
    assert scrape.value("N_total", agent="web-1") == 5000
    assert scrape.get("rasad_agent_dropped_total", 0, agent="web-1") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk to be filled")
@pytest.mark.parametrize("policy", ["block", "drop-oldest"])
def test_a_full_disk_is_a_full_spool(rasadd, run, tmp_path, policy):
    """A disk of 2 MiB for a spool that would grow to 64."""
    port, state, conf = free_port(), tmp_path / "state", tmp_path / "agent.conf"
    state.mkdir()
    conf.write_text(f'spool_full = "{policy}"\n')
    pipe = feed(['{"N": 1}'] * 100_000)
    agent = run("unshare", "-m", "sh", "-c",
                'mount -t tmpfs -o size=2m none "$0" && exec "$@"', state,
                program("rasad-agent"), "-c", conf, "-s", f"127.0.0.1:{port}", "-n", "web-1", "--stdin",
                environment={"STATE_DIRECTORY": str(state)}, stdin=pipe.source)
    os.close(pipe.source)
    agent.wait_line("the spool can't be written|the oldest messages are dropped")
    server = rasadd(CONF, port=port)
    pipe.end()
    code = agent.wait(PATIENCE_S)
    scrape = server.scrape()
    dropped = scrape.get("rasad_agent_dropped_total", 0, agent="web-1")
    assert code == (1 if dropped > 0 else 0)
    assert dropped == 0 or policy == "drop-oldest"
    assert scrape.value("N_total", agent="web-1") + dropped == 100_000


def test_a_copied_spool_is_noticed_and_damages_nothing(rasadd, spooled, tmp_path):
    server = rasadd(CONF)

    def push(folder, count):
        pipe = feed(['{"N": 1}'] * count)
        agent = spooled(server, stdin=pipe, folder=folder)
        pipe.end()
        ends_well(agent)
        return agent

    original, copy = tmp_path / "state", tmp_path / "copy"
    push(original, 10)
    shutil.copytree(original, copy)
    assert "as if it were a copy" not in push(original, 7).log
    assert "as if it were a copy" in push(copy, 5).log
    push(original, 3)
    push(copy, 2)
    assert server.scrape().value("N_total", agent="web-1") == 27


def test_a_spool_of_a_newer_format_is_refused(rasadd, spooled, tmp_path):
    server = rasadd(CONF)
    ends_well(spooled(server, stdin=nothing()))
    path = next((tmp_path / "state").rglob("*.seg"))
    data = bytearray(path.read_bytes())
    data[8] = 9
    path.write_bytes(data)
    agent = spooled(server, stdin=nothing())
    assert agent.wait() == 1
    assert f"rasad-agent: {path}: has format 9, and this rasad-agent knows 1 (install" in agent.log
    assert path.read_bytes() == data


def test_torn_and_damaged_files_are_told_and_the_rest_goes_out(rasadd, spooled, tmp_path):
    port = free_port()
    pipe = feed(json.dumps({"N": 1}) for i in range(100))
    agent = spooled(f"127.0.0.1:{port}", stdin=pipe)
    pipe.wait_read()
    agent.stop()
    pipe.end()
    path, = (tmp_path / "state").rglob("*.inbox/*.seg")
    with path.open("ab") as file:
        file.write(b"torn" * 100)
    server = rasadd(CONF, port=port)
    agent = spooled(server, stdin=nothing())
    ends_well(agent)
    assert "warning the spool's end was torn" in agent.log
    assert server.scrape().value("N_total", agent="web-1") == 100


def test_without_a_folder_nothing_is_written(rasadd, spooled, tmp_path):
    server = rasadd(CONF)
    for conf in ('spool = ""\n', 'spool_sync = "memory"\n'):
        pipe = feed(['{"N": 1}'] * 100)
        agent = spooled(server, stdin=pipe, conf=conf)
        pipe.end()
        ends_well(agent)
        assert not (tmp_path / "state").exists()
    assert server.scrape().value("N_total", agent="web-1") == 200


def test_the_folder_is_found_without_a_state_directory(rasadd, run, tmp_path):
    server = rasadd(CONF)
    target = f"127.0.0.1:{server.port}"
    for extra, folder in (({"XDG_STATE_HOME": str(tmp_path / "xdg")}, "xdg/rasad-agent/web%2F1"),
                          ({"XDG_STATE_HOME": ""}, ".local/state/rasad-agent/web%2F1")):
        agent = run(program("rasad-agent"), "-s", target, "-n", "web/1", "--stdin",
                    environment={"STATE_DIRECTORY": ""} | extra, stdin=nothing())
        ends_well(agent)
        assert (tmp_path / folder / "lock").exists()


def test_a_closed_descriptor_is_filled(rasadd, run, tmp_path):
    """With standard error closed, what the agent opens next must not become it."""
    server = rasadd(CONF)
    agent = run("sh", "-c", 'exec "$@" 2>&-', "sh", program("rasad-agent"), "-s",
                f"127.0.0.1:{server.port}", "-n", "web-1",
                environment={"STATE_DIRECTORY": str(tmp_path / "state")})
    server.wait_for("rasad_agents", at_least=1)
    assert os.readlink(f"/proc/{agent.pid}/fd/2") == "/dev/null"
