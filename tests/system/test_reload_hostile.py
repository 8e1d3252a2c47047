# SPDX-License-Identifier: Apache-2.0
"""Reloads at the worst of times: under load, in storms, at the end, with files that change while
they are read, and with plugins that can't be unloaded."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from harness import built_with, free_port, program
from test_reload import COUNTER, GAUGE, OUTCOME, TALLY, reloading  # noqa: F401  the fixture
from wire import Client, until

SANITIZED = built_with("address") or built_with("thread")
SERIES = 20_000 if SANITIZED else 200_000  # of a large family
LARGE = 'metric "C" {{ plugin = "counter"  max_series = 1000000  labels = {{ {} }} }}\n'


class Repeat:
    """Calls something over and over on a thread of its own until the end of the block."""

    def __init__(self, action):
        self.action, self.over, self.count, self.error = action, threading.Event(), 0, None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.over.is_set():
                self.action()
                self.count += 1
        except BaseException as error:  # whatever it is, the test shall hear of it
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "it hangs"
        if self.error and not kind:
            raise self.error


def counts(values, **more):
    """A sample of 1 for each of these values of the label l."""
    return {"C": [{"value": 1, "labels": {"l": str(value), **more}} for value in values]}


def fill(client, count=SERIES):
    for start in range(0, count, 500):
        client.send(counts(range(start, min(count, start + 500)), m=str(start % 7)))
    client.ping()


def descriptors(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def mappings(server):
    """The files that are mapped, each part counted; malloc's own memory comes and goes."""
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    return sorted(re.findall(r"^\S+ (\S+) \S+ \S+ \d+ +(/.*)$", maps, re.M))


def ended(server):
    """After SIGTERM: it ended well, whatever it was doing."""
    assert server.wait(60) == 0, server.log
    assert server.lines[-1].startswith("info stopped"), server.log


# ---- Storms and ends ----------------------------------------------------------------------------

def test_a_storm_of_signals_ends_with_the_newest_conf(reloading, connect):  # noqa: F811
    server = reloading(COUNTER + GAUGE)
    client = connect(server)
    with Repeat(lambda: server.kill(signal.SIGHUP)) as storm:
        for n in range(100):
            server.write(COUNTER + (GAUGE if n % 2 else "") + (TALLY if n % 3 else ""))
            client.send({"C": 1}).ping()
    assert storm.count > 100
    server.write(COUNTER + 'metric "Last" { plugin = "gauge" }\n')
    server.kill(signal.SIGHUP)
    server.wait_line("info added metric=Last")
    client.send({"C": 1, "Last": 1}).ping()
    assert server.scrape().value("C_total", agent=client.agent) == 101


@pytest.mark.parametrize("first", range(4))
def test_it_stops_well_in_the_middle_of_a_reload(reloading, connect, first):  # noqa: F811
    server = reloading(COUNTER)
    client = connect(server).send({"C": 5})
    client.ping()
    server.compile("tally")
    for _ in range(first):
        server.kill(signal.SIGHUP)
    server.write(COUNTER + TALLY)
    if first == 3:  # it is at work already
        before = len(server.lines)
        server.kill(signal.SIGHUP)
        server.wait_line(OUTCOME, after=before)
    server.kill(signal.SIGHUP)
    server.server.process.expected = True
    server.kill(signal.SIGTERM)
    ended(server)


def test_a_plan_and_a_reload_at_once_are_no_danger(reloading, connect):  # noqa: F811
    server = reloading(COUNTER + TALLY)
    command = [program("rasadctl"), "-S", f"{server.folder}/rasad.sock", "plan", server.folder / "other.conf"]
    server.write(COUNTER + TALLY + GAUGE)
    shutil.copy(server.folder / "rasad.conf", command[-1])

    def plan():
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    with Repeat(plan), Repeat(plan):
        for n in range(20):
            if n % 5 == 0:
                server.compile("tally", f'-DBUILD="{n}"')
            server.applies(COUNTER + TALLY + (GAUGE if n % 2 else ""))
    assert server.scrape().value("rasad_plugin_leaked_generations") == 0


# ---- What a reload that fails leaves behind -----------------------------------------------------

def refuses_connections(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_place_that_was_opened_is_closed_again_when_the_next_is_taken(reloading, connect):  # noqa: F811
    server = reloading(COUNTER)
    client = connect(server).send({"C": 1})
    client.ping()
    before, port, path = descriptors(server), free_port(), f"{server.folder}/listen.sock"
    taken = f'http {{ address = "127.0.0.1"  port = {server.port} }}\n'
    assert "in use" in server.refuses(f'listen {{ address = "127.0.0.1"  port = {port} }}\n' + taken + COUNTER)
    assert refuses_connections(port)
    assert "in use" in server.refuses(f'listen {{ address = "unix:{path}" }}\n' + taken + COUNTER)
    assert not os.path.exists(path)
    client.send({"C": 1}).ping()
    assert descriptors(server) <= before + 1  # one may be a scrape's that is just over
    server.applies(f'listen {{ address = "unix:{path}" }}\n' + COUNTER)
    assert os.path.exists(path)
    client.send({"C": 1}).ping()
    assert server.scrape().value("C_total", agent=client.agent) == 3


def test_a_failed_migration_opens_no_port(reloading, connect):  # noqa: F811
    server = reloading(TALLY)
    client = connect(server).send({"T": 1})
    client.ping()
    port, http, path = free_port(), free_port(), f"{server.folder}/listen.sock"
    before = descriptors(server)
    server.compile("tally", "-DSTATE=2", "-DBAD_MIGRATE")
    for listen in (f'address = "127.0.0.1"  port = {port}', f'address = "unix:{path}"'):
        assert "cannot bring over" in server.refuses(
            f'listen {{ {listen} }}\nhttp {{ address = "127.0.0.1"  port = {http} }}\n' + TALLY)
        assert refuses_connections(port) and refuses_connections(http) and not os.path.exists(path)
    assert descriptors(server) <= before
    client.send({"T": 1}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 2


def test_unix_sockets_move_and_leave_no_path_behind(reloading):  # noqa: F811
    server = reloading(COUNTER)
    paths = [f"{server.folder}/{name}.sock" for name in "ab"]
    for n in range(6):
        server.applies(f'listen {{ address = "unix:{paths[n % 2]}" }}\n' + COUNTER)
        until(lambda: not os.path.exists(paths[(n + 1) % 2]), "the old path is gone")
        with socket.socket(socket.AF_UNIX) as sender:
            sender.settimeout(20)
            sender.connect(paths[n % 2])
            sender.sendall(b'{"C": 1}{"@ping": 1}\n')
            assert sender.recv(100) == b'{"@pong":1}\n'
    assert server.scrape().total("C_total") == 6


def test_ports_move_to_and_fro_without_a_pause(reloading, connect):  # noqa: F811
    server = reloading(COUNTER)
    client = connect(server)
    ports = [server.port, free_port()]
    for n in range(20):
        server.applies(f'listen {{ address = "127.0.0.1"  port = {ports[n % 2]} }}\n' + COUNTER)
        server.server.port = ports[n % 2]
        with Client(server) as other:
            other.send({"C": 1}).ping()
    client.send({"C": 1}).ping()
    assert server.scrape().total("C_total") == 21


# ---- Files that change while they are read ------------------------------------------------------

def test_a_conf_that_is_gone_or_no_file_changes_nothing(reloading, connect):  # noqa: F811
    server = reloading(COUNTER)
    client = connect(server).send({"C": 1})
    client.ping()
    conf = server.folder / "rasad.conf"
    more = server.folder / "more.conf"
    more.write_text(GAUGE)
    server.applies('include("more.conf")\n' + COUNTER)
    more.unlink()
    assert "more.conf" in server.refuses()
    more.mkdir()
    assert "more.conf" in server.refuses()
    more.rmdir()
    text = conf.read_text()
    conf.unlink()
    before = len(server.lines)
    server.kill(signal.SIGHUP)
    assert "failed" in server.wait_line(OUTCOME, after=before)[0]
    conf.mkdir()
    before = len(server.lines)
    server.kill(signal.SIGHUP)
    assert "failed" in server.wait_line(OUTCOME, after=before)[0]
    conf.rmdir()
    os.mkfifo(conf)  # opening it must not wait for a writer
    before = len(server.lines)
    server.kill(signal.SIGHUP)
    assert "failed" in server.wait_line(OUTCOME, after=before)[0]
    conf.unlink()
    conf.write_text(text.replace('include("more.conf")', ""))
    server.applies(COUNTER)
    client.send({"C": 1}).ping()
    assert server.scrape().value("C_total", agent=client.agent) == 2


def test_a_conf_and_a_plugin_replaced_while_they_are_read_are_one_or_the_other(reloading, connect):  # noqa: F811
    server = reloading(TALLY)
    client = connect(server)
    conf, folder = server.folder / "rasad.conf", server.server.folder
    head = conf.read_text().replace(TALLY, "")
    builds = [shutil.copy(server.compile("tally", f'-DBUILD="{n}"'), folder / f"tally-{n}.so") for n in (1, 2)]
    turns = iter(range(10**9))

    def replace():
        n = next(turns)
        (folder / "conf.new").write_text(head + TALLY + (GAUGE if n % 2 else COUNTER))
        os.rename(folder / "conf.new", conf)
        shutil.copy(builds[n % 2], folder / "so.new")
        os.rename(folder / "so.new", server.plugins / "tally.so")
    with Repeat(replace):
        for n in range(15):
            client.send({"T": 1}).ping()
            before = len(server.lines)
            server.kill(signal.SIGHUP)
            assert "info reloaded" in server.wait_line(OUTCOME, after=before)[0]
    assert server.scrape().value("T_total", agent=client.agent) == 15


def test_a_plugin_written_in_place_while_it_is_read_harms_nobody(reloading, connect):  # noqa: F811
    """It may load, if the copy happened to be whole, or be refused."""
    server = reloading(TALLY)
    client = connect(server)
    path = server.plugins / "tally.so"
    one = path.read_bytes()
    two = server.compile("tally", '-DBUILD="2"').read_bytes()
    turns = iter(range(10**9))

    def overwrite():
        path.write_bytes(two if next(turns) % 2 else one)
    with Repeat(overwrite):
        for n in range(15):
            client.send({"T": 1}).ping()
            server.reload()
    server.applies()
    assert server.scrape().value("T_total", agent=client.agent) == 15


def test_a_plugin_in_a_folder_that_all_may_write_to_is_refused_by_name(reloading, connect):  # noqa: F811
    server = reloading(TALLY)
    client = connect(server).send({"T": 1})
    client.ping()
    server.plugins.chmod(0o777)
    assert re.search(r"plugins/tally\.so: .*all may write to", server.refuses())
    server.plugins.chmod(0o755)
    server.compile("tally", '-DBUILD="2"')
    path = server.plugins / "tally.so"
    path.rename(server.plugins / "real.so")
    path.symlink_to("real.so")
    assert re.search(r"plugins/tally\.so: a symbolic link", server.refuses())
    client.send({"T": 1}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 2


# ---- Plugins ------------------------------------------------------------------------------------

# What a static member of a C++ template becomes: the loader never lets go of such a symbol.
STAYS = r"""
__asm__(".pushsection .data\n.globl unique_" BUILD "\n.type unique_" BUILD ", @gnu_unique_object\n"
        ".size unique_" BUILD ", 4\nunique_" BUILD ": .long 1\n.popsection");
extern int unique __asm__("unique_" BUILD);
__attribute__((visibility("default"))) int *keep_me(void) { return &unique; }
"""


def test_code_that_cannot_be_unloaded_is_counted_and_ends_in_a_refusal(reloading, connect):  # noqa: F811
    server = reloading(TALLY)
    client = connect(server).send({"T": 1})
    client.ping()
    source = server.plugins / "stays.c"
    source.write_text(STAYS)
    for n in range(18):
        server.compile("tally", str(source), f'-DBUILD="{n}"')
        lines = "\n".join(server.reload())
        stay = server.scrape().value("rasad_plugin_leaked_generations")
        if "info reloaded" not in lines:
            break
        assert stay == n, "the first to go was no such plugin"
    assert n == 17 and stay == 16, lines
    assert "16 replaced plugins could not be unloaded" in lines
    client.send({"T": 1}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 2


def test_what_is_read_in_vain_and_cannot_be_unloaded_is_counted_too(reloading):  # noqa: F811
    server = reloading(TALLY)
    source = server.plugins / "stays.c"
    source.write_text(STAYS)
    server.compile("tally", str(source), '-DBUILD="vain"')
    command = [program("rasadctl"), "-S", f"{server.folder}/rasad.sock", "plan"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert server.scrape().value("rasad_plugin_leaked_generations") == 1
    server.compile("tally", str(source), '-DBUILD="again"')
    server.refuses(TALLY + 'metric "C" { plugin = "counter"  misspelt = 1 }\n')
    assert server.scrape().value("rasad_plugin_leaked_generations") == 2


def test_metrics_that_share_a_plugin_each_go_their_way(reloading, connect):  # noqa: F811
    two = 'metric "T" { plugin = "tally" }\nmetric "U" { plugin = "tally"  unit = %d }\n'
    server = reloading(two % 2)
    client = connect(server).send({"T": 1, "U": 1})
    client.ping()
    server.compile("tally", "-DSTATE=2", '-DBUILD="2"')
    log = server.applies(two % 3)
    assert re.search(r'info migrated metric=T detail="1 → 2', log)
    assert re.search(r'info restarted metric=U detail="unit changed"', log)
    client.send({"T": 1, "U": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == 2
    assert scrape.value("U_total", agent=client.agent) == 3
    assert len(server.mapped()) == 1
    server.applies('metric "U" { plugin = "tally"  unit = 3 }\n')
    assert len(server.mapped()) == 1
    assert server.scrape().value("U_total", agent=client.agent) == 3


# ---- Under load ---------------------------------------------------------------------------------

def test_scrapes_of_a_large_family_never_see_half_a_reload(reloading, connect):  # noqa: F811
    server = reloading(LARGE.format('"l", "m"'))
    client = connect(server)
    fill(client)
    totals = set()

    def scrape():
        _, body = server.request("/metrics?name[]=C_total")
        totals.add(sum(float(line.rsplit(b" ", 1)[1]) for line in body.splitlines()
                       if line.startswith(b"C_total{")))
    with Repeat(scrape) as scrapes:
        for labels in ('"m", "l"', '"l", "m"', '"m"', '"l"', ""):
            server.applies(LARGE.format(labels))
        until(lambda: scrapes.count > 2 or scrapes.error, "scrapes go on")
    assert totals == {SERIES}
    assert server.scrape().value("rasad_series", metric="C") == 1


def test_globs_end_while_shards_make_families_of_them(reloading, connect):  # noqa: F811
    glob = 'metric "in_*" { plugin = "counter"  max_families = 100000 }\n'
    server = reloading(glob + COUNTER)
    turns = [iter(range(10**9)) for _ in range(4)]
    clients = [connect(server) for _ in turns]
    sent = [0] * len(clients)

    def send(n):
        clients[n].send({f"in_{next(turns[n]) % 500}": 1, "C": 1}).ping()
        sent[n] += 1
    with Repeat(lambda: send(0)), Repeat(lambda: send(1)), Repeat(lambda: send(2)), Repeat(lambda: send(3)):
        for n in range(30):
            server.applies(COUNTER + ("", glob, 'metric "in_7" { plugin = "gauge" }\n' + glob,
                                      'metric "in_7*" { plugin = "gauge" }\n' + glob)[n % 4])
    assert server.scrape().total("C_total") == sum(sent)


def test_series_that_expire_and_senders_that_end_meanwhile_are_no_trouble(reloading):  # noqa: F811
    head = 'anonymous_expire = "1ms"\nagent_ttl = "1s"\n'
    metric = 'metric "C" {{ plugin = "counter"  expire = "1s"  max_series = 50  labels = {{ {} }} }}\n'
    tally = 'metric "T" { plugin = "tally"  expire = "1s" }\n'
    server = reloading(head + metric.format('"l"') + tally)
    turns = iter(range(10**9))

    def come_and_go():
        n = next(turns)
        with Client(server) as client:
            if n % 2:
                client.hello(f"agent-{n % 20}", stream=f"{n:032x}")
            client.send({"C": {"value": 1, "labels": {"l": str(n % 5)}} if n % 3 else 1, "T": 1}).ping()
    with Repeat(come_and_go), Repeat(come_and_go):
        for n in range(30):
            if n % 2:
                server.compile("tally", f"-DSTATE={1 + n // 2 % 2}")
            server.applies(head + metric.format(('"l"', "", '"m", "l"')[n % 3]) + tally)
    until(lambda: not server.scrape().series("C_total", agent="agent-1"), "all has expired")
    until(lambda: server.scrape().value("rasad_series", metric="T") == 0, "likewise")


# ---- What is left -------------------------------------------------------------------------------

def test_few_descriptors_are_enough(reloading, connect):  # noqa: F811
    server = reloading(COUNTER + TALLY, wrapper=("prlimit", "--nofile=64"))
    client = connect(server).send({"C": 1})
    client.ping()
    for n in range(30):
        server.compile("tally", f'-DBUILD="{n}"')
        port = free_port()
        server.applies(f'http {{ address = "127.0.0.1"  port = {port} }}\n' + COUNTER + TALLY)
        server.server.http = port
    client.send({"C": 1}).ping()
    assert server.scrape().value("C_total", agent=client.agent) == 2


def test_five_hundred_reloads_leave_nothing_behind(reloading, connect, tmp_path):  # noqa: F811
    rounds = 62 if SANITIZED else 500
    server = reloading(TALLY + COUNTER)
    client = connect(server)
    builds = [shutil.copy(server.compile("tally", f"-DSTATE={state}"), tmp_path / f"tally-{state}.so")
              for state in (2, 1)]
    for n in range(rounds):
        shutil.copy(builds[n % 2], server.plugins / "tally.new")
        os.rename(server.plugins / "tally.new", server.plugins / "tally.so")
        client.send({"T": 1, "C": 1, "G": 1}).ping()
        server.applies(TALLY + (COUNTER if n % 3 else 'metric "C" { plugin = "counter"  labels = { "l" } }\n') +
                       (GAUGE if n % 2 else ""))
        if n == 19:
            settled = server.status_kib("VmRSS"), descriptors(server), mappings(server)
    assert rounds % 6 == 20 % 6, "the conf is the same as then"
    assert mappings(server) == settled[2]
    assert descriptors(server) <= settled[1] + 1
    if not SANITIZED:
        assert server.status_kib("VmRSS") <= settled[0] * 1.05
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == rounds
    assert scrape.value("C_total", agent=client.agent) == rounds
