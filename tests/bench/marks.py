# SPDX-License-Identifier: Apache-2.0
"""marks: puts a bench's tables into the document between its marks."""


def write_between_marks(path, bench, lines):
    mark = f"<!-- bench {bench}: %s -->"
    text = path.read_text()
    head, _, rest = text.partition(mark % "begin")
    _, found, tail = rest.partition(mark % "end")
    if not found:
        raise SystemExit(f"{path} lacks the marks {mark % 'begin'} and {mark % 'end'}")
    body = "\n".join([mark % "begin", *lines, mark % "end"])
    path.write_text(head + body + tail)
