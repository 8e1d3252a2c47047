# SPDX-License-Identifier: Apache-2.0
"""That the tools have teeth: each planted mistake is found, and nothing is found without one."""
import re
import signal
import struct
import subprocess
import time
from collections import Counter

import pytest
from power import MAGIC, TOOLS, Recording

LOST, INCONSISTENT, UNUSABLE = 3, 4, 5
TRIAL = TOOLS / "trial"


def record(tmp_path, kind, mistake, count):
    folder = tmp_path / "folder"
    folder.mkdir()
    recording = Recording(tmp_path / "log", folder)
    subprocess.run([TRIAL, "write", kind, mistake, folder, str(count)], check=True, timeout=120,
                   env=recording.environment)
    return recording


def script(recording, text, check=True):
    """Runs Python under the recorder, in the folder; note("...") is what the recorder exports."""
    head = ("import ctypes, os, threading\n"
            "library = ctypes.CDLL(None)\n"
            "note = lambda text: library.rasad_record_note(text.encode())\n"
            f"os.chdir({str(recording.folder)!r})\n")
    return subprocess.run(["/usr/bin/python3", "-S", "-c", head + text], check=check, timeout=120,
                          env=recording.environment)


@pytest.fixture(name="recording")
def empty_recording(tmp_path):
    (tmp_path / "folder").mkdir()
    return Recording(tmp_path / "log", tmp_path / "folder")


def check(kind):
    return [TRIAL, "check", kind]


@pytest.mark.parametrize("kind, mistake, steps, images", [
    ("journal", "none", 200, 1000),
    ("journal", "dsync", 200, 500),
    ("current", "none", 100, 1000),
    ("lmdb", "none", 300, 1000),
])
@pytest.mark.parametrize("sector, names", [(512, "ordered"), (4096, "any")])
def test_without_a_mistake_no_image_fails(tmp_path, kind, mistake, steps, images, sector, names):
    recording = record(tmp_path, kind, mistake, steps)
    found = recording.images(images, check(kind), sector=sector, names=names)
    assert found.failed == 0 and found.tried == images and found.healed == 0


@pytest.mark.parametrize("kind, mistake, steps, code, at_least", [
    ("journal", "sync", 100, LOST, 250),         # nothing is ever synced
    ("journal", "folder", 100, LOST, 80),       # the file may be gone, whatever it holds
    ("current", "sync", 100, INCONSISTENT, 40),  # the new name shows an empty or torn file
    ("current", "folder", 100, LOST, 100),       # the old file comes back, the new was promised
    ("lmdb", "nosync", 100, INCONSISTENT, 60),  # pages that the meta page speaks of are not there
    ("lmdb", "nometasync", 100, LOST, 15),       # the last commit, as its manual says
    ("lmdb", "second", 100, INCONSISTENT, 20),   # counters without their mark
    ("lmdb", "inplace", 2, UNUSABLE, 3),         # half of the first meta pages: LMDB refuses them
])
def test_a_mistake_is_found(tmp_path, kind, mistake, steps, code, at_least):
    recording = record(tmp_path, kind, mistake, steps)
    found = recording.images(300, check(kind))
    assert found.codes.get(code, 0) >= at_least


def test_a_seed_shows_the_same_images_again(tmp_path):
    recording = record(tmp_path, "current", "sync", 50)
    found = recording.images(200, check("current"), seed=7)
    assert recording.images(200, check("current"), seed=7).text == found.text
    image = int(re.search(r"--image (\d+)\)", found.text)[1])
    again = recording.images(200, check("current"), seed=7, image=image, keep=tmp_path / "kept")
    assert (again.tried, again.failed) == (1, 1)
    assert subprocess.run([TRIAL, "check", "current", tmp_path / "kept", ""],
                          check=False).returncode == INCONSISTENT


def test_kills_and_restarts_go_into_one_log(tmp_path):
    recording = record(tmp_path, "lmdb", "none", 10)
    command = [TRIAL, "write", "lmdb", "none", recording.folder]
    for run in range(6):
        with subprocess.Popen(command + ["1000000"], env=recording.environment) as writer:
            size = recording.log.stat().st_size
            while recording.log.stat().st_size < size + 300_000 + run * 1111:
                time.sleep(0.001)
            writer.send_signal(signal.SIGKILL)
    subprocess.run(command + ["10"], check=True, env=recording.environment)
    assert recording.images(1000, check("lmdb")).failed == 0


def test_threads_have_one_order(recording):
    script(recording, """
def work(me):
    file = os.open(f"file{me}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.fsync(os.open(".", os.O_RDONLY))
    for n in range(1, 101):
        os.write(file, b"%099d\\n" % n)
        os.fdatasync(file)
        note(f"acked {me} {n}")
threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""")

    def complete(folder, _note, notes):
        for kind, acked in notes.items():
            lines = (folder / f"file{kind.split()[1]}").read_bytes().split(b"\n")
            if any(int(line) != n for n, line in enumerate(lines[:int(acked)], 1)):
                return f"{kind} {acked}, but {lines[-3:]}"
        return None

    assert recording.images(1000, complete, names="any").failed == 0


SPOOL = """
folder = os.open(".", os.O_RDONLY)
for n in range(1, 401):
    if n % 40 == 1:
        spool = os.open(f"{n:06}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.posix_fallocate(spool, 0, 4096)
        os.ftruncate(spool, 0)
        FSYNC
    os.write(spool, b"%049d\\n" % n)
    os.write(spool, b"garbage that is cut off again")
    os.ftruncate(spool, (n - 1) % 40 * 50 + 50)
    os.lseek(spool, 0, os.SEEK_END)
    os.fdatasync(spool)
    note(f"acked {n}")
    if n % 40 == 20 and n > 80:
        note(f"freed {n // 40 * 40 - 40}")
        os.unlink(f"{n // 40 * 40 - 79:06}")
"""


@pytest.mark.parametrize("fsync, fails", [("os.fsync(folder)", False), ("pass", True)])
def test_segments_that_come_and_go(recording, fsync, fails):
    script(recording, SPOOL.replace("FSYNC", fsync))

    def all_there(folder, _note, notes):
        there = b"".join(path.read_bytes() for path in sorted(folder.iterdir())).split(b"\n")
        there = {int(line) for line in there if re.fullmatch(rb"\d{49}", line)}
        missing = set(range(int(notes.get("freed", 0)) + 1, int(notes.get("acked", 0)) + 1)) - there
        return f"missing {sorted(missing)}" if missing else None

    for names in ("ordered", "any"):
        assert (recording.images(500, all_there, names=names).failed > 0) == fails


def test_folders_links_and_nameless_files(recording):
    script(recording, """
os.mkdir("a")
os.mkdir("a/b")
for folder in (".", "a"):
    os.fsync(os.open(folder, os.O_RDONLY))
file = os.open("a", os.O_TMPFILE | os.O_WRONLY)
os.write(file, b"nameless")
os.fsync(file)
os.fsync(os.open(".", os.O_RDONLY))
library.linkat(-100, b"/proc/self/fd/%d" % file, -100, b"a/b/named", 0x400)
os.fsync(os.open("a/b", os.O_RDONLY))
note("named 1")
os.rename("a/b", "c")
os.link("c/named", "twice")
os.fsync(os.open(".", os.O_RDONLY))
note("moved 1")
""")
    seen = Counter()

    def look(folder, note, _notes):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
                 if path.is_file()}
        seen[tuple(sorted(files))] += 1
        if note and not any(path in files for path in ("a/b/named", "c/named")):
            return f"lost: {files}"
        if note == "moved 1" and set(files) != {"c/named", "twice"}:
            return f"not moved: {files}"
        return f"torn: {files}" if set(files.values()) - {b"nameless"} else None

    assert recording.images(500, look).failed == 0
    assert set(seen) == {(), ("a/b/named",), ("c/named",), ("c/named", "twice")}


@pytest.mark.parametrize("text, complaint", [
    ("library.syscall(1, os.open('x', os.O_WRONLY | os.O_CREAT), b'unseen', 6)", "unrecorded"),
    ("library.fopen(b'x', b'w')", "fopen"),
    ("os.symlink('x', 'y')", "symbolic link"),
])
def test_what_goes_unrecorded_is_noticed(recording, text, complaint):
    script(recording, text)
    with pytest.raises(AssertionError, match=complaint):
        recording.images(10, lambda *_: None)


def test_the_driver_adds_notes(recording):
    recording.note("before the start")
    script(recording, "os.mkdir('a')")
    with open(recording.log, "ab") as log:  # what a process killed in the middle of an entry leaves
        log.write(struct.pack("=II", MAGIC, 500) + b"torn")
    recording.note("after the end 1")
    seen = set()
    found = recording.images(50, lambda folder, note, notes: seen.add((note, str(notes))))
    assert " torn=12" in found.text
    assert {note for note, _ in seen} == {"before the start", "after the end 1"}
