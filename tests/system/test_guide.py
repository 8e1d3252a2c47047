# SPDX-License-Identifier: Apache-2.0
"""docs/plugin-guide.md, followed to the letter beside a running server out of an installed tree."""
import os
import shutil
import subprocess

import pytest

import guide
from harness import BUILD, LISTENING, SERVING

TEXT = guide.GUIDE.read_text()

# What a test's user has instead of root's rights and Debian's archive: packages that are asked for
# must be there already.
SHIMS = {
    "sudo": 'exec "$@"\n',
    "apt": '[ "$1 $2" = "install -y" ]\nshift 2\ndpkg-query -W -f="\\${db:Status-Status}\\n" "$@" >/dev/null\n',
}


@pytest.fixture
def tree(tmp_path):
    """An installed Rasad whose conf takes free ports and the test's folder for its socket."""
    prefix = tmp_path / "tree"
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True,
                   capture_output=True, timeout=120)
    conf = prefix / "etc" / "rasad" / "rasad.conf"
    text = conf.read_text()
    for port in ("port = 5050", "port = 8000"):
        assert text.count(port) == 1
        text = text.replace(port, "port = 0")
    conf.write_text(text + f'\nstate_dir = ""\nadmin_socket = "{tmp_path}/rasad.sock"\n')
    return prefix


def shims(tmp_path):
    folder = tmp_path / "shims"
    folder.mkdir()
    for name, script in SHIMS.items():
        (folder / name).write_text("#!/bin/sh -e\n" + script)
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="wants Debian's packages")
def test_the_guide_holds_to_the_letter(run, tree, tmp_path):
    server = run(tree / "sbin" / "rasadd", "-c", tree / "etc" / "rasad" / "rasad.conf")
    server.wait_line(LISTENING)
    (found,) = tree.glob("lib/**/pkgconfig")
    path = f"{shims(tmp_path)}:{tree}/bin:{tree}/sbin:{os.environ['PATH']}"
    reader = guide.Reader(
        tmp_path,
        os.environ | {"PATH": path, "PKG_CONFIG_PATH": str(found), "LC_ALL": "C.UTF-8",
                      "RASAD_SOCKET": str(tmp_path / "rasad.sock")},
        # The one place where the guide's default folders and ports become the test's.
        substitutions={"/etc/rasad/": f"{tree}/etc/rasad/",
                       "localhost:8000": f"127.0.0.1:{server.wait_line(SERVING)[1]}"})
    for step in guide.steps(TEXT):
        reader.follow(step)
        if "new-plugin" in step.command:  # before the guide changes them
            assert (tmp_path / "peak" / "peak.c").read_text() == guide.file_of(TEXT, "c")
            assert (tmp_path / "peak" / "peak.conf").read_text() == guide.file_of(TEXT, "conf")
    assert server.stop() == 0


@pytest.mark.parametrize("shown, said, same", [
    ("a\n", "a\n", True),
    ("a\n", "a\nb\n", False),        # nothing more
    ("a\nb\n", "a\n", False),        # nothing less
    ("…\nb\n", "b\n", True),         # any lines, none too
    ("…\nb\n", "x\ny\nb\n", True),
    ("a … c\n", "a b c\n", True),
    ("a … c\n", "a b\n c\n", False), # within a line
    ("a.c\n", "abc\n", False),       # no other pattern
], ids=str)
def test_what_is_shown_is_compared(shown, said, same):
    assert guide.matches(shown, said) == same
