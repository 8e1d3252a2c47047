# SPDX-License-Identifier: Apache-2.0
"""installed: a machine's rasad and rasad-agent, as a server that stories ask, break and mend."""
import threading
import time

import harness
import repository
from machine import HOST
from wire import until

CONF = "/etc/rasad/rasad.conf"
STATE = "/var/lib/rasad"
STEADY = 0.02  # s between two messages, or two scrapes, of those who go on all the time


class Installed(harness.Server):
    """Installs both packages; then it is the server at 127.0.0.1:5050 and 8000, as the packages have it."""

    port, http = 5050, 8000
    agent_name = HOST

    def __init__(self, machine, folder, debs):
        self.machine, self.folder, self.debs = machine, folder, debs
        self.since, self.process, self.revisions = None, None, 0
        self.install_log = self.apt("update") + self.install("rasad") + self.install("rasad-agent")
        self.conf = machine.path(CONF).read_text()

    # Packages.

    def apt(self, *arguments):
        """As a person types it, but nobody is there to answer; what it said."""
        return self.machine.run("apt-get", "-y", *arguments).stdout

    def install(self, *names):
        return self.apt("install", "--no-install-recommends", *(f"/repo/{self.debs[name].name}" for name in names))

    def upgrade(self, name="rasad", options=(), change=lambda tree: None):
        """Installs the next revision of a package; what apt said."""
        self.revisions += 1
        deb = repository.next_revision(self.debs[name], self.folder, f"+next{self.revisions}", change)
        self.debs = self.debs | {name: deb}  # what the one after it is made of
        said = self.apt("install", *options, f"/repo/{deb.name}")
        assert self.machine.says("dpkg-query", "-W", "-f=${Version}", name).endswith(f"+next{self.revisions}"), said
        return said

    def status(self, name="rasad"):
        return self.machine.says("dpkg-query", "-W", "-f=${Status}", name)

    # Services.

    def systemctl(self, *arguments, check=True):
        return self.machine.run("systemctl", *arguments, check=check)

    def show(self, what, unit="rasad"):
        return self.machine.says("systemctl", "show", "--value", "-p", what, unit)

    def is_active(self, unit="rasad"):
        return self.show("ActiveState", unit) == "active"

    def main_pid(self, unit="rasad"):
        """The main process's id inside the machine."""
        return int(self.show("MainPID", unit))

    def stored(self):
        """How many descriptors systemd keeps for the server."""
        return int(self.show("NFileDescriptorStore"))

    def kill(self, signal):
        self.systemctl("kill", "--kill-whom=main", f"--signal={signal}", "rasad")

    def wait_other_process(self, pid):
        """Until another process than this is the server, and ready."""
        until(lambda: self.is_active() and self.main_pid() not in (0, pid), "systemd has started it again", 60)

    def logged(self, unit="rasad"):
        """What a service has said since the test began."""
        return self.machine.journal(unit, self.since)

    # The conf.

    def write_conf(self, text):
        self.machine.path(CONF).write_text(text)

    def add_metric(self, key):
        self.write_conf(self.conf + f'metric "{key}" {{ plugin = "counter" }}\n')

    def mend(self):
        """Back to the conf as it was installed and a server that runs with it, if there is one."""
        if not self.machine.path(CONF).exists() or self.status() != "install ok installed":
            return
        changed = self.machine.path(CONF).read_text() != self.conf
        if changed:
            self.write_conf(self.conf)
        if changed or not self.is_active():
            self.systemctl("restart", "rasad")


class Meanwhile:
    """Something that is done again and again beside what a test does.

        with Meanwhile(scrape):
            server.restart()
    """

    def __init__(self, action):
        self.action, self.over, self.failure = action, threading.Event(), None
        self.thread = threading.Thread(target=self.go_on, daemon=True)

    def go_on(self):
        try:
            while not self.over.wait(STEADY):
                self.action()
        except BaseException as error:  # told to whoever waits
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "what goes on beside the test hangs"
        if self.failure:
            raise self.failure


class Watch:
    """Scrapes, and says of each counter that became less, but for those of the server's process."""

    def __init__(self, server):
        self.server, self.last, self.fallen, self.scrapes = server, {}, [], 0

    def look(self):
        try:
            scrape = self.server.scrape()
        except OSError:  # no server at this moment
            return
        except Exception as error:
            if type(error).__module__ == "http.client":
                return
            raise
        self.scrapes += 1
        for family in scrape.families.values():
            if family.type != "counter" or family.name.startswith(("rasad_", "process_")):
                continue
            for name, labels, value in family.samples:
                series = (name, frozenset(labels.items()))
                if value < self.last.get(series, 0):
                    self.fallen.append(f"{name}{labels} fell from {self.last[series]} to {value}")
                self.last[series] = value
