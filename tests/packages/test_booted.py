# SPDX-License-Identifier: Apache-2.0
"""What people live through with the packages: install, edit, reload, restart, upgrade, plugins, removal.

All happens in one machine, and each story leaves it as it found it; the last ones remove the packages.
"""
import re
import shutil
import stat
import subprocess

import pytest

import repository
from installed import CONF, STATE, Meanwhile, Watch
from machine import ROOT
from wire import chain, until

SCORE = 15  # the exposure that systemd may see at most, times ten
STREAM = "00112233445566778899aabbccddeeff"
UNITS = ("rasad", "rasad-agent")


def press(times=1):
    return [b'{"A_Pressed": "a"}\n'] * times


# ---- Installation ---------------------------------------------------------------------------


def test_an_installation_asks_nothing_and_both_services_run(host):
    # Nobody was there to answer (see Installed).
    assert "onfiguration file" not in host.install_log
    for unit in UNITS:
        assert host.is_active(unit)
        assert host.status(unit) == "install ok installed"
        assert host.machine.says("systemctl", "is-enabled", unit) == "enabled"


def test_what_was_installed_is_what_the_packages_have(host):
    for package in UNITS:
        assert host.machine.says("dpkg", "--verify", package) == ""


def test_the_server_is_its_own_user_and_its_state_is_nobody_elses(host):
    user = int(host.machine.says("id", "-u", "_rasad"))
    assert host.machine.path(f"/proc/{host.main_pid()}").stat().st_uid == user
    for folder in (STATE, "/run/rasad"):
        status = host.machine.path(folder).stat()
        assert status.st_uid == user, folder
        assert stat.S_IMODE(status.st_mode) & 0o007 == 0, folder
    until(lambda: list(host.machine.path(STATE).iterdir()), "there is state on disk")


@pytest.mark.parametrize("unit", UNITS)
def test_the_sandbox_is_as_tight_as_it_was_measured(host, unit):
    host.machine.run("systemd-analyze", "security", f"--threshold={SCORE}", f"{unit}.service")


def test_systemd_finds_nothing_to_say_about_the_units(host):
    files = [f"{unit}.service" for unit in UNITS] + ["rasad-ingest.socket", "rasad-http.socket"]
    # No man pages: there is no man in a minimal system to look for them.
    assert host.machine.says("systemd-analyze", "verify", "--man=no", *files) == ""


def test_the_agents_metrics_are_there_within_seconds(host):
    for metric in ("CPU_Utilization", "A_Pressed_total", "rtt_seconds_count"):
        host.wait_for(metric, agent=host.agent_name, deadline_s=10)
    response, body = host.request("/")
    assert response.status == 200 and b"<html" in body.lower()
    for unit in UNITS:
        assert host.show("NRestarts", unit) == "0"


def test_an_isolated_plugin_runs_under_the_sandbox(host, connect):
    host.write_conf(host.conf + 'metric "Apart" { plugin = "counter"  isolate = true }\n')
    host.systemctl("reload", "rasad")
    client = connect()
    client.send({"Apart": 2}, {"Apart": 3}).ping()
    host.wait_for("Apart_total", equals=5, agent=client.agent)


@pytest.mark.parametrize("name", ("disks", "jit", "raw-sockets"))
def test_a_grant_of_the_examples_is_given_as_it_says(host, name):
    text = host.machine.path(f"/usr/share/doc/rasad/examples/{name}.conf").read_text()
    commands = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    assert len(commands) == 2
    try:
        for command in commands:
            host.machine.run("sh", "-ec", command)
        assert host.is_active() and f"{name}.conf" in host.show("DropInPaths")
        assert host.machine.says("systemd-analyze", "verify", "--man=no", "rasad.service") == ""
    finally:
        shutil.rmtree(host.machine.path("/etc/systemd/system/rasad.service.d"))
        host.systemctl("daemon-reload")
        host.systemctl("restart", "rasad")


# ---- The conf -------------------------------------------------------------------------------


def test_a_reload_takes_a_new_metric_up(host, connect):
    host.add_metric("Fresh")
    host.systemctl("reload", "rasad")
    client = connect()
    client.send({"Fresh": 3}).ping()
    host.wait_for("Fresh_total", equals=3, agent=client.agent, deadline_s=2)


def test_a_bad_conf_is_refused_by_a_reload_and_the_old_one_goes_on(host, connect):
    client, pid = connect(), host.main_pid()
    host.write_conf(host.conf + 'metric "Broken" { plugin = "guage" }\n')
    line = host.conf.count("\n") + 1
    result = host.systemctl("reload", "rasad", check=False)
    assert result.returncode != 0
    assert re.search(rf'rasad\.conf:{line}: .*"guage"', result.stdout + host.logged())
    assert host.is_active() and host.main_pid() == pid
    client.send(*press(7)).ping()
    host.wait_for("A_Pressed_total", equals=7, agent=client.agent)


def test_a_bad_conf_fails_a_restart_with_its_line_and_costs_no_count(host, connect):
    client = connect()
    client.send(*press(9)).ping()
    host.wait_for("A_Pressed_total", equals=9, agent=client.agent)
    host.write_conf(host.conf + "metric {\n")
    assert host.systemctl("restart", "rasad", check=False).returncode != 0
    assert re.search(r"rasad\.conf:\d+: ", host.logged())
    assert host.show("ActiveState") == "failed"
    host.write_conf(host.conf)
    host.systemctl("restart", "rasad")
    host.wait_for("A_Pressed_total", equals=9, agent=client.agent)


# ---- Connections ----------------------------------------------------------------------------


class Pushers:
    """Two senders that keep to one connection each, whatever happens: a named one with a stream, and a
    plain one of no name. Numbers are what each has sent."""

    def __init__(self, connect, agent):
        self.named, self.plain, self.sent, self.name = connect(), connect(), 0, agent
        self.hello()

    def hello(self, **more):
        return self.named.hello(self.name, STREAM, instance=STREAM, first=1, chain=chain([]), **more)

    def push(self, times=1):
        self.named.send(*press(times))
        self.plain.send(*press(times))
        self.sent += times

    def wait_acked(self):
        """Until all is acknowledged; what the server asks to be sent again is."""
        while True:
            reply = self.named.read()
            assert reply is not None, "the connection was closed"
            if "@again" in reply:
                welcome = self.hello(again=reply["@again"])
                self.named.send(*press(self.sent - welcome["applied"]))
            if reply.get("@ack") == self.sent:
                return

    def all_there(self, host):
        """Both connections live, and exactly what was sent on them is counted."""
        self.wait_acked()
        self.plain.ping()
        host.wait_for("A_Pressed_total", equals=self.sent, agent=self.name)
        host.wait_for("A_Pressed_total", equals=self.sent, agent=self.plain.agent)


def live_through(host, connect, what, name, suddenly=False):
    """Connections and counts live through what `what` does with the senders meanwhile; suddenly: so that
    the server can hand nothing over."""
    stored, pid = host.stored(), host.main_pid()
    pushers, watch = Pushers(connect, name), Watch(host)
    pushers.push(100)
    pushers.all_there(host)
    if suddenly:
        until(lambda: host.stored() >= stored + 2, "systemd has both connections in its store", 5)
    with Meanwhile(watch.look):
        what(pushers)
        host.wait_other_process(pid)
        pushers.push(100)
        pushers.all_there(host)
    assert watch.fallen == [] and watch.scrapes > 2
    # The agent's own lived, too.
    assert "connection lost" not in host.logged("rasad-agent")


def test_connections_live_through_a_restart(host, connect):
    def restart(pushers):
        with Meanwhile(pushers.push):
            host.systemctl("restart", "rasad")
    live_through(host, connect, restart, "restarted")


def test_connections_live_through_an_upgrade(host, connect):
    def upgrade(pushers):
        with Meanwhile(pushers.push):
            host.upgrade()
    live_through(host, connect, upgrade, "upgraded")


def test_connections_live_through_kill_9(host, connect):
    def kill(pushers):
        host.kill("KILL")
        pushers.push(50)
    live_through(host, connect, kill, "killed", suddenly=True)


def test_connections_live_through_a_watchdogs_kill(host, connect):
    def hang(pushers):
        host.kill("STOP")
        pushers.push(50)

    folder = host.machine.path("/run/systemd/system/rasad.service.d")
    folder.mkdir(parents=True)
    (folder / "patience.conf").write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    try:
        host.systemctl("daemon-reload")
        host.systemctl("restart", "rasad")  # the program hears of the time when it starts
        host.since = host.machine.cursor()
        live_through(host, connect, hang, "hung", suddenly=True)
        assert "atchdog timeout" in host.logged()
    finally:
        shutil.rmtree(folder)
        host.systemctl("daemon-reload")
        host.systemctl("restart", "rasad")


# ---- Plugins --------------------------------------------------------------------------------


def plugin_of(deb, folder):
    """The shared object of a plugin's package."""
    subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
    return next(folder.glob("usr/lib/*/rasad/plugins/*.so"))


@pytest.fixture
def local_plugins(host):
    """The administrator's folder of plugins."""
    folder = host.machine.path("/usr/local/lib/rasad/plugins")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    host.mend()
    shutil.rmtree(folder)


@pytest.fixture
def peak(host):
    """The package of the example plugin, as installed; it is purged in the end."""
    host.install("rasad-plugin-peak")
    yield
    host.apt("purge", "rasad-plugin-peak")


def test_a_plugins_package_makes_its_metric_live_and_takes_it_away(host, connect, peak):
    client, pid = connect(), host.main_pid()
    until(lambda: "info reloaded" in host.logged(), "the server has taken the plugin up", 1)
    client.send({"Peak": 3}, {"Peak": 8}, {"Peak": 5}).ping()
    host.wait_for("Peak", equals=8, agent=client.agent)
    host.apt("remove", "rasad-plugin-peak")
    until(lambda: "Peak" not in host.scrape().families, "the metric is gone", 5)
    client.send(*press(2)).ping()
    host.wait_for("A_Pressed_total", equals=2, agent=client.agent)
    assert host.is_active() and host.main_pid() == pid
    host.systemctl("restart", "rasad")
    host.install("rasad-plugin-peak")
    host.wait_for("Peak", equals=8, agent=client.agent)
    host.apt("purge", "rasad-plugin-peak")
    assert not list(host.machine.path("/etc/rasad/conf.d").glob("peak*"))
    host.systemctl("restart", "rasad")


def test_apt_refuses_a_plugin_of_another_abi(host):
    deb = repository.made(host.folder, "rasad-plugin-later", depends="rasad-plugin-abi-2")
    result = host.machine.run("apt-get", "-y", "install", f"/repo/{deb.name}", check=False)
    assert result.returncode != 0 and "rasad-plugin-abi-2" in result.stdout
    assert host.is_active()


def test_the_server_refuses_a_plugin_of_another_abi_and_goes_on(host, connect, local_plugins, tmp_path):
    code = plugin_of(host.debs["rasad-plugin-peak"], tmp_path).read_bytes()
    magic, abi = head_of_plugin()
    head = magic + abi.to_bytes(4, "little")
    assert code.count(head) == 1
    (local_plugins / "later.so").write_bytes(code.replace(head, magic + (abi + 1).to_bytes(4, "little")))
    client, pid = connect(), host.main_pid()
    host.write_conf(host.conf + 'metric "Later" { plugin = "later" }\n')
    result = host.systemctl("reload", "rasad", check=False)
    assert result.returncode != 0
    assert re.search(rf"later.*ABI {abi + 1}\b", result.stdout + host.logged())
    client.send(*press(4)).ping()
    host.wait_for("A_Pressed_total", equals=4, agent=client.agent)
    assert host.main_pid() == pid


def head_of_plugin():
    """(magic, ABI number) that begin each plugin's struct."""
    text = (ROOT / "core/include/rasad/plugin.h").read_text()
    magic = int(re.search(r"^#define RASAD_MAGIC UINT32_C\((\w+)\)", text, re.M)[1], 16)
    return magic.to_bytes(4, "little"), int(re.search(r"^#define RASAD_ABI (\d+)", text, re.M)[1])


def test_an_administrators_plugin_loads_from_a_sealed_copy(host, connect, local_plugins, tmp_path):
    shutil.copy(plugin_of(host.debs["rasad-plugin-peak"], tmp_path), local_plugins / "peak.so")
    host.write_conf(host.conf + 'metric "Mine" { plugin = "peak" }\n')
    host.systemctl("reload", "rasad")
    client = connect()
    client.send({"Mine": 4}).ping()
    host.wait_for("Mine", equals=4, agent=client.agent)
    maps = host.machine.path(f"/proc/{host.main_pid()}/maps").read_text().splitlines()
    # Code of plugins: in memory, read-only; nothing of the folders that can be written to.
    code = [line for line in maps if "x" in line.split()[1]]
    assert [line for line in code if "/memfd:peak" in line]
    assert not [line for line in maps if "/rasad/plugins/" in line]
    assert not [line for line in code if "w" in line.split()[1]]


# ---- Upgrades -------------------------------------------------------------------------------


def test_an_upgrade_keeps_an_edited_conf_and_all_counts(host, connect):
    client = connect()
    client.send(*press(5)).ping()
    host.wait_for("A_Pressed_total", equals=5, agent=client.agent)
    edited = host.conf + "# edited\n"
    host.write_conf(edited)
    said = host.upgrade()
    assert "conffile" not in said.lower() and "onfiguration file" not in said
    assert host.machine.path(CONF).read_text() == edited
    host.wait_for("A_Pressed_total", equals=5, agent=client.agent)


def test_where_both_have_changed_the_conf_dpkg_can_keep_the_edited_one(host):
    # It asks, or does what it was told to do.
    edited = host.conf + "# edited\n"
    host.write_conf(edited)

    def other_conf(tree):
        (tree / CONF.lstrip("/")).write_text(host.conf + "# as shipped later\n")

    host.upgrade(options=["-o", "Dpkg::Options::=--force-confold"], change=other_conf)
    assert host.machine.path(CONF).read_text() == edited
    assert host.is_active()


def test_an_upgrade_with_a_broken_conf_still_ends_and_says_what_to_do(host, connect):
    client = connect()
    client.send(*press(6)).ping()
    host.wait_for("A_Pressed_total", equals=6, agent=client.agent)
    host.write_conf(host.conf + "metric {\n")
    said = host.upgrade()
    assert host.status() == "install ok installed"
    assert re.search(r"rasad\.conf:\d+: ", said) and "systemctl restart rasad" in said
    host.write_conf(host.conf)
    host.systemctl("restart", "rasad")
    host.wait_for("A_Pressed_total", equals=6, agent=client.agent)


# ---- Sockets --------------------------------------------------------------------------------


def test_the_sockets_of_systemd_are_taken_when_they_are_enabled(host, connect):
    sockets = ("rasad-ingest.socket", "rasad-http.socket")
    for unit in sockets:
        assert host.machine.run("systemctl", "is-enabled", unit, check=False).stdout.strip() == "disabled"
    # As README.Debian has it, for another port.
    folder = host.machine.path("/etc/systemd/system/rasad-http.socket.d")
    folder.mkdir()
    (folder / "port.conf").write_text("[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n")
    host.systemctl("daemon-reload")
    host.systemctl("stop", "rasad")
    try:
        host.systemctl("enable", "--now", *sockets)
        assert not host.is_active()
        host.http = 80
        client = connect()  # it is this that starts it
        client.send(*press(3)).ping()
        host.wait_for("A_Pressed_total", equals=3, agent=client.agent)
        listening = {line.split()[9] for line in
                     host.machine.says("cat", "/proc/net/tcp").splitlines()[1:] if line.split()[3] == "0A"}
        ours = {link[len("socket:["):-1] for link in descriptors(host, host.main_pid()) if link.startswith("socket:")}
        systemds = {link[len("socket:["):-1] for link in descriptors(host, 1) if link.startswith("socket:")}
        assert len(listening) == 2 and listening <= ours and listening <= systemds
    finally:
        host.http = type(host).http
        shutil.rmtree(folder)
        host.systemctl("daemon-reload")
        host.systemctl("disable", "--now", *sockets, check=False)
        host.systemctl("restart", *UNITS)


def descriptors(host, pid):
    return host.machine.says("sh", "-c", f"readlink /proc/{pid}/fd/*").splitlines()


# ---- Removal; from here on the packages are gone ---------------------------------------------


def test_remove_stops_the_server_and_keeps_conf_and_state(host):
    sockets = ("rasad-ingest.socket", "rasad-http.socket")
    host.systemctl("stop", "rasad")
    host.systemctl("start", *sockets, "rasad")
    host.apt("remove", *UNITS)
    for unit in (*UNITS, *sockets):
        assert not host.is_active(unit)
    for kept in (CONF, STATE, "/etc/rasad/agent.conf", "/var/lib/private/rasad-agent"):
        assert host.machine.path(kept).exists(), kept


def test_purge_leaves_nothing_but_the_account(host):
    said = host.apt("purge", *UNITS)
    assert "not empty" not in said
    host.machine.run("id", "_rasad")
    left = host.machine.says("find", "/etc", "/var", "/run", "/usr", "-xdev", "-name", "*rasad*",
                             "-not", "-path", "/run/host/*", "-not", "-path", "/usr/local/*")
    allowed = {"/var/lib/dpkg", "/var/lib/systemd/deb-systemd"}
    assert [path for path in left.splitlines() if not any(path.startswith(folder) for folder in allowed)] == []


def test_server_and_plugin_come_and_go_in_one_command(host, connect):
    said = host.apt("install", "--no-install-recommends",
                    *(f"/repo/{host.debs[name].name}" for name in ("rasad-plugin-peak", "rasad")))
    assert host.is_active(), said
    client = connect()
    client.send({"Peak": 3}, {"Peak": 8}).ping()
    host.wait_for("Peak", equals=8, agent=client.agent)
    host.apt("purge", "rasad", "rasad-plugin-peak")
    assert not host.machine.path("/etc/rasad").exists() and not host.machine.path(STATE).exists()


def test_a_plugin_brings_a_server_up_that_could_not_start_without_it(host, connect):
    host.install("rasad")
    host.machine.path("/etc/rasad/conf.d/mine.conf").write_text('metric "Mine" { plugin = "peak" }\n')
    assert host.systemctl("restart", "rasad", check=False).returncode != 0
    host.install("rasad-plugin-peak")
    until(host.is_active, "the server runs", 10)
    client = connect()
    client.send({"Mine": 4}).ping()
    host.wait_for("Mine", equals=4, agent=client.agent)
