# SPDX-License-Identifier: Apache-2.0
"""The chaos suite in CI. RASAD_CHAOS_SECONDS is how long it goes on (150; sanitized: 20), with what is
done and sent in proportion; RASAD_CHAOS_SEED repeats what was done; RASAD_CHAOS_WITHOUT leaves out kinds
of disturbances."""
import collections
import json
import os
import random
import subprocess

import pytest

from chaos import BOUNDS, PROGRAMS, WEIGHTS, Chaos, Options
from harness import built_with

SECONDS = int(os.environ.get("RASAD_CHAOS_SECONDS", "20" if built_with("a") else "150"))
SEED = int(os.environ.get("RASAD_CHAOS_SEED") or random.SystemRandom().randrange(1, 1_000_000))
WITHOUT = os.environ.get("RASAD_CHAOS_WITHOUT", "").split(",")


def test_every_sum_is_exact_after_all_of_it(tmp_path):
    log = []
    options = Options(
        seed=SEED, seconds=SECONDS, disturbances=SECONDS * 200 // 150, log=log.append,
        messages=SECONDS * 1_000_000 // (1500 if built_with("a") else 150),
        senders={"reference": 4, "spool": 2, "stdin": 2},
        kinds={kind: weight for kind, weight in WEIGHTS.items() if kind not in WITHOUT})
    print(f"seed {SEED}")
    chaos = Chaos(tmp_path, options)
    try:
        chaos.run()
    finally:
        print("\n".join(log))  # shown if it failed
    print(chaos.report())


# ---- The suite itself ---------------------------------------------------------------------------

def workload(verb, **words):
    command = [PROGRAMS / "chaos_sender", verb, *(f"{name}={value}" for name, value in words.items())]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def letters(text):
    return sum(c in "aA" for c in text)


def add_up(lines):
    """What the contract makes of these messages, read as any JSON."""
    sums, paths, buckets = collections.Counter(), collections.Counter(), collections.Counter()
    for k, line in enumerate(lines, 1):
        try:
            message = json.loads(line)
        except ValueError:
            continue
        for key, value in message.items():
            for sample in value if isinstance(value, list) else [value]:
                if key == "chaos_letters":
                    sums["letters"] += letters(sample)
                elif key == "chaos_sizes":
                    sums["sizes"] += 1
                    sums["sizes_sum"] += int(sample)
                    buckets.update(str(b) for b in BOUNDS if int(sample) <= b)
                    buckets["+Inf"] += 1
                elif key == "chaos_pushes" and int(sample) > 0:
                    sums["pushes"] += int(sample)
                elif key == "chaos_paths":
                    paths[sample["labels"]["path"]] += int(sample["value"])
                elif key == "chaos_last":
                    assert sample == k
                    sums["last"] = k
                elif key == "chaos_level" and sample != "high":
                    sums["level"] += sample["add"]
    return dict(sums) | {"paths": dict(paths), "buckets": dict(buckets)}


@pytest.mark.parametrize("plain", [0, 1])
def test_what_is_expected_is_what_the_messages_say(plain):
    for index in (1, 8):
        lines = workload("print", index=index, messages=20_000, plain=plain).splitlines()
        expected = json.loads(workload("expect", index=index, messages=20_000, plain=plain))
        assert len(lines) == expected["messages"] == 20_000
        assert all(line.startswith(b"{") for line in lines)
        assert plain == all(line.endswith(b"}") for line in lines)
        got = add_up(lines)
        assert got == {key: expected[key] for key in got}
