# SPDX-License-Identifier: Apache-2.0
"""dh_rasad, as rasad-dev has it, over packages with plugins and without, and what it adds to their
scripts in every order in which dpkg may call these."""
import os
import re
import subprocess

import pytest

from conftest import ROOT

ABI = re.search(r"^#define RASAD_ABI (\d+)", (ROOT / "core/include/rasad/plugin.h").read_text(), re.M)[1]
CONTROL = """\
Source: plugins
Maintainer: Nobody <nobody@example.org>
Build-Depends: debhelper-compat (= 13)
"""


@pytest.fixture(scope="module")
def dev(debs, tmp_path_factory):
    """What rasad-dev installs."""
    folder = tmp_path_factory.mktemp("dev")
    subprocess.run(["dpkg-deb", "-x", debs["rasad-dev"], folder], check=True)
    return folder


def treat(dev, folder, packages):
    """Runs it over packages, given as name → files; what it wrote into debian/."""
    debian = folder / "debian"
    debian.mkdir()
    (debian / "control").write_text(CONTROL + "".join(
        f"\nPackage: {name}\nArchitecture: any\nDescription: made by a test\n" for name in packages))
    (debian / "changelog").write_text(
        "plugins (1) unstable; urgency=low\n\n  * A.\n\n -- Nobody <nobody@example.org>  Sun, 29 Nov 2026 20:00:00 +0000\n")
    for name, files in packages.items():
        for file in files:
            target = debian / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("")
    subprocess.run([dev / "usr/bin/dh_rasad"], cwd=folder, check=True, env=os.environ | {
        "PERL5LIB": str(dev / "usr/share/perl5"), "DH_AUTOSCRIPTDIR": str(dev / "usr/share/debhelper/autoscripts")})
    return debian


def depends(debian, name):
    file = debian / f"{name}.substvars"
    return file.read_text() if file.exists() else ""


def plugin(name):
    return f"usr/lib/x86_64-linux-gnu/rasad/plugins/{name}.so"


def test_each_package_with_a_plugin_depends_on_the_abi_and_no_other(dev, tmp_path):
    debian = treat(dev, tmp_path, {"first": [plugin("a"), plugin("b")], "none": ["usr/share/doc/none/README"],
                                   "second": [plugin("c")], "third": [plugin("d")]})
    for name in ("first", "second", "third"):
        assert f"misc:Depends=rasad-plugin-abi-{ABI}" in depends(debian, name), name
    assert depends(debian, "none") == ""
    assert not list(debian.glob("*.debhelper"))


class Snippet:
    """A package's conf snippet in a folder that stands for the system's, and the package's scripts."""

    def __init__(self, debian, folder):
        self.debian, self.path, self.aside = debian, folder / "peak.conf", folder / "peak.conf.removed"

    def call(self, script, *arguments):
        text = (self.debian / f"peaks.{script}.debhelper").read_text()
        text = text.replace("/etc/rasad/conf.d/peak.conf", str(self.path))
        subprocess.run(["sh", "-e", "-c", text, script, *arguments], check=True)

    @property
    def is_live(self):
        assert not (self.path.exists() and self.aside.exists())
        return self.path.exists()


@pytest.fixture
def snippet(dev, tmp_path):
    debian = treat(dev, tmp_path, {"peaks": [plugin("a"), "etc/rasad/conf.d/peak.conf"]})
    (tmp_path / "conf.d").mkdir()
    snippet = Snippet(debian, tmp_path / "conf.d")
    snippet.call("preinst", "install")
    snippet.path.write_text("as shipped\n")
    snippet.call("postinst", "configure", "")
    return snippet


def test_a_snippet_goes_aside_with_its_package_and_comes_back_as_it_was(snippet):
    snippet.path.write_text("edited\n")
    snippet.call("prerm", "remove")
    snippet.call("postrm", "remove")
    assert not snippet.is_live
    snippet.call("preinst", "install", "1", "1")
    assert snippet.is_live and snippet.path.read_text() == "edited\n"


def test_an_upgrade_leaves_a_snippet_alone(snippet):
    snippet.call("prerm", "upgrade", "2")
    snippet.call("preinst", "upgrade", "1", "2")
    snippet.call("postrm", "upgrade", "2")
    snippet.call("postinst", "configure", "1")
    assert snippet.is_live


def test_a_purge_takes_a_snippet_along(snippet):
    snippet.call("prerm", "remove")
    snippet.call("postrm", "remove")
    snippet.call("postrm", "purge")
    assert not snippet.is_live and not snippet.aside.exists()


def test_a_removal_that_is_taken_back_leaves_a_snippet_live(snippet):
    snippet.call("prerm", "remove")
    snippet.call("postinst", "abort-remove")
    assert snippet.is_live


def test_an_installation_that_fails_leaves_a_snippet_aside(snippet):
    snippet.call("prerm", "remove")
    snippet.call("postrm", "remove")
    snippet.call("preinst", "install", "1", "1")
    snippet.call("postrm", "abort-install", "1", "1")
    assert not snippet.is_live and snippet.aside.exists()


def test_an_administrators_own_snippet_is_no_business_of_a_first_installation(snippet):
    snippet.call("postrm", "abort-install")
    assert snippet.is_live
