#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the chaos suite finds the bugs that it is there for.

    cmake -S . -B build/planted -G Ninja -DRASAD_PLANTED_BUGS=ON && cmake --build build/planted
    RASAD_BUILD=build/planted tests/system/chaos/planted.py [BUG...]

Such a build has bugs that RASAD_PLANTED_BUG=NAME wakes, one at a time. Each must be found within a few
rounds of what brings it out best, while the same rounds without a bug find nothing. Exit code 0: so it is.
"""
import argparse
import random
import sys
import tempfile
from dataclasses import dataclass

from chaos import Chaos, Found, Options, end_cleanly


@dataclass
class Bug:
    """Who has it, what brings it out, and how often one must look."""
    where: str  # whose environment: server or agent
    kinds: dict
    senders: dict
    seconds: int = 12
    disturbances: int = 40
    rounds: int = 4


REFERENCE = {"reference": 8}
BUGS = {
    # Acknowledged messages die with the server.
    "ack-before-commit": Bug("server", {"server-kill": 1}, REFERENCE),
    # A kill in between leaves states that are ahead of their numbers: found by chance only.
    "marks-in-second-transaction": Bug("server", {"server-kill": 1}, REFERENCE, seconds=20,
                                       disturbances=60, rounds=6),
    "no-fencing": Bug("server", {"zombie": 4, "sender-kill": 1, "server-stop": 1}, REFERENCE),
    "applied-not-restored": Bug("server", {"server-kill": 1, "server-restart": 1}, REFERENCE),
    # What was on its way when the connection broke is gone.
    "spool-freed-when-sent": Bug("agent", {"cut": 3, "zombie": 2, "stall": 1}, {"stdin": 4}),
    # Kills alone never leave a torn tail, so the driver tears it.
    "torn-tail-kept": Bug("agent", {"sender-kill": 1}, {"spool": 4}),
}


def look(bug, seed, environment):
    """One round; what was found, or None."""
    options = Options(
        seed=seed, seconds=bug.seconds, disturbances=bug.disturbances, messages=bug.seconds * 5000,
        senders=bug.senders, kinds=bug.kinds, log=lambda line: None,
        environment=environment if bug.where == "server" else {},
        agent_environment=environment if bug.where == "agent" else {})
    with tempfile.TemporaryDirectory(prefix="rasad-planted-") as folder:
        try:
            Chaos(folder, options).run()
        except Found as found:
            return str(found)
    return None


def verdict(name, seed):
    """Whether the suite is as it should be about this bug; says so."""
    bug = BUGS[name]
    false_alarm = look(bug, seed, {})
    if false_alarm:
        print(f"{name}: FALSE ALARM with seed {seed}, nothing was planted: {false_alarm}", flush=True)
        return False
    for number in range(1, bug.rounds + 1):
        what = look(bug, seed + number, {"RASAD_PLANTED_BUG": name})
        if what:
            print(f"{name}: found in round {number}: {' '.join(what.split())[:200]}", flush=True)
            return True
    print(f"{name}: NOT FOUND in {bug.rounds} rounds, seeds {seed + 1} to {seed + bug.rounds}", flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1_000_000))
    parser.add_argument("bugs", nargs="*", metavar="BUG", help=f"of {', '.join(BUGS)} (default: all)")
    words = parser.parse_args()
    unknown = set(words.bugs) - BUGS.keys()
    if unknown:
        parser.error(f"no such bug: {', '.join(unknown)}")
    end_cleanly()
    print(f"seed {words.seed}", flush=True)
    return 0 if all([verdict(name, words.seed) for name in words.bugs or BUGS]) else 1


if __name__ == "__main__":
    sys.exit(main())
