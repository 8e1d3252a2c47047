# SPDX-License-Identifier: Apache-2.0
"""repository: our packages and all that they depend on, as a folder that apt installs from offline.

Also next_revision(), which makes another version of a package without building it, and made(), which
makes a package out of nothing.
"""
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import debian
from debian import Unable
from machine import CACHE, layer

QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], check=True, **QUIET).stdout.strip()


def fill(folder, base, debs, also=(), kind="debs"):
    """Puts these packages and what they and others (by name) need into the folder, with an index.

    What was downloaded for a kind of use is kept beside the base system, so another time no network is
    needed.
    """
    debian.need("apt-ftparchive=apt-utils", "dpkg-deb=dpkg")
    kept = CACHE / f"{base.name}-{kind}"
    kept.mkdir(exist_ok=True)
    for deb in debs:
        shutil.copy(deb, folder)
    wanted = [*sorted({field(deb, "Package") for deb in debs}), *also]
    with layer(base) as root:
        (root / "repo").mkdir()
        subprocess.run(["mount", "--bind", folder, root / "repo"], check=True)
        for deb in kept.glob("*.deb"):
            shutil.copy(deb, folder)
        if not offers(root, folder, wanted):
            download(root, base.name, wanted, kept)
            for deb in kept.glob("*.deb"):
                shutil.copy(deb, folder)
            if not offers(root, folder, wanted):
                refusal = chrooted(root, "install", "--simulate", *wanted).stdout
                raise AssertionError(f"apt can't install {' '.join(wanted)}:\n{refusal}")


def offers(root, folder, wanted):
    """Makes the folder's index, and says whether all that is wanted can be installed from it alone."""
    with open(folder / "Packages", "w", encoding="utf-8") as index:
        subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder, stdout=index, check=True)
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
    return (chrooted(root, "update").returncode == 0 and
            chrooted(root, "install", "--simulate", *wanted).returncode == 0)


def download(root, release, wanted, kept):
    release = release.partition("-")[0]
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    with open(root / "etc/apt/sources.list", "a", encoding="utf-8") as sources:
        sources.write(f"deb {debian.this_release()[1]} {release} main\n")
    result = chrooted(root, "update")
    if result.returncode != 0:
        raise Unable(f"apt-get update failed (is the mirror within reach?):\n{result.stdout[-2000:]}")
    result = chrooted(root, "install", "--download-only", *wanted)
    assert result.returncode == 0, f"{release} lacks what packages depend on:\n{result.stdout[-2000:]}"
    for deb in (root / "var/cache/apt/archives").glob("*.deb"):
        shutil.copy(deb, kept)


def chrooted(root, *arguments):
    return subprocess.run(["chroot", root, "apt-get", "-y", *arguments], check=False, stdin=subprocess.DEVNULL,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                               "DEBIAN_FRONTEND": "noninteractive"}, **QUIET)


def next_revision(deb, folder, suffix="+next1", change=lambda tree: None):
    """The same package in a higher version, its content changed by a function; returns the new file."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        tree = Path(name)
        subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"^(Version: .*)$", rf"\g<1>{suffix}", control.read_text(), flags=re.M))
        change(tree)
        return packed(tree, folder)


def made(folder, name, depends="", content=None):
    """A package of this name, with files (path → bytes)."""
    with tempfile.TemporaryDirectory(dir=folder) as tree_name:
        tree = Path(tree_name)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
            f"Description: made by a test\n" + (f"Depends: {depends}\n" if depends else ""))
        for path, data in (content or {}).items():
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return packed(tree, folder)


def packed(tree, folder):
    tree.chmod(0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, folder], check=True, **QUIET)
    text = (tree / "DEBIAN/control").read_text()
    package, version, architecture = (re.search(rf"^{word}: (.*)$", text, re.M)[1]
                                      for word in ("Package", "Version", "Architecture"))
    return folder / f"{package}_{version.partition(':')[2] or version}_{architecture}.deb"
