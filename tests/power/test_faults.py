# SPDX-License-Identifier: Apache-2.0
"""That faults.so fails the calls that it is told to, in a running program, and no others."""
import errno
import os
import subprocess

import pytest
from faults import FUNCTIONS, Faults
from power import TOOLS, Recording

TRIAL = TOOLS / "trial"
CHILD = """
import errno, mmap, os, socket, sys
os.chdir(sys.argv[1])
f = os.open("file", os.O_RDWR | os.O_CREAT)
server = socket.create_server(("127.0.0.1", 0))
server.setblocking(False)
for line in sys.stdin:
    try:
        answer = eval(line)
    except OSError as error:
        answer = errno.errorcode[error.errno]
    except MemoryError:
        answer = "MemoryError"
    print(answer, flush=True)
"""


class Child:
    """A program that makes one call for each line."""

    def __init__(self, folder, environment):
        folder.mkdir()
        self.popen = subprocess.Popen(["/usr/bin/python3", "-S", "-c", CHILD, folder], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      env=os.environ | environment)

    def __call__(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().strip()

    def close(self):
        self.popen.communicate()
        assert self.popen.returncode == 0


@pytest.fixture(name="faults")
def make_faults(tmp_path):
    return Faults(tmp_path / "page")


@pytest.fixture(name="child")
def make_child(tmp_path, faults):
    child = Child(tmp_path / "folder", faults.environment)
    assert child("1") == "1"
    yield child
    faults.clear()
    child.close()


CALLS = {
    "write": ("os.write(f, b'12345')", "5"),
    "pwrite": ("os.pwrite(f, b'12345', 0)", "5"),
    "writev": ("os.writev(f, [b'12345', b'678'])", "8"),
    "pwritev": ("os.pwritev(f, [b'12345', b'678'], 0)", "8"),
    "fsync": ("os.fsync(f)", "None"),
    "fdatasync": ("os.fdatasync(f)", "None"),
    "mmap": ("os.ftruncate(f, 9) or len(mmap.mmap(f, 9))", "9"),
    "accept": ("server.accept()", "EAGAIN"),
    "calloc": ("len(bytes(5000000))", "5000000"),
    "malloc": ("len(b'x' * 5000000)", "5000000"),
    "realloc": ("len(bytearray(b'x') * 5000000)", "5000000"),
    "open": ("os.close(os.open('file', os.O_RDONLY))", "None"),
    "ftruncate": ("os.ftruncate(f, 5)", "None"),
    "rename": ("os.rename('file', 'file')", "None"),
    "unlink": ("os.close(os.open('gone', os.O_CREAT)) or os.unlink('gone')", "None"),
    "fallocate": ("os.posix_fallocate(f, 0, 9)", "None"),
    "mkdir": ("os.mkdir('inner') or os.rmdir('inner')", "None"),
}


def test_every_function_has_a_case():
    assert set(FUNCTIONS) == set(CALLS)


@pytest.mark.parametrize("function", [name for name in CALLS if not name.endswith("alloc")])
def test_a_call_fails_while_the_rule_is_on(tmp_path, faults, child, function):
    call, good = CALLS[function]
    below = "" if function == "accept" else tmp_path / "folder"
    assert child(call) == good
    rule = faults.set(function, errno.ENOSPC, below=below)
    assert [child(call), child(call)] == ["ENOSPC", "ENOSPC"]
    assert (rule.seen, rule.failed) == (2, 2) and faults.calls(function) >= 3
    rule.clear()
    assert child(call) == good
    if below:
        faults.set(function, errno.ENOSPC, below=tmp_path / "elsewhere")
        assert child(call) == good


@pytest.mark.parametrize("function", ["malloc", "calloc", "realloc"])
def test_memory_runs_out(faults, child, function):
    call, good = CALLS[function]
    before = faults.calls(function)
    assert child(call) == good and faults.calls(function) > before
    if function == "calloc":  # Python's own small ones come from elsewhere
        faults.set(function, errno.ENOMEM, most=1)
        assert [child(call), child(call)] == ["MemoryError", good]


def test_which_calls_fail(tmp_path, faults, child):
    def ten(**which):
        rule = faults.set("fsync", errno.EIO, **which)
        answers = "".join("x" if child("os.fsync(f)") == "EIO" else "." for _ in range(10))
        assert (rule.seen, rule.failed) == (10, answers.count("x")) or "while_file" in which
        rule.clear()
        return answers

    assert ten(first=3, every=0) == "..x......."
    assert ten(first=3) == "..xxxxxxxx"
    assert ten(first=2, every=3) == ".x..x..x.."
    assert ten(first=2, every=3, most=2) == ".x..x....."
    file = tmp_path / "full"
    assert ten(while_file=file) == ".........."
    file.touch()
    assert ten(while_file=file) == "xxxxxxxxxx"
    assert ten(while_file=f"!{file}") == ".........."


def test_short_writes(tmp_path, faults, child):
    for function in ("write", "pwrite", "writev", "pwritev"):
        rule = faults.set(function, 0, bytes=3, below=tmp_path / "folder")
        assert child(CALLS[function][0]) == "3"
        rule.clear()
        assert child(CALLS[function][0]) == CALLS[function][1]


def test_rules_from_the_environment(tmp_path):
    child = Child(tmp_path / "folder", {
        "LD_PRELOAD": str(TOOLS / "faults.so"),
        "RASAD_FAULTS_RULES": f"fsync:first=2:every=0:error=28;write:bytes=1:below={tmp_path}/folder"})
    assert [child("os.fsync(f)") for _ in range(3)] == ["None", "ENOSPC", "None"]
    assert child("os.write(f, b'12345')") == "1"
    child.close()


@pytest.mark.parametrize("mistake, fails", [("none", False), ("failed", True)])
def test_a_sync_that_failed_is_not_made_good_by_the_next(tmp_path, mistake, fails):
    """The pages are clean after the error, so the next fdatasync() succeeds without them."""
    faults = Faults(tmp_path / "page")
    folder = tmp_path / "folder"
    folder.mkdir()
    recording = Recording(tmp_path / "log", folder, with_faults=faults)
    rule = faults.set("fdatasync", errno.EIO, first=20, every=0)
    run = subprocess.run([TRIAL, "write", "journal", mistake, folder, "60"], check=False,
                         env=recording.environment)
    assert rule.failed == 1 and run.returncode == (0 if fails else 2)
    found = recording.images(500, [TRIAL, "check", "journal"])
    assert (found.failed > 100) if fails else (found.failed == 0)
