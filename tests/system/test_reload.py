# SPDX-License-Identifier: Apache-2.0
"""A changed conf and replaced plugins, applied to the running server: all of it or nothing."""
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import ROOT, free_port, program
from wire import Client, until

SOURCES = Path(__file__).parent / "plugins"
OUTCOME = re.compile(r"(info reloaded|error reload failed)")


class Reloading:
    """A server with a folder of plugins of the test's own, whose conf can be written anew."""

    def __init__(self, server, plugins):
        self.server, self.plugins = server, plugins

    def __getattr__(self, name):
        return getattr(self.__dict__["server"], name)

    def compile(self, source="tally", *flags, name=None):
        """Compiles a plugin and puts it in place as a package manager would: by renaming."""
        target = self.plugins / f"{name or source}.so"
        fresh = target.with_suffix(".new")
        subprocess.run(["cc", "-std=c17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs,-z,now",
                        f"-I{ROOT}/core/include", *flags, "-o", fresh, SOURCES / f"{source}.c", "-lm"],
                       check=True, timeout=60)
        fresh.rename(target)
        return target

    def write(self, conf):
        self.server.conf = f'plugin_path = {{ "{self.plugins}", "{self.built}" }}\n' + conf
        self.server.write_conf()

    def reload(self, conf=None):
        """Asks for a reload with this conf (None: as it is); the lines that the log has of it."""
        if conf is not None:
            self.write(conf)
        before = len(self.server.lines)
        self.server.kill(signal.SIGHUP)
        self.server.wait_line(OUTCOME, after=before)
        return self.server.lines[before:]

    def applies(self, conf=None):
        lines = self.reload(conf)
        assert not [line for line in lines if "reload failed" in line], "\n".join(lines)
        return "\n".join(lines)

    def refuses(self, conf=None):
        lines = self.reload(conf)
        assert not [line for line in lines if "info reloaded" in line], "\n".join(lines)
        return "\n".join(lines)

    def mapped(self):
        """Copies of plugins that the process has mapped, by name, each counted once."""
        maps = Path(f"/proc/{self.server.pid}/maps").read_text()
        return sorted(set(re.findall(r"^\S+ r-xp \S+ \S+ (\d+)\s+/memfd:(\S+)", maps, re.M)))


@pytest.fixture
def reloading(rasadd, tmp_path):
    """reloading(conf): a server that runs with it, and the tally plugin in its build 1."""
    def start(conf, compile_first=("tally",), **options):
        plugins = tmp_path / "plugins"
        plugins.mkdir(exist_ok=True)
        made = Reloading(None, plugins)
        made.built = Path(program("rasadd")).parents[1] / "lib" / "rasad" / "plugins"
        for source in compile_first:
            made.compile(source)
        made.server = rasadd(f'plugin_path = {{ "{plugins}", "{made.built}" }}\n' + conf, **options)
        return made
    return start


TALLY = 'metric "T" { plugin = "tally" }\n'
COUNTER = 'metric "C" { plugin = "counter" }\n'
GAUGE = 'metric "G" { plugin = "gauge" }\n'


def test_metrics_come_and_go_while_a_sender_stays_connected(reloading, connect):
    server = reloading(COUNTER)
    client = connect(server)
    client.send({"C": 5, "G": 1}).ping()
    log = server.applies(COUNTER + GAUGE)
    assert re.search(r"info added metric=G", log) and "kept=1 added=1 removed=0" in log
    client.send({"C": 2, "G": 7}).ping()
    scrape = server.scrape()
    assert scrape.value("C_total", agent=client.agent) == 7
    assert scrape.value("G", agent=client.agent) == 7
    log = server.applies(GAUGE)
    assert re.search(r"info removed metric=C", log)
    client.send({"C": 1, "G": 8}).ping()
    scrape = server.scrape()
    assert "C" not in scrape.families and scrape.value("G", agent=client.agent) == 8
    assert scrape.rejected() == {"unknown_key": 2}
    server.applies(COUNTER + GAUGE)
    client.send({"C": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("C_total", agent=client.agent) == 1
    assert scrape.value("rasad_connections_total") == 1
    assert scrape.value("rasad_reloads_total", result="success") == 3
    assert scrape.value("rasad_reloads_total", result="failure") == 0
    assert scrape.value("rasad_config_last_reload_successful") == 1


def test_the_same_again_changes_nothing(reloading, connect):
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    created = server.scrape().value("T_created", agent=client.agent)
    mapped = server.mapped()
    log = server.applies()
    assert "kept=1 added=0 removed=0 restarted=0 migrated=0" in log
    assert not re.search(r"info kept", log), "there is nothing to say of it"
    assert server.mapped() == mapped, "the same file was loaded again"
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == 5
    assert scrape.value("T_created", agent=client.agent) == created


def test_help_limits_and_expiry_change_under_a_kept_state(reloading, connect):
    server = reloading('metric "C" { plugin = "counter"  help = "old" }')
    one, two = connect(server), connect(server)
    one.send({"C": 5}).ping()
    two.send({"C": 6}).ping()
    server.applies('metric "C" { plugin = "counter"  help = "new"  max_series = 1 }')
    one.send({"C": 1}).ping()
    connect(server).send({"C": 100}).ping()
    scrape = server.scrape()
    assert scrape.families["C_total"].help == "new"
    assert scrape.value("C_total", agent=one.agent) == 6
    assert scrape.value("C_total", agent=two.agent) == 6, "there before the limit"
    assert scrape.value("C_total", overflow="true") == 100
    log = server.applies('metric "C" { plugin = "counter"  help = "new"  expire = "1s" }')
    assert re.search(r'info kept metric=C detail="new expire, max_series"', log)
    until(lambda: not server.scrape().series("C_total", agent=two.agent), "the series expired")


def test_a_metric_gets_another_name_and_keeps_its_state(reloading, connect):
    server = reloading(COUNTER)
    client = connect(server).send({"C": 5})
    client.ping()
    server.applies('metric "C" { plugin = "counter"  name = "clicks" }')
    client.send({"C": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("clicks_total", agent=client.agent) == 6 and not scrape.series("C_total")
    server.applies('metric "Clicked" { plugin = "counter"  name = "clicks" }')
    client.send({"Clicked": 1}).ping()
    assert server.scrape().value("clicks_total", agent=client.agent) == 7


@pytest.mark.parametrize("agent_label", ["agent", ""], ids=["each", "merged"])
def test_labels_come_and_go(reloading, connect, agent_label):
    head = f'threads = 3\nagent_label = "{agent_label}"\n'

    def conf(labels):
        return head + f'metric "C" {{ plugin = "counter"  labels = {{ {labels} }} }}'
    server = reloading(conf('"path", "method"'))
    clients = [connect(server) for _ in range(6)]
    mine = {"agent": clients[0].agent} if agent_label else {}
    all_of = 1 if agent_label else len(clients)
    for client in clients:
        client.send(*({"C": {"value": value, "labels": labels}} for value, labels in (
            (1, {}), (10, {"path": "/a"}), (100, {"path": "/a", "method": "GET"}),
            (1000, {"path": "/b", "method": "GET"})))).ping()
    server.applies(conf('"method"'))
    scrape = server.scrape()
    assert scrape.value("C_total", **mine, method="GET") == 1100 * all_of
    assert scrape.total("C_total") == 1111 * 6
    assert scrape.value("rasad_series", metric="C") == 2 * (6 if agent_label else 1)
    server.applies(conf('"status", "method"'))
    for client in clients:
        client.send({"C": {"value": 5, "labels": {"method": "GET"}}}).ping()
        client.send({"C": {"value": 7, "labels": {"method": "GET", "status": "200"}}}).ping()
    scrape = server.scrape()
    assert scrape.value("C_total", **mine, method="GET") == 1105 * all_of
    assert scrape.value("C_total", **mine, method="GET", status="200") == 7 * all_of
    server.applies(conf(""))
    assert scrape.total("C_total") == server.scrape().total("C_total") == 1123 * 6
    assert server.scrape().value("rasad_series", metric="C") == (6 if agent_label else 1)
    server.applies(head)
    assert not server.scrape().series("rasad_series")


def test_an_option_that_shapes_states_begins_them_anew(reloading, connect):
    server = reloading('metric "H" { plugin = "histogram"  buckets = { 1, 10 } }')
    client = connect(server).send({"H": 5})
    client.ping()
    created = server.scrape().value("H_created", agent=client.agent)
    log = server.applies('metric "H" { plugin = "histogram"  buckets = { 1, 20 } }')
    assert re.search(r'info restarted metric=H detail="buckets changed"', log)
    assert not server.scrape().series("H_count")
    client.send({"H": 5}).ping()
    scrape = server.scrape()
    assert scrape.value("H_count", agent=client.agent) == 1
    assert scrape.value("H_created", agent=client.agent) > created
    assert scrape.value("rasad_samples_total", metric="H") == 2, "the server's own counters go on"


def test_another_plugin_begins_the_metric_anew(reloading, connect):
    server = reloading('metric "X" { plugin = "counter" }')
    client = connect(server).send({"X": 5})
    client.ping()
    log = server.applies('metric "X" { plugin = "gauge" }')
    assert re.search(r'info restarted metric=X detail="plugin counter → gauge"', log)
    client.send({"X": 7}).ping()
    scrape = server.scrape()
    assert scrape.families["X"].type == "gauge" and scrape.value("X", agent=client.agent) == 7


def test_a_replaced_plugin_takes_over_and_the_old_one_is_unloaded(reloading, connect):
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    before = server.mapped()
    for build in ("2", "3"):
        server.compile("tally", f'-DBUILD="{build}"')
        log = server.applies()
        assert re.search(r'info kept metric=T detail="new plugin"', log)
        client.send({"T": 1}).ping()
        scrape = server.scrape()
        assert [labels["version"] for labels, _ in scrape.series("rasad_plugin_info")] == [build]
        assert scrape.value("rasad_plugin_leaked_generations") == 0
        assert len(server.mapped()) == len(before) and server.mapped() != before
    assert scrape.value("T_total", agent=client.agent) == 7


@pytest.mark.parametrize("agent_label", ["agent", ""], ids=["each", "merged"])
def test_states_migrate_there_and_back(reloading, connect, agent_label):
    server = reloading(f'threads = 2\nagent_label = "{agent_label}"\n' +
                       'metric "T" { plugin = "tally"  max_series = 3  labels = { "l" } }')
    clients = [connect(server) for _ in range(5)]
    for round_ in range(4):
        for n, client in enumerate(clients):
            client.send({"T": {"value": 5, "labels": {"l": str(n)}}}).ping()
        scrape = server.scrape()
        assert scrape.total("T_total") == 25 * (round_ + 1)
        assert scrape.value("T_total", overflow="true") == 10 * (round_ + 1)
        state = 2 - round_ % 2
        server.compile("tally", f"-DSTATE={state}")
        log = server.applies()
        assert re.search(rf'info migrated metric=T detail="{3 - state} → {state}', log)


def test_a_migration_that_crashes_does_so_elsewhere(reloading, connect):
    server = reloading(TALLY + COUNTER)
    client = connect(server).send({"T": 12345, "C": 1})
    client.ping()
    server.scrape()
    server.compile("tally", "-DSTATE=2", "-DCRASHING_MIGRATE")
    log = server.refuses()
    assert 'metric \\"T\\"' in log and "SIGILL" in log
    client.send({"T": 5, "C": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == 12350
    assert scrape.value("C_total", agent=client.agent) == 2


def test_a_migration_that_fails_leaves_all_as_it_was(reloading, connect):
    server = reloading(TALLY + COUNTER)
    client = connect(server).send({"T": 5, "C": 1})
    client.ping()
    server.compile("tally", "-DSTATE=2", "-DBAD_MIGRATE")
    log = server.refuses(TALLY + GAUGE)
    assert "cannot bring over a state of version 1" in log and 'metric \\"T\\"' in log
    client.send({"T": 5, "C": 1, "G": 1}).ping()
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == 10
    assert scrape.value("C_total", agent=client.agent) == 2
    assert scrape.rejected() == {"unknown_key": 1}
    assert [labels["version"] for labels, _ in scrape.series("rasad_plugin_info", plugin="tally")] == ["1"]
    assert scrape.value("rasad_config_last_reload_successful") == 0
    assert scrape.value("rasad_reloads_total", result="failure") == 1
    assert len(server.mapped()) == 2


def test_without_migrate_states_begin_anew_forwards_and_are_safe_backwards(reloading, connect):
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    server.compile("tally", "-DSTATE=2", "-DNO_MIGRATE")
    log = server.applies()
    assert re.search(r"info restarted metric=T detail=\"state version 1 → 2, and the plugin has no migrate", log)
    client.send({"T": 3}).ping()
    server.compile("tally", "-DSTATE=1", "-DNO_MIGRATE")
    assert "put the newer plugin back" in server.refuses()
    client.send({"T": 3}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 6


BROKEN = {
    "a misspelt option": (TALLY + 'metric "C" { plugin = "counter"  hlep = "x" }', "hlep"),
    "an unknown plugin": (TALLY + 'metric "C" { plugin = "countr" }', 'did you mean \\"counter\\"'),
    "an open brace": (TALLY + 'metric "C" { plugin = "counter"\n', "never closed"),
    "other threads": ("threads = 3\n" + TALLY, 'threads\\" can\'t change while the server runs'),
    "another agent label": ('agent_label = "host"\n' + TALLY, "needs a restart"),
    "another state_dir": ('state_dir = "/tmp/nowhere"\n' + TALLY, "needs a restart"),
    "a port that is taken": ('listen { address = "127.0.0.1"  port = %d }\n' + TALLY, "in use"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_conf_that_will_not_do_changes_nothing(reloading, connect, what):
    conf, words = BROKEN[what]
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    log = server.refuses(conf.replace("%d", str(server.http)))
    assert words in log and "rasad.conf" in log or "127.0.0.1" in log
    client.send({"T": 5}).ping()
    scrape = server.scrape()
    assert scrape.value("T_total", agent=client.agent) == 10
    assert scrape.value("rasad_config_last_reload_successful") == 0
    server.applies(TALLY)
    assert server.scrape().value("rasad_config_last_reload_successful") == 1


def test_a_plugin_file_that_will_not_do_changes_nothing(reloading, connect):
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    path = server.plugins / "tally.so"
    whole = path.read_bytes()
    for spoil, words in ((lambda: path.write_bytes(whole[:2000]), "cut short"),
                         (lambda: path.write_bytes(b"#!/bin/sh\n"), "no shared object"),
                         (path.unlink, "unknown plugin"),
                         (lambda: (path.write_bytes(whole), path.chmod(0o666)), "writable by others")):
        spoil()
        assert words in server.refuses()
        client.send({"T": 1}).ping()
    path.chmod(0o644)
    server.applies()
    assert server.scrape().value("T_total", agent=client.agent) == 9


def test_a_plugin_that_crashes_or_hangs_while_loading_is_refused(reloading, connect):
    server = reloading(TALLY)
    client = connect(server).send({"T": 5})
    client.ping()
    for body in ("__builtin_trap();", "for (;;);"):
        source = server.plugins / "trap.c"
        source.write_text(f"__attribute__((constructor)) static void trap(void) {{ {body} }}\n")
        server.compile("tally", str(source))
        log = server.refuses()
        assert "tally.so" in log
        client.send({"T": 1}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 7


def test_it_moves_to_other_ports_and_keeps_its_connections(reloading, connect):
    server = reloading(COUNTER)
    client = connect(server).send({"C": 1})
    client.ping()
    old_port, old_http = server.port, server.http
    port, http = free_port(), free_port()
    server.applies(f'listen {{ address = "127.0.0.1"  port = {port} }}\n'
                   f'http {{ address = "127.0.0.1"  port = {http} }}\n' + COUNTER)
    server.server.port, server.server.http = port, http
    client.send({"C": 1}).ping()
    other = connect(server).send({"C": 5})
    other.ping()
    scrape = server.scrape()
    assert scrape.value("C_total", agent=client.agent) == 2
    assert scrape.value("C_total", agent=other.agent) == 5

    def is_closed(old):
        probe = type("", (), {"port": old})
        try:
            Client(probe).close()
        except ConnectionRefusedError:
            return True
        return False
    until(lambda: is_closed(old_port) and is_closed(old_http), "the old ports are closed")


def test_it_opens_up_to_other_hosts_on_the_same_ports(reloading, connect):
    server = reloading(COUNTER)
    client = connect(server).send({"C": 1})
    client.ping()
    for address in ("0.0.0.0", "127.0.0.1"):
        server.applies(f'listen {{ address = "{address}"  port = {server.port} }}\n'
                       f'http {{ address = "{address}"  port = {server.http} }}\n' + COUNTER)
        client.send({"C": 1}).ping()
        connect(server).send({"C": 1}).ping()
    assert server.scrape().total("C_total") == 5


def test_families_of_globs_stay_and_yield_to_plain_metrics(reloading, connect):
    glob = 'metric "in_*" { plugin = "counter" }\n'
    server = reloading(glob)
    client = connect(server).send({"in_a": 1, "in_b": 2, "in_c": 3})
    client.ping()
    server.applies(glob + 'metric "in_b" { plugin = "gauge" }\n')
    client.send({"in_a": 1, "in_b": 2}).ping()
    scrape = server.scrape()
    assert scrape.value("in_a_total", agent=client.agent) == 2
    assert scrape.value("in_b", agent=client.agent) == 2 and "in_b_total" not in scrape.families
    assert scrape.value("in_c_total", agent=client.agent) == 3
    server.applies('metric "in_b" { plugin = "gauge" }\n' + glob)
    client.send({"in_c": 1}).ping()
    assert server.scrape().value("in_c_total", agent=client.agent) == 4
    server.applies('metric "in_b" { plugin = "gauge" }\n')
    assert [labels["metric"] for labels, _ in server.scrape().series("rasad_series")] == ["in_b"]


def test_drop_in_and_out(reloading, connect):
    server = reloading('include("conf.d/*.conf")\n' + COUNTER, compile_first=())
    client = connect(server).send({"C": 1, "T": 1})
    client.ping()
    folder = server.folder / "conf.d"
    folder.mkdir()
    server.compile("tally")
    (folder / "tally.conf").write_text(TALLY)
    server.applies()
    client.send({"T": 7}).ping()
    assert server.scrape().value("T_total", agent=client.agent) == 7
    (folder / "tally.conf").unlink()
    (server.plugins / "tally.so").unlink()
    log = server.applies()
    assert re.search(r"info removed metric=T", log)
    assert [labels["plugin"] for labels, _ in server.scrape().series("rasad_plugin_info")] == ["counter"]
    assert len(server.mapped()) == 1
