# SPDX-License-Identifier: Apache-2.0
"""exposition: reads the Prometheus text format 0.0.4 and accepts nothing that the format doesn't.

A scraper is lenient and a test must not be: whatever parse() returns has kept every rule of the
format (metadata once and before its samples, one group a family, no duplicate series, the shape of
histograms and summaries) and of our own house (HELP and TYPE everywhere, `_total`, no time stamps,
no empty label, one order of labels a family). ValueError says which line broke which rule.
"""
import math
import re

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")  # without the colon, which is for recording rules
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z")
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


class Family:
    """A metric family: its type, its help, and its samples (name, labels, value) in order."""

    def __init__(self, name):
        self.name, self.type, self.help, self.samples = name, None, None, []


class Exposition:
    """A parsed scrape."""

    def __init__(self, text, families):
        self.text, self.families = text, families
        self.values = {
            (name, frozenset(labels.items())): value
            for family in families.values()
            for name, labels, value in family.samples
        }

    def value(self, metric, /, **labels):
        """The value of exactly this series; KeyError if there is none."""
        return self.values[metric, frozenset(labels.items())]

    def get(self, metric, default=None, /, **labels):
        return self.values.get((metric, frozenset(labels.items())), default)

    def series(self, metric, /, **labels):
        """All series of this name that carry at least these labels: a list of (labels, value)."""
        return [(dict(rest), value) for (name, rest), value in self.values.items()
                if name == metric and labels.items() <= dict(rest).items()]

    def total(self, metric, /, **labels):
        return sum(value for _, value in self.series(metric, **labels))

    def rejected(self):
        """Reason → count of what was refused, reasons of count 0 left out."""
        return {labels["reason"]: value
                for labels, value in self.series("rasad_rejected_total") if value != 0}


def parse(body):
    """The Exposition that these bytes are; ValueError if they aren't quite one."""
    text = body.decode("utf-8")  # UnicodeDecodeError is a ValueError
    families, current = {}, None
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no line feed")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            current = take_line(line, families, current)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}: {line!r}") from None
    for family in families.values():
        check_family(family)
    check_duplicates(families)
    return Exposition(text, families)


def take_line(line, families, current):
    """Adds a line to its family, which it returns."""
    if any(ord(c) < 0x20 for c in line):
        raise ValueError("a control character")
    if line.startswith("# HELP ") or line.startswith("# TYPE "):
        return take_metadata(line, families, current)
    if not line or line.startswith("#"):
        return current
    name, labels, value = read_sample(line)
    if current is None or name not in sample_names(current):
        raise ValueError(f"{name} stands outside its family's group, or has no TYPE")
    current.samples.append((name, labels, value))
    return current


def take_metadata(line, families, current):
    word, name, rest = (line[2:].split(" ", 2) + [""])[:3]
    if not NAME.match(name):
        raise ValueError("an illegal name")
    if current is None or current.name != name:
        if name in families:
            raise ValueError("the family's lines don't form one group")
        current = families[name] = Family(name)
    if current.samples:
        raise ValueError("metadata behind the first sample")
    if (current.help if word == "HELP" else current.type) is not None:
        raise ValueError(f"{word} twice")
    if word == "HELP":
        current.help = unescape(rest, {"\\": "\\", "n": "\n"})
        return current
    if rest not in TYPES:
        raise ValueError("an unknown type")
    current.type = rest
    return current


def sample_names(family):
    return [family.name + suffix for suffix in SUFFIXES.get(family.type, ("",))]


def unescape(text, escapes):
    """Resolves backslash escapes, of which only these are legal."""
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\":
            if at + 1 == len(text) or text[at + 1] not in escapes:
                raise ValueError("an illegal escape")
            at += 1
            out.append(escapes[text[at]])
        else:
            out.append(text[at])
        at += 1
    return "".join(out)


LABEL = re.compile(r'([^=,{}" ]*)="((?:[^"\\]|\\.)*)"')


def read_sample(line):
    match = re.match(r"[^{ ]+", line)
    if not match or not NAME.match(match[0]):
        raise ValueError("an illegal name")
    name, rest, labels = match[0], line[match.end():], {}
    if rest.startswith("{"):
        labels, rest = read_labels(rest)
    if not rest.startswith(" ") or " " in rest[1:]:
        raise ValueError("wants one blank and a value, and no time stamp")
    return name, labels, read_number(rest[1:])


def read_labels(rest):
    labels, at = {}, 1
    while True:
        match = LABEL.match(rest, at)
        if not match:
            raise ValueError("a malformed label")
        key, value = match[1], unescape(match[2], {"\\": "\\", '"': '"', "n": "\n"})
        if not NAME.match(key) or key.startswith("__"):
            raise ValueError(f"illegal label name {key!r}")
        if key in labels:
            raise ValueError(f"label {key} twice")
        if value == "":
            raise ValueError(f"label {key} is empty, which equals absent")
        labels[key] = value
        at = match.end() + 1
        if rest[match.end():at] == "}":
            return labels, rest[at:]
        if rest[match.end():at] != ",":
            raise ValueError("labels are parted by commas")


def read_number(text):
    if text in ("NaN", "+Inf", "-Inf"):
        return float(text)
    if not NUMBER.match(text):
        raise ValueError(f"{text!r} is no value")
    return float(text)


def check_family(family):
    if family.type is None or family.help is None:
        raise ValueError(f"{family.name}: wants both HELP and TYPE")
    if family.type == "counter":
        check_counter(family)
    if family.type in SUFFIXES:
        check_shapes(family)
    check_label_order(family)


def check_counter(family):
    if not family.name.endswith("_total"):
        raise ValueError(f"{family.name}: a counter's name ends in _total")
    for _, labels, value in family.samples:
        if not 0 <= value:  # NaN isn't either
            raise ValueError(f"{family.name}{labels}: a counter can't be {value}")


def check_shapes(family):
    """Histograms and summaries: the parts of each series stand together, in order and complete."""
    part_label = "le" if family.type == "histogram" else "quantile"
    groups, order = {}, []
    for name, labels, value in family.samples:
        rest = {k: v for k, v in labels.items() if k != part_label}
        key = frozenset(rest.items())
        if not order or order[-1] != key:
            if key in groups:
                raise ValueError(f"{family.name}{rest}: interleaved with another series")
            order.append(key)
            groups[key] = []
        groups[key].append((name[len(family.name):], labels.get(part_label), value))
    for key, parts in groups.items():
        try:
            check_shape(family.type, parts)
        except ValueError as error:
            raise ValueError(f"{family.name}{dict(key)}: {error}") from None


def check_shape(kind, parts):
    suffixes = [suffix for suffix, _, _ in parts]
    part = "_bucket" if kind == "histogram" else ""
    if suffixes != [part] * (len(parts) - 2) + ["_sum", "_count"]:
        raise ValueError(f"its parts are {suffixes}")
    bounds = [read_number(bound) for _, bound, _ in parts[:-2]]
    if any(not a < b for a, b in zip(bounds, bounds[1:])):
        raise ValueError(f"its bounds don't rise: {bounds}")
    if kind == "summary" and any(not 0 <= q <= 1 for q in bounds):
        raise ValueError(f"quantiles beyond 0 to 1: {bounds}")
    count = parts[-1][2]
    if count != int(count) or count < 0:
        raise ValueError(f"a count of {count}")
    if kind == "histogram":
        check_buckets(bounds, [value for _, _, value in parts[:-2]], count)


def check_buckets(bounds, counts, count):
    if not bounds or bounds[-1] != math.inf:
        raise ValueError("no +Inf bucket")
    if any(a > b for a, b in zip(counts, counts[1:])) or any(c != int(c) for c in counts):
        raise ValueError(f"buckets are not cumulative: {counts}")
    if counts[-1] != count:
        raise ValueError(f"the +Inf bucket holds {counts[-1]}, but the count is {count}")


def check_label_order(family):
    """Any two labels stand in the same order in all of a family's samples."""
    before = set()
    for _, labels, _ in family.samples:
        names = list(labels)
        before |= {(a, b) for i, a in enumerate(names) for b in names[i + 1:]}
    for a, b in before:
        if (b, a) in before:
            raise ValueError(f"{family.name}: labels {a} and {b} change places")


def check_duplicates(families):
    seen = set()
    for family in families.values():
        for name, labels, _ in family.samples:
            key = (name, frozenset(labels.items()))
            if key in seen:
                raise ValueError(f"{name}{labels} appears twice")
            seen.add(key)
