#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Searches delivery.pml with spin: the protocol within several bounds, each to its last state, where
nothing may be wrong; and the protocol with each planted bug, where the property that the bug breaks
must be seen to break. Prints a row for each. Wants spin and a C compiler (CC, or else cc); works in a
temporary folder. Usage: check.py [NAME...] (names as in the table; without one: all)"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "delivery.pml"
MEMORY_MIB = 2000  # pan gives up there, and that is a failure
DEPTH = 100000     # steps in a run; the longest search has a tenth of it
SECONDS = 300      # for one search

# What the assertions say, by the beginning of the expression as pan prints it.
PROPERTIES = {
    "applied once and in order": r"\(\(state>>",
    "an ack tells the truth": r"\(has_aged\|\||\(told<=disk_applied\)",
    "what is freed is on disk": r"\(\(\(dropped&\(1<<freed\)\)|\(\(\(set&",
    "scrapers lose nothing": r"\(\(shown&",
    "the chain fits": r"\(c==set\)",
    "the welcome is in the spool": r"\(a>=freed\)",
    "all ends well": r"\(\(\(connection!=2\)|\(\(\(disk_state\||\(\(\(disk_applied==",
}

# Name, bounds, and whether to search for endless runs instead of wrong states. Cuts and crashes have
# no bound here but that the model is finite.
SOUND = [
    ("crashes and cuts", "MESSAGES=4", False),
    ("older disks, drops", "MESSAGES=3 OLDER=ENDLESS DROPS=1", False),
    ("emptied disks, drops", "MESSAGES=3 EMPTIES=ENDLESS DROPS=1", False),
    ("no run is endless: older", "MESSAGES=3 OLDER=ENDLESS", True),
    ("no run is endless: emptied", "MESSAGES=2 EMPTIES=ENDLESS DROPS=ENDLESS", True),
]

# What a wrong protocol is given, unless its row says more: it may go wrong for ever otherwise.
FEW = {"MESSAGES": 2, "CUTS": 1, "AGENT_CRASHES": 1, "SERVER_CRASHES": 1}
ENDLESS_RUN = "no run is endless"

# Name, what it needs, and what it must break.
BUGS = [
    ("ACK_BEFORE_COMMIT", {}, "an ack tells the truth"),
    ("MARK_IN_SECOND_TRANSACTION", {}, "applied once and in order"),
    ("MARK_NOT_RESTORED", {}, "applied once and in order"),
    ("NO_FENCE", {}, "applied once and in order"),
    ("RESUME_FROM_OWN_NUMBER", {}, "applied once and in order"),
    ("WELCOME_WITHOUT_COMMITTED", {}, "all ends well"),
    ("SHOWN_BEFORE_COMMIT", {}, "scrapers lose nothing"),
    ("HANGS_UP_UNACKED", {}, ENDLESS_RUN),
    ("FREED_WHEN_SENT", {}, "what is freed is on disk"),
    ("SEND_BEFORE_SYNC", {}, "the chain fits"),
    ("TORN_TAIL_KEPT", {}, "all ends well"),
    ("SENT_ONES_DROPPED", {"DROPS": 1}, "the chain fits"),
    ("NO_WINDOW", {"OLDER": 1}, "what is freed is on disk"),
    ("REPEATED_ACKS_COUNT", {"OLDER": 1, "CUTS": 2}, "what is freed is on disk"),
    ("LOST_ACKS_COUNT", {"OLDER": 2}, "what is freed is on disk"),
    ("FREED_WHILE_GREETING", {"MESSAGES": 3, "EMPTIES": 1}, "the welcome is in the spool"),
]

ROW = "{:<27} {:>10} {:>12} {:>5} {:>6}  {}"


def run(*command, where):
    done = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=SECONDS)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}:\n{done.stdout}")
    return done.stdout


def search(defines, is_sound, endless=False):
    """What pan says about the model with these macros."""
    macros = [f"-D{word}" for word in defines.split()]
    with tempfile.TemporaryDirectory(prefix="rasad-model-") as folder:
        shutil.copy(MODEL, folder)
        run("spin", "-a", *macros, MODEL.name, where=folder)
        # NOREDUCE: each interleaving is tried, so nothing rests on spin's reductions. COLLAPSE packs
        # the states without loss.
        run(*shlex.split(os.environ.get("CC", "cc")), "-w", "-O2" if is_sound else "-O0",
            "-DNOREDUCE", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}", "-DNP" if endless else "-DSAFETY",
            "-o", "pan", "pan.c", where=folder)
        # Of a bug, all that it breaks: -c0 goes on behind an error.
        text = run("./pan", f"-m{DEPTH}", *(["-l"] if endless else []),
                   *([] if is_sound else ["-c0", "-w20"]), where=folder)
        if (Path(folder) / f"{MODEL.name}.trail").exists():
            text += run("spin", "-t", "-p", "-g", *macros, MODEL.name, where=folder)
        return text


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else -1


def broken(text):
    """The properties that the errors of a search are about; None for what we have no name for."""
    said = set(re.findall(r"assertion violated (.*) \(at depth", text))
    names = {next((name for name, start in PROPERTIES.items() if re.match(start, line)), None)
             for line in said}
    if "non-progress cycle (at" in text:
        names.add(ENDLESS_RUN)
    return names


def unreached(text):
    """The statements that a search never came to; the ends of endless processes aside."""
    return {line.strip() for line in re.findall(r"^\t.*, state \d+, .*$", text, re.M)
            if '"-end-"' not in line}


def wrong_with_sound(text):
    if number(r"errors: (\d+)", text) != 0:
        return f"breaks: {', '.join(sorted(map(str, broken(text))))}"
    for bad in ("not completed", "depth too small", "-DMEMLIM", "out of memory"):
        if bad in text:
            return f"the search was not complete: {bad}"
    return None


def row(name, text, began, verdict, wrong):
    """A line of the table, and behind it what pan said if something is wrong."""
    line = ROW.format(name, number(r"(\d+) states, stored", text), number(r"(\d+) transitions", text),
                      number(r"depth reached (\d+)", text), f"{time.monotonic() - began:.1f}",
                      verdict if wrong is None else f"WRONG: {wrong}")
    return wrong is None, line if wrong is None else f"{line}\n{text[-20000:]}"


def check_sound(name, bounds, endless):
    began = time.monotonic()
    text = search(bounds, True, endless)
    good, line = row(name, text, began, "every run ends" if endless else "holds", wrong_with_sound(text))
    return good, line, None if endless else unreached(text)


def check_bug(name, needs, expected):
    began = time.monotonic()
    bounds = " ".join(f"{key}={value}" for key, value in (FEW | needs).items())
    text = search(f"{bounds} {name}", False, expected == ENDLESS_RUN)
    wrong = None if expected in broken(text) else f"not found: {expected}"
    return *row(name, text, began, f"found: {expected}", wrong), None


def main():
    wanted = sys.argv[1:]
    checks = {args[0]: (check_sound, args) for args in SOUND} | {args[0]: (check_bug, args) for args in BUGS}
    for name in wanted:
        if name not in checks:
            sys.exit(f'check.py: no row "{name}" (write some of: {", ".join(checks)})')
    if shutil.which("spin") is None:
        sys.exit("check.py: there is no spin (install the package spin)")
    all_good, missed = True, []
    print(ROW.format("", "states", "transitions", "depth", "s", ""))
    with ThreadPoolExecutor(min(2, len(os.sched_getaffinity(0)))) as pool:
        for good, line, missing in pool.map(lambda name: checks[name][0](*checks[name][1]), wanted or checks):
            all_good &= good
            print(line, flush=True)
            if missing is not None:
                missed.append(missing)
    # What no search comes to is not checked by any.
    for line in sorted(set.intersection(*missed)) if not wanted else []:
        print(f"never reached: {line}")
        all_good = False
    sys.exit(0 if all_good else 1)


main()
