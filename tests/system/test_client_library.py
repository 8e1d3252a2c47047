# SPDX-License-Identifier: Apache-2.0
"""librasad-client, seen through a program that links nothing else (library_pusher.c): what it has
pushed is applied exactly once, whatever is killed, and a full spool does what was asked for."""
import random
import re
import signal
import subprocess

import pytest

from harness import BUILD, built_with, free_port

CONF = 'state_dir = "state"\nmetric "C" { plugin = "counter" }\nmetric "S" { plugin = "counter" }'
PUSHER = BUILD / "tests" / "system" / "library_pusher"
OK, FULL, REFUSED, LATE, FAILED = range(5)
NOBODY = "127.0.0.1:1"


@pytest.fixture
def pusher(run, tmp_path):
    """pusher(server, messages=…, …): the program, with a spool of its own if none is given."""
    def start(server, messages, name="app", spool=None, **words):
        target = server if isinstance(server, str) else f"127.0.0.1:{server.port}"
        given = [f"{word}={value}" for word, value in words.items()]
        return run(PUSHER, f"servers={target}", f"name={name}", f"messages={messages}",
                   f"spool={tmp_path / 'spool' if spool is None else spool}", *given)
    return start


def check(server, messages, name="app"):
    """Every message was applied, and none twice."""
    scrape = server.scrape()
    assert scrape.value("C_total", agent=name) == messages
    assert scrape.value("S_total", agent=name) == messages * (messages + 1) // 2


def counts(process):
    """What it said last of the messages."""
    last = [line for line in process.log.splitlines() if line.startswith("taken ")][-1].split()
    return {word: int(number) for word, number in zip(last[::2], last[1::2])}


def end(process, result=OK):
    assert process.wait(120) == result, process.log
    return process


@pytest.mark.parametrize("words", [{}, {"group": 100}, {"sync": 1}, {"post": 1, "group": 50}, {"spool": ""}],
                         ids=["single", "group", "os", "post", "memory"])
def test_what_is_pushed_arrives_once(rasadd, pusher, words):
    server = rasadd(CONF)
    process = end(pusher(server, 1000, **words))
    assert counts(process) == {"taken": 1000, "pending": 0, "acked": 1000, "dropped": 0}
    check(server, 1000)


@pytest.mark.parametrize("sync", [0, 1])
def test_kill_9_at_any_moment_loses_and_doubles_nothing(rasadd, pusher, sync):
    """Both ends are killed; the source goes on behind what the spool has taken."""
    messages, seed = (60_000 if sync else 20_000), random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    server = rasadd(CONF)
    taken, killed = 0, 0
    while True:
        process = pusher(server, messages, sync=sync, group=rng.choice([1, 1, 3, 10]))
        try:
            assert process.wait(rng.uniform(0.005, 0.12) if killed < 40 else 120) == OK, process.log
            break
        except subprocess.TimeoutExpired:
            process.stop(signal.SIGKILL)
            killed += 1
        said = re.search(r"open, taken (\d+)", process.log)
        if said:
            assert taken <= int(said[1]) <= messages
            taken = int(said[1])
        if rng.random() < 0.2:
            server.stop(signal.SIGKILL)
            server.start()
    print("killed", killed, "times")
    assert killed >= 5
    assert counts(process)["taken"] == messages
    check(server, messages)


def test_a_push_that_has_returned_is_in_the_spool(rasadd, pusher):
    """Nobody takes them; the process is killed while it waits for that."""
    first = pusher(NOBODY, 500, group=10)
    first.wait_line(r"^taken 500 pending 500")
    first.stop(signal.SIGKILL)
    server = rasadd(CONF)
    again = end(pusher(server, 500))
    assert "open, taken 500" in again.log
    check(server, 500)


def test_a_full_spool_makes_a_push_wait_in_vain(rasadd, pusher):
    """What is told to be pushed is all that is there, so the rest can be pushed again."""
    process = end(pusher(NOBODY, 100_000, max=64 << 10, group=100, wait=200, flush=0), FULL)
    assert "push: result 1: the spool is full" in process.log
    kept = counts(process)["taken"]
    pushed = int(re.search(r"pushed (\d+) of the group", process.log)[1])
    assert 100 < kept < 10_000 and kept % 100 == pushed
    assert counts(process) == {"taken": kept, "pending": kept, "acked": 0, "dropped": 0}
    server = rasadd(CONF)
    again = end(pusher(server, kept + 100, max=64 << 10))
    assert f"open, taken {kept}" in again.log
    check(server, kept + 100)


def test_without_waiting_it_is_full_at_once(pusher):
    process = end(pusher(NOBODY, 100_000, max=64 << 10, group=10, wait=0, flush=0), FULL)
    assert counts(process)["taken"] > 100


def test_a_full_spool_makes_a_push_wait_for_a_server(rasadd, pusher):
    port = free_port()
    process = pusher(f"127.0.0.1:{port}", 5000, max=64 << 10, group=50)
    process.wait_line("Trying to reconnect")
    server = rasadd(CONF, port=port)
    end(process)
    check(server, 5000)


def test_a_full_spool_drops_its_oldest_and_the_server_knows(rasadd, pusher):
    port = free_port()
    process = pusher(f"127.0.0.1:{port}", 5000, max=64 << 10, group=50, drop=1)
    process.wait_line(r"^taken 5000")
    dropped = counts(process)["dropped"]
    assert 1000 < dropped < 5000
    server = rasadd(CONF, port=port)
    end(process)
    scrape = server.scrape()
    assert scrape.value("C_total", agent="app") == 5000 - dropped
    assert scrape.value("rasad_agent_dropped_total", agent="app") == dropped


def test_a_spool_has_one_client(rasadd, pusher):
    server = rasadd(CONF)
    first = pusher(NOBODY, 1)
    first.wait_line(r"^taken 1")
    second = end(pusher(server, 1), FAILED)
    assert re.search("open: result 4: .*another agent has this spool", second.log), second.log
    first.stop(signal.SIGKILL)
    end(pusher(server, 1))
    check(server, 1)


def test_a_flush_says_when_it_is_too_late(pusher):
    process = end(pusher(NOBODY, 3, flush=50), LATE)
    assert "flush: result 3: 3 messages are not acknowledged" in process.log


def test_the_next_server_takes_what_the_first_does_not(rasadd, pusher):
    server = rasadd(CONF)
    end(pusher(f"{NOBODY},127.0.0.1:{server.port}", 100, group=10))
    check(server, 100)


def test_threads_push_together(rasadd, pusher):
    server = rasadd(CONF)
    end(pusher(server, 4000, threads=16))
    check(server, 4000)


def test_threads_share_the_spool_when_it_is_full(rasadd, pusher):
    """Some are told so and some are not, and the counts are exact all the same."""
    process = end(pusher(NOBODY, 100_000, threads=8, group=7, max=64 << 10, wait=20, flush=0), FULL)
    kept = counts(process)["taken"]
    server = rasadd(CONF)
    end(pusher(server, 0, max=64 << 10))
    assert server.scrape().value("C_total", agent="app") == kept


def test_pushes_of_threads_share_syncs(rasadd, pusher, tmp_path):
    """One thread needs a sync a message; of sixteen most find one under way."""
    if not subprocess.run(["sh", "-c", "command -v strace"], stdout=subprocess.DEVNULL).returncode == 0:
        pytest.skip("no strace")
    syncs = {}
    for threads in (1, 16):
        out = tmp_path / f"trace-{threads}"
        subprocess.run(["strace", "-f", "-e", "trace=fdatasync", "-o", out, PUSHER, f"servers={NOBODY}",
                        "name=app", f"spool={tmp_path}/spool-{threads}", "messages=640",
                        f"threads={threads}", "flush=0"], timeout=120, stderr=subprocess.DEVNULL)
        syncs[threads] = out.read_text().count("fdatasync(")
    assert syncs[1] >= 640 and syncs[16] < 640 // 2, syncs


def test_it_exports_nothing_but_its_own():
    library = BUILD / "lib" / "librasad-client.so.0"
    listed = subprocess.run(["nm", "-D", "--defined-only", library], text=True, check=True,
                            stdout=subprocess.PIPE).stdout
    names = {line.split()[-1].partition("@")[0] for line in listed.splitlines()} - {"RASAD_CLIENT_0"}
    names = {name for name in names if not name.startswith(("__asan", "__tsan", "__odr_asan"))}
    assert names == {f"rasad_client_{word}" for word in
                     "open push push_many post sync taken counts flush close".split()}
    if not (built_with("address") or built_with("thread")):
        needed = subprocess.run(["readelf", "-d", library], text=True, check=True,
                                stdout=subprocess.PIPE).stdout
        assert set(re.findall(r"NEEDED.*\[(.*)\]", needed)) <= {"libc.so.6", "libm.so.6"}
