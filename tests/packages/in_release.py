#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the packages, unit tests included, in a fresh system of a Debian release that has nothing but
what they are built with, and holds them to all that check-deb.sh knows, with that release's tools.
The tree is taken as git sees it, with what is changed and not committed. Where that can't be tried it
says why, with exit code 77.
Usage: in_release.py OUT/RELEASE PACKAGE…"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chroot"))
import debian  # noqa: E402
from debian import Unable, run  # noqa: E402
from machine import ROOT, base_system, layer  # noqa: E402

SKIP = 77
CHECKS = ("versions", "lint", "flags", "hardening", "exposure", "reproducible")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive", "DEB_BUILD_OPTIONS": f"parallel={os.cpu_count()}"}
GIT = ("git", "-c", "user.name=build", "-c", "user.email=build", "-c", "safe.directory=*")


def install(root, release, packages):
    """What it takes, from the mirror."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/apt/sources.list").write_text(f"deb {debian.this_release()[1]} {release} main\n")
    # Services that packages would start have nobody to serve.
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    def apt(*words):
        return subprocess.run(["chroot", root, "apt-get", "-q", *words], check=False, env=ENVIRONMENT,
                              stdin=subprocess.DEVNULL).returncode

    if apt("update") != 0:
        raise Unable("apt-get update failed (is the mirror within reach?)")
    if apt("install", "-y", "--no-install-recommends", "git", *packages) != 0:
        sys.exit(f"in_release.py: {release} lacks what the packages are built with")


def copy_tree(root):
    """The tree's files into /src, as a repository of its own, since what git says is what is packaged."""
    (root / "src").mkdir()
    files = subprocess.run([*GIT, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    present = b"\0".join(name for name in files.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    archive = subprocess.run(["tar", "--null", "-T", "-", "-cf", "-"], cwd=ROOT, input=present, check=True,
                             stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-C", root / "src", "--owner=0", "--group=0", "-xf", "-"], input=archive, check=True)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run([*GIT, *command], cwd=root / "src", check=True)
    subprocess.run(["chown", "-R", "root:", root / "src"], check=True)


def build_and_check(root, out):
    (root / "out").mkdir()
    for folder in ("proc", "dev", "dev/pts"):
        subprocess.run(["mount", "--rbind", f"/{folder}", root / folder], check=True)
    subprocess.run(["mount", "--bind", out, root / "out"], check=True)
    try:
        run("chroot", root, "sh", "-c", "cd /src && packaging/build-deb.sh /out -F", env=ENVIRONMENT)
        for check in CHECKS:
            run("chroot", root, "/src/packaging/check-deb.sh", check, "/out", env=ENVIRONMENT)
    except subprocess.CalledProcessError as error:
        print(f"in_release.py: {error}", flush=True)
        return 1
    return 0


def main():
    out = Path(sys.argv[1]).resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        debian.own_mounts()
        with layer(base_system(out.name)) as root:
            install(root, out.name, sys.argv[2:])
            copy_tree(root)
            return build_and_check(root, out)
    except Unable as why:
        print(f"SKIPPED: nothing was built on {out.name}: {why}", flush=True)
        return SKIP


if __name__ == "__main__":
    sys.exit(main())
