# SPDX-License-Identifier: Apache-2.0
"""What power cuts leave of the server's state: all that was acknowledged, and nothing by half.

RASAD_POWER_IMAGES says how many images there are to be of each kind. In a build with
RASAD_PLANTED_BUGS=ON (build/planted), the planted bugs must be found as well.
"""
import os
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from power import BUILD, TOOLS, Recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from conftest import rasadd, started  # noqa: F401,E402  pylint: disable=unused-import
from wire import Client, CutOff, until  # noqa: E402

LOST, INCONSISTENT = 3, 4  # what check_state.c ends with
IMAGES = int(os.environ.get("RASAD_POWER_IMAGES", "1000"))
KINDS = [(512, "ordered"), (4096, "any")]
PATHS = 5
CONF = '''
state_dir = "DISK/state"
threads = 2
metric "C" { plugin = "counter"  labels = { "path" } }
metric "N" { plugin = "counter" }
metric "G" { plugin = "gauge" }
'''


def is_planted():
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^RASAD_PLANTED_BUGS:\w+=ON$", cache, re.M) is not None


def message(k):
    return {"C": {"add": 1, "labels": {"path": str(k % PATHS)}}, "N": 1, "G": k}


class Sender(threading.Thread):
    """Pushes numbered messages, some at a time, over all restarts of the server, and notes each ack
    once it is there. Ends when it is told to and all that it sent is acknowledged."""

    def __init__(self, server, recording, agent, seed):
        super().__init__(daemon=True)
        self.server, self.recording, self.agent = server, recording, agent
        self.chance = random.Random(f"{agent} {seed}")
        self.stream = f"{self.chance.randrange(1 << 128):032x}"
        self.sent = self.acked = 0
        self.ending, self.wrong = False, None
        self.start()

    def run(self):
        while self.wrong is None and not (self.ending and self.acked == self.sent > 0):
            try:
                with Client(self.server) as client:
                    self.push(client)
            except (ConnectionError, CutOff):  # or nobody is there
                time.sleep(0.01)
            except Exception as error:
                self.wrong = error
                raise

    def push(self, client):
        welcome = client.hello(self.agent, self.stream)
        at = welcome["applied"]
        if at < self.acked:
            self.wrong = f"{self.agent}: {at} applied, but {self.acked} acknowledged"
            return
        self.take_ack(welcome["committed"])
        while not (self.ending and self.acked == self.sent > 0):
            if not self.ending or self.sent == 0:
                self.sent = max(self.sent, at + self.chance.randrange(1, 200))
            client.send(*(message(k) for k in range(at + 1, self.sent + 1)))
            at = self.sent
            while self.acked < (self.sent if self.ending else self.sent - 100):
                reply = client.read()
                if reply is None:
                    return
                self.take_ack(reply["@ack"])

    def take_ack(self, number):
        if number > self.acked:
            self.recording.note(f"acked {self.agent} {number}")
            self.acked = number

    def wait_more(self, count):
        """Until it has so many more acknowledged."""
        enough = self.acked + count
        until(lambda: self.wrong or self.acked >= enough, f"{enough} messages are acknowledged")

    def finish(self):
        self.ending = True
        self.join(30)
        assert self.wrong is None and not self.is_alive(), self.wrong


class Story:
    """A server, with the recording of a folder above its state_dir, and its senders."""

    def __init__(self, rasadd, folder, agents, environment=None):  # noqa: F811
        disk, seed = folder / "disk", random.SystemRandom().randrange(1 << 32)
        disk.mkdir()
        print("seed", seed)
        self.chance = random.Random(seed)
        self.recording = Recording(folder / "log", disk, program="rasadd")
        self.server = rasadd(CONF.replace("DISK", str(disk)),
                             environment=self.recording.environment | (environment or {}))
        self.senders = [Sender(self.server, self.recording, f"web-{i}", seed) for i in range(agents)]

    def live(self, messages):
        """Goes on until some sender has so many more acknowledged."""
        self.chance.choice(self.senders).wait_more(messages)

    def end(self):
        for sender in self.senders:
            sender.finish()
        assert self.server.stop() == 0
        return self.recording

    def images(self, count, sector, names):
        return self.recording.images(count, [TOOLS / "check_state"], sector=sector, names=names)


def test_kills_and_restarts_and_a_power_cut_at_any_point(rasadd, tmp_path):  # noqa: F811
    story = Story(rasadd, tmp_path, agents=4)
    for life in range(8):
        story.live(story.chance.randrange(1, 1500))
        story.server.stop(signal.SIGKILL if life % 3 else signal.SIGTERM)
        story.server.start()
    story.live(1000)
    story.end()
    for sector, names in KINDS:
        found = story.images(IMAGES, sector, names)
        assert found.failed == 0 and found.tried == IMAGES, found.text


def test_a_power_cut_in_the_first_moments(rasadd, tmp_path):  # noqa: F811
    story = Story(rasadd, tmp_path, agents=1)
    story.live(1)
    story.end()
    for sector, names in KINDS:
        found = story.images(IMAGES // 3, sector, names)
        assert found.failed == 0, found.text


@pytest.mark.skipif(not is_planted(), reason="wants a build with RASAD_PLANTED_BUGS=ON")
@pytest.mark.parametrize("bug, code", [("ack-before-commit", LOST),
                                       ("marks-in-second-transaction", INCONSISTENT)])
def test_a_planted_bug_is_found(rasadd, tmp_path, bug, code):  # noqa: F811
    story = Story(rasadd, tmp_path, agents=2, environment={"RASAD_PLANTED_BUG": bug})
    story.live(3000)
    story.end()
    assert story.images(300, *KINDS[0]).codes.get(code, 0) >= 10
