# SPDX-License-Identifier: Apache-2.0
"""That the tools have teeth: each planted mistake is found, and nothing is found without one."""
import subprocess

import pytest
from power import TOOLS, Recording

LOST, INCONSISTENT, UNUSABLE = 3, 4, 5
TRIAL = TOOLS / "trial"


def record(tmp_path, kind, mistake, count):
    folder = tmp_path / "folder"
    folder.mkdir()
    recording = Recording(tmp_path / "log", folder)
    subprocess.run([TRIAL, "write", kind, mistake, folder, str(count)], check=True, timeout=120,
                   env=recording.environment)
    return recording


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


@pytest.mark.parametrize("kind, mistake, code, at_least", [
    ("journal", "sync", LOST, 400),        # nothing is ever synced
    ("journal", "folder", LOST, 150),      # the file may be gone, whatever it holds
    ("current", "sync", INCONSISTENT, 50), # the new name shows an empty or torn file
    ("current", "folder", LOST, 100),      # the old file comes back after the new was promised
    ("lmdb", "nosync", UNUSABLE, 1),       # pages that the meta page speaks of are not there
    ("lmdb", "nosync", INCONSISTENT, 1),
    ("lmdb", "nometasync", LOST, 20),      # the last commit, as its manual says
    ("lmdb", "second", INCONSISTENT, 20),  # counters without their mark
])
def test_a_mistake_is_found(tmp_path, kind, mistake, code, at_least):
    recording = record(tmp_path, kind, mistake, 100)
    found = recording.images(500, check(kind))
    assert found.codes.get(code, 0) >= at_least
