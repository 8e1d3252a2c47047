#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The packages' own tests (debian/tests, as Debian runs them) in a booted machine that is thrown away.
Where that can't be tried it says why, with exit code 77. Usage: autopkgtests.py FOLDER-OF-DEBS/RELEASE"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chroot"))
import debian  # noqa: E402
import repository  # noqa: E402
from machine import Machine, base_system  # noqa: E402

SKIP = 77
TIMEOUT_S = 600
TOOLS = ("autopkgtest", "dpkg-dev")
# It asks for a container, which the machine is.
OPTIONS = ("--ignore-restrictions=isolation-container", "--no-built-binaries")


def wanted_by_tests(source):
    """The packages that the tests of a source package (its .dsc) depend on."""
    archive = next(source.parent.glob(f"{source.stem}.debian.tar.*"))
    control = subprocess.run(["tar", "-xOf", archive, "debian/tests/control"], check=True, capture_output=True,
                             text=True).stdout
    found = re.findall(r"^Depends: (.*(?:\n[ \t].*)*)", control, re.M)
    return sorted({word for words in found for word in re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9.+-]+)", words)})


def try_packages(packages):
    debian.own_mounts()
    debs = sorted(packages.glob("*.deb"))
    sources = sorted(packages.glob("rasad_*.dsc"))
    if not sources:
        sys.exit(f"autopkgtests.py: no source package in {packages} (build it)")
    base = base_system(packages.name)
    ours = {repository.field(deb, "Package") for deb in debs}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        repository.fill(folder, base, debs, [*TOOLS, *(set(wanted_by_tests(sources[0])) - ours)], kind="test-debs")
        for file in packages.glob("rasad_*.*"):
            if file.suffix in (".dsc", ".xz", ".gz"):
                shutil.copy(file, folder)
        with Machine(base, binds={"/repo": folder}) as machine:
            machine.run("apt-get", "update")
            machine.run("apt-get", "-y", "install", "--no-install-recommends", *TOOLS)
            print("+ autopkgtest", *OPTIONS, sources[0].name, "-- null", flush=True)
            result = machine.run("autopkgtest", *OPTIONS, f"/repo/{sources[0].name}", "--", "null", check=False,
                                 timeout=TIMEOUT_S)
            journal = machine.journal("rasad*")
    (packages / "autopkgtest.log").write_text(f"{result.stdout}\n---- what the services said\n{journal}\n")
    print(result.stdout.rpartition("@@@@@@@@@@@@@@@@@@@@ summary")[2].strip() or result.stdout, flush=True)
    if result.returncode != 0:
        print(f"autopkgtests.py: autopkgtest failed with {result.returncode} ({packages}/autopkgtest.log tells all)",
              flush=True)
    return 1 if result.returncode else 0


def main():
    try:
        return try_packages(Path(sys.argv[1]).resolve())
    except debian.Unable as why:
        print(f"SKIPPED: the packages' own tests were not run: {why}", flush=True)
        return SKIP


if __name__ == "__main__":
    sys.exit(main())
