#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One run of the chaos suite: tests/system/chaos/run.py --seed 7 --seconds 20

RASAD_BUILD names the build folder (default: build/release). Exit code 0: nothing was found; 1: the
server or an agent has broken its word, which is told on standard error; the folder is then kept.
"""
import argparse
import random
import shutil
import sys
import tempfile
import traceback

from chaos import WEIGHTS, Chaos, Found, Options, draw_plan, end_cleanly


def pairs(text, default):
    """kind:3,other → {"kind": 3, "other": default}"""
    words = (word.partition(":") for word in text.split(",") if word)
    return {kind: int(number) if number else default(kind) for kind, _, number in words}


def read_command_line():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1_000_000))
    parser.add_argument("--seconds", type=int, default=150, help="how long (default 150)")
    parser.add_argument("--disturbances", type=int, help="how many (default: 200 in 150 seconds)")
    parser.add_argument("--messages", type=int, help="of each sender (default: 1000000 in 150 seconds)")
    parser.add_argument("--senders", default="reference:4,spool:2,stdin:2", help="KIND:COUNT,… or a count")
    parser.add_argument("--only", default="", help="disturbances KIND[:WEIGHT],…")
    parser.add_argument("--without", default="", help="disturbances to leave out: KIND,…")
    parser.add_argument("--plan", action="store_true", help="print the disturbances, and do nothing")
    return parser.parse_args()


def make_options(words):
    kinds = pairs(words.only, WEIGHTS.get) if words.only else dict(WEIGHTS)
    for kind in words.without.split(","):
        kinds.pop(kind, None)
    unknown = kinds.keys() - WEIGHTS.keys()
    if unknown:
        raise SystemExit(f"no such disturbance: {unknown} (there are {', '.join(WEIGHTS)})")
    senders = {"reference": int(words.senders)} if words.senders.isdigit() else pairs(words.senders, lambda _: 1)
    return Options(
        seed=words.seed, seconds=words.seconds, senders=senders, kinds=kinds,
        disturbances=max(1, words.seconds * 200 // 150) if words.disturbances is None else words.disturbances,
        messages=words.messages or words.seconds * 1_000_000 // 150,
        log=lambda line: print(line, flush=True))


def main():
    words = read_command_line()
    options = make_options(words)
    print(f"seed {options.seed}", flush=True)
    if words.plan:
        print("\n".join(str(d) for d in draw_plan(options)))
        return 0
    end_cleanly()
    folder = tempfile.mkdtemp(prefix="rasad-chaos-")
    chaos = Chaos(folder, options)
    try:
        chaos.run()
    except Found as found:
        print(f"FOUND with seed {options.seed}: {found}\n(see {folder})", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(folder)
        raise
    except BaseException:
        traceback.print_exc()
        print(f"(seed {options.seed}, see {folder})", file=sys.stderr)
        return 2
    print(f"nothing found with seed {options.seed}: {chaos.report()}")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
