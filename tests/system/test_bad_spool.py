# SPDX-License-Identifier: Apache-2.0
"""A disk that fails under an agent's spool: it waits, says so once, and loses and doubles nothing."""
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spool
from harness import Process, built_with, free_port, program
from wire import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "power"))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.skipif(built_with("address") or built_with("thread"),
                                reason="a sanitizer wants to be what is preloaded first")

CONF = 'metric "N" { plugin = "counter" }\nmetric "G" { plugin = "gauge" }\n'
PATIENCE_S = 60


@pytest.fixture(name="spooled")
def start_agent(started, tmp_path):
    """spooled(port): an agent that reads what one writes to its `feed`; with a rule of its `faults`."""
    def start(port, state=None, rule=None):
        path = tmp_path / "agent.conf"
        path.write_text("")
        source, target = os.pipe()
        faults = Faults(tmp_path / "faults", program="rasad-agent")
        rule = faults.set(**rule) if rule else None
        agent = Process([program("rasad-agent"), "-c", path, "-s", f"127.0.0.1:{port}", "-n", "web-1",
                         "--stdin"], tmp_path, stdin=source,
                        environment=faults.environment |
                        {"STATE_DIRECTORY": str(state or tmp_path / "state")})
        os.close(source)
        started.append(agent)
        agent.feed, agent.faults, agent.rule = target, faults, rule
        return agent
    return start


def push(agent, first, last):
    for start in range(first, last + 1, 100):
        lines = (json.dumps({"N": 1, "G": k}) for k in range(start, min(start + 100, last + 1)))
        os.write(agent.feed, "".join(line + "\n" for line in lines).encode())


def ends_well(agent):
    os.close(agent.feed)
    assert agent.wait(PATIENCE_S) == 0, agent.log


BAD = {
    "full": [("pwrite", {"error": errno.ENOSPC})],
    "EIO on write": [("pwrite", {"error": errno.EIO})],
    "read-only": [(f, {"error": errno.EROFS}) for f in ("pwrite", "open", "rename", "unlink", "mkdir")],
    "EIO on sync": [(f, {"error": errno.EIO}) for f in ("fdatasync", "fsync")],
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("server_is_there", [False, True])
def test_a_disk_that_is_bad_for_a_while(rasadd, spooled, tmp_path, what, server_is_there):
    port = free_port()
    server = rasadd(CONF, port=port) if server_is_there else None
    agent = spooled(port)
    push(agent, 1, 100)
    agent.wait_line("connected" if server_is_there else "Trying to reconnect")
    if server_is_there:
        server.wait_for("N_total", equals=100, agent="web-1")
    else:
        until(lambda: any((tmp_path / "state").rglob("*.inbox/*.seg")), "the spool has begun")
    rules = [agent.faults.set(function, below=tmp_path / "state", **how) for function, how in BAD[what]]
    push(agent, 101, 300)
    agent.wait_line("error the spool can't be written reason=")
    for rule in rules:
        rule.clear()
    agent.wait_line("info the spool can be written again")
    push(agent, 301, 400)
    server = server or rasadd(CONF, port=port)
    ends_well(agent)
    assert len(re.findall("the spool can't be written", agent.log)) == 1
    scrape = server.scrape()
    assert scrape.value("N_total", agent="web-1") == scrape.value("G", agent="web-1") == 400
    assert scrape.get("rasad_agent_dropped_total", 0, agent="web-1") == 0


@pytest.mark.parametrize("function, error", [
    ("fdatasync", errno.EIO), ("fsync", errno.EIO), ("pwrite", errno.EIO), ("open", errno.EMFILE),
    ("ftruncate", errno.EIO), ("rename", errno.EIO), ("mkdir", errno.ENOSPC),
    ("fallocate", errno.ENOSPC)])
def test_each_call_in_the_spool_fails_once(rasadd, spooled, tmp_path, function, error):
    """The first, the second, the third …: it takes all and delivers it, or ends and says why; what it
    had taken by then goes out with the next."""
    server = rasadd(CONF)
    total, nth = 0, 1
    while True:
        state = tmp_path / f"state{nth // 2}"  # each for a first and a second start
        state.mkdir(exist_ok=True)
        before = len(spool.messages(state))
        agent = spooled(server.port, state, {"function": function, "error": error, "first": nth,
                                             "every": 0, "below": state})
        try:
            push(agent, 1, 10)
            os.close(agent.feed)
        except BrokenPipeError:
            os.close(agent.feed)
        code = agent.wait(PATIENCE_S)
        assert code in (0, 1), (nth, code, agent.log)
        assert code == 0 or "rasad-agent: " in agent.log or "error" in agent.log, agent.log
        failed = agent.rule.failed
        agent.rule.clear()
        taken = 10
        if code != 0:
            taken = len(spool.messages(state)) - before
            ends_well(spooled(server.port, state))
        now = server.scrape().get("N_total", 0, agent="web-1")
        assert now - total == taken, (nth, code, now, total, agent.log)
        total, nth = now, nth + 1
        if failed == 0:
            break
    assert nth > 2, "the spool never calls it"
    print(f"{function}: {nth - 2} calls")

