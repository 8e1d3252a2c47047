# SPDX-License-Identifier: Apache-2.0
"""The stories of packages: built debs in a real Debian with systemd.

RASAD_PACKAGES names the folder of the debs (default: build/packages/bookworm), whose name is the release.
Wants root, debootstrap, systemd-container, apt-utils and, the first time, a mirror of Debian. Where
one of these is missing nothing is tried, and the exit code is 77.
"""
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/packages"), str(ROOT / "tests/chroot"), str(ROOT / "tests/system")]
import debian  # noqa: E402
import repository  # noqa: E402
from installed import Installed  # noqa: E402
from machine import Machine, base_system  # noqa: E402
from wire import Client  # noqa: E402

PACKAGES = Path(os.environ.get("RASAD_PACKAGES", ROOT / "build/packages/bookworm")).resolve()
SKIPPED = 77


def end_on_signal(*_):
    raise KeyboardInterrupt


@contextlib.contextmanager
def skipping():
    """Ends all where it can't be tried."""
    try:
        yield
    except debian.Unable as why:
        pytest.exit(f"SKIPPED: packages were not tried in a booted {PACKAGES.name}: {why}", returncode=SKIPPED)


@pytest.fixture(scope="session")
def debs():
    """Name → file of the packages that are tried."""
    found = {repository.field(deb, "Package"): deb for deb in sorted(PACKAGES.glob("*.deb"))}
    if "rasad" not in found:
        pytest.exit(f"no rasad_*.deb in {PACKAGES} (build them, or set RASAD_PACKAGES)", returncode=1)
    return {name: deb for name, deb in found.items() if not name.endswith("-dbgsym")}


@pytest.fixture(scope="session")
def session_host(debs):
    """A machine with the packages rasad and rasad-agent as apt installs them."""
    signal.signal(signal.SIGTERM, end_on_signal)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        with skipping():
            debian.own_mounts()
            base = base_system(PACKAGES.name)
            repository.fill(folder, base, debs.values())
            machine = stack.enter_context(Machine(base, binds={"/repo": folder}))
        stack.enter_context(machine.network())
        yield Installed(machine, folder, debs)


@pytest.fixture
def host(session_host):
    """That machine, with the conf as it was installed and the server running, before the test and after."""
    session_host.machine.log = ""
    session_host.since = session_host.machine.cursor()
    yield session_host
    session_host.mend()


@pytest.fixture
def connect(host):
    """connect(): a connection to the server; all are closed in the end."""
    clients = []

    def start():
        clients.append(Client(host))
        return clients[-1]
    yield start
    for client in clients:
        client.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what was done in the machine, and what the services said."""
    outcome = yield
    report = outcome.get_result()
    host = item.funcargs.get("host")
    if report.failed and host:
        journal = host.machine.journal("rasad*", host.since)
        report.sections += [("in the machine", host.machine.log[-20000:]), ("journal", journal[-20000:])]
