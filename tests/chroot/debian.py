# SPDX-License-Identifier: Apache-2.0
"""debian: fresh systems of a Debian release, made by debootstrap from the mirror that apt uses here.

Whoever makes one has mounts of its own (own_mounts), so that nothing stays mounted whatever ends it.
"""
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
SCRIPTS = Path("/usr/share/debootstrap/scripts")


class Unable(Exception):
    """This can't be done here, and why; no fault of what is tested."""


def run(*command, **options):
    print("+", *command, flush=True)
    return subprocess.run([str(word) for word in command], check=True, **options)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def need(*programs):
    """Root and these programs, given as name=package where they differ."""
    if os.geteuid() != 0:
        raise Unable("not root")
    for program, _, package in (word.partition("=") for word in programs):
        if not shutil.which(program):
            raise Unable(f"no {program} (apt install {package or program})")


def own_mounts():
    """From here on what this process mounts is seen by it and its children alone, and ends with them."""
    need()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise Unable(f"no mounts of its own are allowed here: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def this_release():
    """(codename, mirror) of this system."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID") != "debian":
        raise Unable("this is no Debian")
    codename = release["VERSION_CODENAME"].strip('"')
    found = output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
                   f"Codename: {codename}", "Component: main").split()
    if not found:
        raise Unable("apt knows no mirror")
    return codename, found[0]


def bootstrap(folder, release, packages):
    """Makes a minimal system of a release with some packages more; the folder must be empty."""
    _, mirror = this_release()
    # A debootstrap that is older than the release makes it as it makes the unstable one.
    script = [] if (SCRIPTS / release).exists() else [SCRIPTS / "sid"]
    try:
        run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, folder, mirror, *script)
    except subprocess.CalledProcessError:
        log = folder / "debootstrap/debootstrap.log"
        told = log.read_text().splitlines()[-3:] if log.exists() else []
        raise Unable("\n".join([f"debootstrap failed (is {mirror} within reach?)", *told])) from None
    # What was downloaded is a fifth of it, and of no use any more.
    for leftover in (*(folder / "var/cache/apt/archives").glob("*.deb"), *(folder / "var/lib/apt/lists").glob("*_*")):
        leftover.unlink()


def remove(folder):
    """A system's folder and all in it, but nothing that is mounted there."""
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)
