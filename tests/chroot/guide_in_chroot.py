#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/plugin-guide.md followed to the letter by an ordinary user of a fresh Debian that has nothing
but an installed Rasad, gcc and sudo: default folders, default ports. Wants root, debootstrap and a
mirror of Debian, else it skips with exit code 77. The fresh system is kept in BUILD/chroot.
Usage: guide_in_chroot.py BUILD CMAKE"""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import debian  # noqa: E402
import guide  # noqa: E402
from debian import output, run  # noqa: E402

SKIP = 77
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
BOUND = ("proc", "dev")  # what it has of the kernel
PROGRAMS = ("sbin/rasadd", "bin/rasadctl", "bin/rasad-agent", "libexec/rasad/rasad-worker")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/sbin", "HOME": "/home/reader",
               "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def skip(why):
    print(f"SKIPPED: the guide was not tried in a fresh Debian: {why}", flush=True)
    sys.exit(SKIP)


def fresh_system(cache):
    """A file with a Debian and gcc, made if it is not there."""
    codename, _ = debian.this_release()
    kept = cache / f"{codename}.tar"
    if kept.exists():
        return kept
    with tempfile.TemporaryDirectory(dir=cache) as name:
        debian.bootstrap(Path(name), codename, ["gcc", "libc6-dev", "sudo"])
        run("tar", "-C", name, "--one-file-system", *(f"--exclude=./{folder}/*" for folder in (*BOUND, "sys")),
            "-cf", f"{kept}.new", ".")
        Path(f"{kept}.new").rename(kept)
    return kept


def packages_of(build):
    """The packages whose libraries the programs are linked with."""
    libraries = set()
    for program in PROGRAMS:
        libraries |= set(re.findall(r"=> (/\S+)", output("ldd", str(build / program))))
    # dpkg may know /usr/lib/X by its older name, /lib/X.
    paths = (str(Path(library).resolve()).removeprefix("/usr") for library in libraries)
    found = output("dpkg-query", "-S", *(f"*{path}" for path in paths))
    return sorted({line.split(":")[0] for line in found.splitlines()})


def prepare(root, build, cmake, kept):
    run("tar", "-C", root, "-xf", kept)
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/sudoers.d/reader").write_text("reader ALL=(ALL) NOPASSWD: ALL\n")
    root.chmod(0o755)
    for folder in BOUND:
        run("mount", "--rbind", f"/{folder}", root / folder)
    in_root = ("chroot", root)
    run(*in_root, "useradd", "-m", "reader", env=ENVIRONMENT)
    try:
        run(*in_root, "apt-get", "update", "-qq", env=ENVIRONMENT)
        run(*in_root, "apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages_of(build),
            env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        skip("the packages of our libraries could not be installed (is the mirror within reach?)")
    run(cmake, "--install", build, "--prefix", root / "usr/local", stdout=subprocess.DEVNULL)
    # A package has its conf there; this tree has it under its own prefix.
    (root / "etc/rasad").symlink_to("/usr/local/etc/rasad")
    for folder in ("run/rasad", "var/lib/rasad"):
        (root / folder).mkdir(parents=True)


def own_network():
    """From here on this process has a network of its own, with nothing but its loopback, so that the
    guide's ports are free."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        skip(f"no network of its own: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as probe:
        flags = struct.unpack("16sh", fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def start_server(root):
    server = subprocess.Popen(["chroot", root, "/usr/local/sbin/rasadd"], env=ENVIRONMENT, text=True,
                              stderr=subprocess.PIPE)
    for line in server.stderr:
        print(line, end="", flush=True)
        if "info serving " in line:
            threading.Thread(target=lambda: sys.stdout.writelines(server.stderr), daemon=True).start()
            return server
    raise AssertionError(f"rasadd ended with {server.wait()}")


def follow(root):
    reader = guide.Reader("/home/reader", ENVIRONMENT, ["chroot", "--userspec=reader:reader", root])
    first, *rest = guide.steps(guide.GUIDE.read_text())
    assert "apt install" in first.command, "the guide begins with what else is needed"
    print(first.command, reader.follow(first), flush=True)
    own_network()
    server = start_server(root)
    try:
        for step in rest:
            print(f"$ {step.command}{reader.follow(step)}", flush=True)
    finally:
        server.terminate()
        code = server.wait(60)
    assert code == 0, f"rasadd ended with {code}"


def main():
    build, cmake = Path(sys.argv[1]).resolve(), sys.argv[2]
    os.umask(0o022)
    cache = build / "chroot"
    cache.mkdir(exist_ok=True)
    try:
        debian.need("debootstrap")
        debian.own_mounts()
        kept = fresh_system(cache)
    except debian.Unable as why:
        skip(why)
    root = Path(tempfile.mkdtemp(dir=cache))
    try:
        prepare(root, build, cmake, kept)
        follow(root)
    finally:
        for folder in BOUND:
            subprocess.run(["umount", "--recursive", "--lazy", root / folder], check=False)
        debian.remove(root)
    print("the guide holds in a fresh Debian", flush=True)


if __name__ == "__main__":
    main()
