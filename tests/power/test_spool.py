# SPDX-License-Identifier: Apache-2.0
"""What power cuts leave of an agent's spool: all that was taken, in order and under its numbers.

RASAD_POWER_IMAGES says how many images there are to be of each kind. In a build with
RASAD_PLANTED_BUGS=ON (build/planted), the planted bugs must be found as well.
"""
import os
import random
import re
import signal
import subprocess
import time

import pytest
from power import BUILD, TOOLS, Recording

LOST, INCONSISTENT = 3, 4  # what trial_spool.c ends with
IMAGES = int(os.environ.get("RASAD_POWER_IMAGES", "1000"))
KINDS = [(512, "ordered"), (4096, "any")]
TRIAL = TOOLS / "trial_spool"


def is_planted():
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^RASAD_PLANTED_BUGS:\w+=ON$", cache, re.M) is not None


class Story:
    def __init__(self, folder):
        (folder / "disk").mkdir()
        self.chance = random.Random(seed := random.SystemRandom().randrange(1 << 32))
        print("seed", seed)
        self.server = folder / "server"
        self.recording = Recording(folder / "log", folder / "disk", program="trial_spool")

    def start(self, count):
        return subprocess.Popen(
            [TRIAL, "write", self.recording.folder, self.server, str(count),
             str(self.chance.randrange(1 << 31))],
            env=os.environ | self.recording.environment)

    def kill_after(self, size):
        """Kills it once the log has grown by so many bytes."""
        log = self.recording.log
        size += log.stat().st_size if log.exists() else 0
        with self.start(1 << 40) as writer:
            while not log.exists() or log.stat().st_size < size:
                assert writer.poll() is None
                time.sleep(0.001)
            writer.send_signal(signal.SIGKILL)

    def end(self, count):
        assert self.start(count).wait(60) == 0

    def images(self, count, sector, names):
        return self.recording.images(count, [TRIAL, "check"], sector=sector, names=names)


def test_kills_and_a_power_cut_at_any_point(tmp_path):
    story = Story(tmp_path)
    for _ in range(8):
        story.kill_after(story.chance.randrange(1000, 300_000))
    story.end(1)
    for sector, names in KINDS:
        found = story.images(IMAGES, sector, names)
        assert found.failed == 0 and found.tried == IMAGES, found.text


def test_a_power_cut_in_the_first_moments(tmp_path):
    story = Story(tmp_path)
    story.end(1)
    for sector, names in KINDS:
        found = story.images(IMAGES // 3, sector, names)
        assert found.failed == 0, found.text


@pytest.mark.skipif(not is_planted(), reason="wants a build with RASAD_PLANTED_BUGS=ON")
@pytest.mark.parametrize("bug, who_opens_has_it", [("torn-tail-kept", True),
                                                   ("spool-freed-when-sent", False)])
def test_a_planted_bug_is_found(tmp_path, monkeypatch, bug, who_opens_has_it):
    story = Story(tmp_path)
    story.end(2000)
    assert story.images(200, *KINDS[0]).failed == 0
    monkeypatch.setenv("RASAD_PLANTED_BUG", bug)
    (tmp_path / "planted").mkdir()
    story = Story(tmp_path / "planted")
    story.start(2000).wait(60)  # it may notice by itself
    if not who_opens_has_it:
        monkeypatch.delenv("RASAD_PLANTED_BUG")
    found = story.images(300, *KINDS[0])
    assert found.codes.get(LOST, 0) + found.codes.get(INCONSISTENT, 0) >= 5, found.text
