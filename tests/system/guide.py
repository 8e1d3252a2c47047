# SPDX-License-Identifier: Apache-2.0
"""guide: docs/plugin-guide.md as a script. A fenced `sh` block is what the reader types; an unnamed
block right behind it is what is then to be seen, where … stands for any text within a line, and
for any lines on a line of its own. A `c` or `conf` block is what the kit's file of that kind holds.
"""
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "plugin-guide.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.S | re.M)


@dataclass
class Step:
    command: str
    shown: str | None  # None: whatever it says is fine, as long as it succeeds
    line: int


def fences(text):
    """(language, content, line, position behind it) of each fenced block."""
    return [(match[1], match[2], text.count("\n", 0, match.start()) + 1, match.start(), match.end())
            for match in FENCE.finditer(text)]


def steps(text):
    found = fences(text)
    for i, (language, content, line, _, end) in enumerate(found):
        if language == "sh":
            follows = i + 1 < len(found) and found[i + 1][0] == "" and found[i + 1][3] == end
            yield Step(content, found[i + 1][1] if follows else None, line)
    # A block that nobody reads would be a promise that nobody keeps.
    for (language, *_, start, _), before in zip(found, [None, *found]):
        assert language in ("sh", "c", "conf") or (before and before[0] == "sh" and before[4] == start), language


def file_of(text, language):
    """The content of the one block in this language."""
    (content,) = [content for name, content, *_ in fences(text) if name == language]
    return content


def matches(shown, said):
    """Whether what was said is what the guide shows."""
    pattern = "".join(r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
                      for line in shown.splitlines())
    return re.fullmatch(pattern, said) is not None


class Reader:
    """Somebody who types what the guide says, in a shell that keeps its folder."""

    def __init__(self, folder, environment, wrapper=(), substitutions=None):
        self.folder, self.environment, self.wrapper = str(folder), environment, list(wrapper)
        self.substitutions = substitutions or {}

    def substitute(self, text):
        for word, other in self.substitutions.items():
            text = text.replace(word, other)
        return text

    def follow(self, step):
        command = self.substitute(step.command)
        script = f'cd "{self.folder}"\n{{\n{command}}} 2>&1\nprintf "\\n%s" "$PWD"\n'
        done = subprocess.run([*self.wrapper, "bash", "-euo", "pipefail", "-c", script], timeout=300,
                              env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True, check=False)
        place = f"{GUIDE.name}:{step.line}"
        assert done.returncode == 0, f"{place}: exit code {done.returncode}:\n{command}{done.stdout}"
        said, _, self.folder = done.stdout.rpartition("\n")
        assert step.shown is None or matches(self.substitute(step.shown), said), (
            f"{place} shows\n{step.shown}but it says\n{said}")
        return said
