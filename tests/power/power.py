# SPDX-License-Identifier: Apache-2.0
"""power: records what a program does to a folder, and shows power cuts of it to a checker.

    recording = Recording(tmp_path / "log", state_dir, program="rasadd")
    rasadd(..., environment=recording.environment)
    recording.note("acked web-1 500")            # at any time, from any process
    found = recording.images(1000, checker)      # a command as a list, or a function
    assert found.failed == 0, found.text

A command gets the image's folder and the last note as arguments, and RASAD_IMAGE_NOTES. A function
gets check(folder: Path, note: str, notes: dict) and returns None, or what is wrong as a string. Both
may change the image. notes has the last note of each kind: {"acked web-1": "500"}.
"""
import os
import re
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

BUILD = Path(os.environ.get("RASAD_BUILD", Path(__file__).resolve().parents[2] / "build" / "release"))
TOOLS = BUILD.resolve() / "tests" / "power"
MAGIC, NOTE = 0x72775052, 5


@dataclass
class Found:
    tried: int = 0
    failed: int = 0
    seed: int = 0
    healed: int = 0  # bytes that snapshots had to add to the log
    codes: dict = field(default_factory=dict)  # how many images, by the checker's exit code
    text: str = ""


def preload(*names):
    """LD_PRELOAD for these tools. The recorder goes first: it is to see what the faults let through."""
    return ":".join(str(TOOLS / name) for name in names)


class Recording:
    def __init__(self, log, folder, program=None, with_faults=None):
        self.log, self.folder = Path(log), Path(folder)
        self.environment = {"RASAD_RECORD": str(self.log), "RASAD_RECORD_FOLDER": str(self.folder),
                            "LD_PRELOAD": preload("recorder.so")}
        if program:
            self.environment["RASAD_RECORD_PROGRAM"] = program
        if with_faults:
            self.environment |= with_faults.environment
            self.environment["LD_PRELOAD"] = preload("recorder.so", "faults.so")

    def note(self, text):
        text = text.encode()
        length = 48 + len(text) + 4
        entry = (struct.pack("=IIHHIQQQQ", MAGIC, length, NOTE, 0, 0, 0, 0, 0, 0) + text
                 + struct.pack("=I", MAGIC ^ length))
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            assert os.write(log, entry) == len(entry)
        finally:
            os.close(log)

    def images(self, count, checker, seed=None, image=None, sector=512, names="ordered", live=True,
               keep=None, timeout_s=20, odd_ok=False):
        """Shows `count` images, or only number `image` of them. With `live`, the program has ended
        and the folder must be what the log says."""
        command = [str(TOOLS / "images"), "--log", str(self.log), "--images", str(count),
                   "--sector", str(sector), "--names", names, "--timeout", str(timeout_s)]
        for option, value in (("--seed", seed), ("--image", image), ("--keep", keep),
                              ("--live", self.folder if live else None)):
            command += [option, str(value)] if value is not None else []
        command += ["--odd-ok"] if odd_ok else []
        if callable(checker):
            code, text = ask(command + ["--ask"], checker)
        else:
            run = subprocess.run(command + ["--"] + [str(c) for c in checker], check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            code, text = run.returncode, run.stdout
        print(text)
        assert code in (0, 1), text
        values = dict(re.findall(r"(\w+)=(\d+)", text.splitlines()[-1]))
        return Found(tried=int(values["tried"]), failed=int(values["failed"]),
                     seed=int(values["seed"]), healed=int(values["healed"]),
                     codes={int(key[5:]): int(value) for key, value in values.items()
                            if key.startswith("code_")}, text=text)


def ask(command, check):
    text = ""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as images:
        for line in images.stdout:
            if not line.startswith("image\t"):
                text += line
                continue
            _, _, folder, note = line.rstrip("\n").split("\t", 3)
            lines = (Path(folder).parent / "notes").read_text().splitlines()
            notes = {kind: value for kind, _, value in (entry.rpartition(" ") for entry in lines)}
            wrong = check(Path(folder), note, notes)
            images.stdin.write("ok\n" if wrong is None else f"{str(wrong)[:4000]!r}\n")
            images.stdin.flush()
    return images.returncode, text
