#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""piuparts over the built packages: each is installed, removed and purged in a fresh system, and must
leave nothing behind. The system has systemd, whose own leftovers would be taken for ours without it.
Where that can't be tried it says why, with exit code 77. Usage: piuparts.py FOLDER-OF-DEBS/RELEASE"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chroot"))
import debian  # noqa: E402
import repository  # noqa: E402
from machine import base_system, layer  # noqa: E402

SKIP = 77
OPTIONS = ("--no-upgrade-test",  # there is no older version in an archive
           "--no-eatmydata", "--skip-logrotatefiles-test", "--keep-sources-list",
           "--ignore=/var/cache/debconf/tmp.ci/")  # debconf's, which leaves it since Debian 13


def try_packages(packages):
    debian.need("piuparts")
    debian.own_mounts()
    debs = [deb for deb in sorted(packages.glob("*.deb")) if not repository.field(deb, "Package").endswith("-dbgsym")]
    if not debs:
        sys.exit(f"piuparts.py: no packages in {packages} (build them)")
    base = base_system(packages.name)
    with tempfile.TemporaryDirectory() as name, layer(base) as root:
        folder = Path(name)
        folder.chmod(0o755)
        repository.fill(folder, base, debs)
        (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
        (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)  # piuparts makes it, and then wonders
        log = packages / "piuparts.log"
        command = ["piuparts", *OPTIONS, f"--existing-chroot={root}", f"--bindmount={folder}",
                   f"--distribution={packages.name}", f"--tmpdir={root.parent}",
                   *(f"{folder}/{deb.name}" for deb in debs)]
        print("+", *command, flush=True)
        with open(log, "wb") as said:
            code = subprocess.run(command, check=False, stdout=said, stderr=subprocess.STDOUT).returncode
    if code == 0:
        print(f"piuparts has nothing to say about {len(debs)} packages", flush=True)
        return 0
    lines = log.read_text(errors="replace").splitlines()
    complaints = [line for line in lines if " ERROR: " in line or line[:1] == " "]
    print(*complaints[-40:], f"piuparts.py: piuparts failed with {code} ({log} tells all)", sep="\n", flush=True)
    return 1


def main():
    try:
        return try_packages(Path(sys.argv[1]).resolve())
    except debian.Unable as why:
        print(f"SKIPPED: piuparts was not tried: {why}", flush=True)
        return SKIP


if __name__ == "__main__":
    sys.exit(main())
