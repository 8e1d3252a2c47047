# SPDX-License-Identifier: Apache-2.0
"""faults: makes calls of a running program fail, and good again.

    faults = Faults(tmp_path / "faults", program="rasadd")
    rasadd(..., environment=faults.environment)          # or Recording(..., with_faults=faults)
    full = faults.set("pwrite", errno.ENOSPC, below=state_dir)   # every call from now on
    full.wait_failed(1)
    full.clear()

set() takes first=N (from the N-th call on; with every=0 only that one), every=N, most=N (fails no
more than N), bytes=N (a short write instead of an error), delay_us, below=folder and
while_file=path ("!path": while it is not there). Counts start when the rule is set.
"""
import mmap
import os
import struct
import time
from pathlib import Path

BUILD = Path(os.environ.get("RASAD_BUILD", Path(__file__).resolve().parents[2] / "build" / "release"))
FUNCTIONS = ("write pwrite writev pwritev fsync fdatasync mmap accept malloc calloc realloc open "
             "ftruncate rename unlink fallocate mkdir").split()
MAGIC, RULES, PAGE_BYTES, PATH_BYTES = 0x31746c66, 16, 8192, 192
CALLS_AT = 8
RULES_AT = CALLS_AT + 8 * (len(FUNCTIONS) + 1)
RULE = struct.Struct(f"=IIQQQiIIIQQ{PATH_BYTES}s{PATH_BYTES}s")
SEEN_AT, FAILED_AT = 48, 56


class Rule:
    def __init__(self, faults, place):
        self.faults, self.at = faults, RULES_AT + place * RULE.size

    def value(self, offset):
        return struct.unpack_from("=Q", self.faults.page, self.at + offset)[0]

    @property
    def seen(self):
        """How many calls it has looked at."""
        return self.value(SEEN_AT)

    @property
    def failed(self):
        return self.value(FAILED_AT)

    def wait_failed(self, at_least=1, deadline_s=30):
        end = time.monotonic() + deadline_s
        while self.failed < at_least:
            assert time.monotonic() < end, f"only {self.failed} of {at_least} calls failed"
            time.sleep(0.002)
        return self

    def clear(self):
        struct.pack_into("=I", self.faults.page, self.at, 0)


class Faults:
    def __init__(self, path, program=None):
        self.path = Path(path)
        self.path.write_bytes(struct.pack("=I", MAGIC).ljust(PAGE_BYTES, b"\0"))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), PAGE_BYTES)
        self.environment = {"RASAD_FAULTS": str(self.path),
                            "LD_PRELOAD": str(BUILD.resolve() / "tests" / "power" / "faults.so")}
        if program:
            self.environment["RASAD_FAULTS_PROGRAM"] = program

    def set(self, function, error, first=1, every=1, most=0, bytes=0, delay_us=0, below="",
            while_file=""):
        """A rule in the first free place."""
        below = os.path.realpath(below) if below else ""
        paths = [str(path).encode() for path in (below, while_file)]
        assert all(len(path) < PATH_BYTES for path in paths), "a path is too long for the page"
        for place in range(RULES):
            at = RULES_AT + place * RULE.size
            if struct.unpack_from("=I", self.page, at)[0] == 0:
                break
        else:
            raise RuntimeError("the page is full")
        RULE.pack_into(self.page, at, 0, FUNCTIONS.index(function) + 1, first, every, most, error,
                       bytes, delay_us, 0, 0, 0, *paths)
        struct.pack_into("=I", self.page, at, 1)
        return Rule(self, place)

    def clear(self):
        for place in range(RULES):
            Rule(self, place).clear()

    def calls(self, function):
        """How often it was called at all."""
        return struct.unpack_from("=Q", self.page, CALLS_AT + 8 * (FUNCTIONS.index(function) + 1))[0]
