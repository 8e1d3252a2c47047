# SPDX-License-Identifier: Apache-2.0
"""machine: a throw-away Debian with a systemd of its own, booted in a container.

    with Machine(base_system("bookworm"), binds={"/repo": folder}) as machine:
        machine.run("apt-get", "install", "-y", "/repo/rasad.deb")
        with machine.network():
            urllib.request.urlopen("http://127.0.0.1:8000/metrics")

A machine is a layer of memory over a base system that is made once a release and kept in
build/machines. It has a network of its own with nothing but a loopback. What it consists of is seen
by this process alone (mounts) or is in a control group of its own (processes): when the process ends,
however it ends, the mounts are gone and the machine powers itself off.
"""
import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chroot"))
import debian  # noqa: E402
from debian import Unable  # noqa: E402

CACHE = ROOT / "build/machines"
PREFIX = "rasad-test-"
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
POWER_OFF = signal.SIGRTMIN + 4  # what systemd as process 1 takes for an order to power off
BOOT_S = 60
UP = ("running", "degraded")
CONTAINER = ("--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
             "--link-journal=no")
HOST = "test-bed"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LC_ALL": "C.UTF-8"}
libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count()


def base_system(release, more=()):
    """The folder of a release's base system, made if it is not there."""
    debian.need("debootstrap", "systemd-nspawn=systemd-container", "nsenter=util-linux")
    name = "-".join([release, *more])
    kept = CACHE / name
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=CACHE, prefix=f"{name}."))
        try:
            debian.bootstrap(fresh, release, ["systemd", "systemd-sysv", *more])
            fresh.chmod(0o755)
            fresh.rename(kept)
        finally:
            if fresh.exists():
                debian.remove(fresh)
    return kept


def own_name():
    """A name for what belongs to this process, by which sweep() knows it."""
    return f"{PREFIX}{os.getpid()}-{next(numbers)}"


def sweep(folder):
    """Removes the empty folders that killed processes have left."""
    for left in folder.glob(f"{PREFIX}*"):
        if not Path("/proc", left.name.split("-")[-2]).exists():
            remove_empty(left)


def remove_empty(folder):
    for path, _, _ in os.walk(folder, topdown=False):
        os.rmdir(path)


@contextlib.contextmanager
def layer(base):
    """A folder with the base system, to be written to: what is written lies in memory, and is gone in the end."""
    CACHE.mkdir(parents=True, exist_ok=True)
    sweep(CACHE)
    place = CACHE / own_name()
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", place], check=True)
        for folder in ("upper", "work", "root"):
            (place / folder).mkdir()
        options = f"lowerdir={base},upperdir={place}/upper,workdir={place}/work"
        if subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", place / "root"],
                          check=False).returncode != 0:
            raise Unable("no overlay file system here")
        yield place / "root"
    finally:
        # Lazy, since a process that is about to end may still be in it.
        subprocess.run(["umount", "--recursive", "--lazy", place], check=False)
        place.rmdir()


class Group:
    """A control group for all processes of a machine, so that one write ends them for sure."""

    def __init__(self):
        roots = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
                 if line.split()[2] == "cgroup2"]
        if not roots:
            raise Unable("no control groups of version 2 here")
        # systemd makes a group of the same name in its hierarchy of version 1, where there is one.
        hierarchies = [Path(roots[0]), Path("/sys/fs/cgroup/systemd")]
        name = own_name()
        self.folders = [hierarchy / name for hierarchy in hierarchies]
        for hierarchy in hierarchies:
            sweep(hierarchy)
        try:
            self.folders[0].mkdir()
        except OSError as error:
            raise Unable(f"no control group of its own: {error}") from None

    def enter(self):
        (self.folders[0] / "cgroup.procs").write_text(str(os.getpid()))

    def end(self):
        (self.folders[0] / "cgroup.kill").write_text("1")
        events = self.folders[0] / "cgroup.events"
        while "populated 1" in events.read_text():
            time.sleep(0.01)
        for folder in self.folders:
            remove_empty(folder)


class Machine:
    """A running Debian. Paths that begin with / are the machine's own."""

    def __init__(self, base, binds=None):
        self.base, self.binds = base, binds or {}
        self.leader = None  # the process that is number 1 in the machine
        self.log = ""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.root = stack.enter_context(layer(self.base))
            self.group = Group()
            stack.callback(self.group.end)
            self.console = stack.enter_context(tempfile.TemporaryFile())
            (self.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
            (self.root / "etc/hostname").write_text(f"{HOST}\n")
            (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {HOST}\n")
            self.boot()
            stack.callback(self.power_off)
            self.wait_running()
            self.loopback_up()
            self.ending = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.ending.close()

    def boot(self):
        def prepare():
            # An orderly end when this process is gone, whatever ended it.
            libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
            self.group.enter()

        binds = [f"--bind-ro={source}:{target}" for target, source in self.binds.items()]
        self.container = subprocess.Popen(
            ["systemd-nspawn", *CONTAINER, *binds, "-D", self.root], stdin=subprocess.DEVNULL,
            stdout=self.console, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=prepare,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})

    def wait_running(self):
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end:
            if self.container.poll() is not None:
                raise Unable(f"systemd-nspawn was refused: {self.said()}")
            self.leader = self.find_leader()
            # It is process 1 some moments before it has its own mounts, where nothing can be run.
            if self.leader and self.run("systemctl", "is-system-running", check=False).stdout.strip() in UP:
                return
            time.sleep(0.05)
        raise AssertionError(f"the machine didn't come up in {BOOT_S} s:\n{self.said()}\n{self.log[-2000:]}")

    def said(self):
        """What came to its console."""
        self.console.seek(0)
        return self.console.read().decode(errors="replace").strip()

    def find_leader(self):
        """The container's child that is process 1 of others; there are helpers beside it at first."""
        pid = self.container.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if re.search(r"^NSpid:.*\t1$", Path(f"/proc/{child}/status").read_text(), re.M):
                    return int(child)
        return None

    def power_off(self):
        if self.container.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self.leader or self.container.pid, POWER_OFF if self.leader else signal.SIGTERM)
        try:
            self.container.wait(30)
        except subprocess.TimeoutExpired:
            self.container.kill()
            self.container.wait()

    # What is done in it.

    def run(self, *command, check=True, **options):
        """Runs a command in the machine; what it says, errors among it, is the result's stdout."""
        result = subprocess.run(
            ["nsenter", "-t", str(self.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
             *(str(word) for word in command)],
            stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=ENVIRONMENT | options.pop("env", {}), check=False, timeout=options.pop("timeout", 120), **options)
        self.log += f"$ {' '.join(str(word) for word in command)}\n{result.stdout}"
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))} failed with {result.returncode}:\n{result.stdout}")
        return result

    def says(self, *command):
        """What a command says, blanks around it left out; it must not fail."""
        return self.run(*command).stdout.strip()

    def cursor(self):
        """This moment, for journal()."""
        return self.says("journalctl", "--quiet", "--lines=1", "--show-cursor").rpartition("-- cursor: ")[2]

    def journal(self, unit, since=None):
        """What a unit, and systemd about it, has logged since a moment."""
        after = [f"--after-cursor={since}"] if since else []
        return self.says("journalctl", "--quiet", "--output=cat", "--unit", unit, *after)

    def path(self, inside):
        """A path in the machine as one that can be opened from here."""
        return Path(f"/proc/{self.leader}/root{inside}")

    @contextlib.contextmanager
    def network(self):
        """Sockets that are made within are the machine's, and stay so."""
        with open("/proc/self/ns/net", "rb") as ours, open(f"/proc/{self.leader}/ns/net", "rb") as its:
            enter_network(its)
            try:
                yield
            finally:
                enter_network(ours)

    def loopback_up(self):
        with self.network(), socket.socket() as probe:
            flags = struct.unpack("16sh", fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))[1]
            fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def enter_network(namespace):
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
