# SPDX-License-Identifier: Apache-2.0
"""layout: what rasad/plugin.h lays down in memory, and how that differs from a committed record.

The members are read from the header's text, so that none can be forgotten, and the compiler tells
where each lies. A declaration that this reader does not understand is an error, not a gap.
"""
import re
import subprocess
from dataclasses import dataclass, field

MACROS = ("RASAD_ABI", "RASAD_MAGIC", "RASAD_NOTE_OWNER", "RASAD_NOTE_ABI")
BREAKS = ("plugins that are compiled already would break (undo it; or raise RASAD_ABI, which all "
          "plugins must be compiled anew for, and begin a record of that number)")
GROWS = "growth at the end is allowed (add this line to the record, and set the struct's size)"
NEW = "new names are allowed (add this line to the record)"


@dataclass
class Struct:
    grows: bool = False
    size: int = 0
    members: dict = field(default_factory=dict)  # name: (offset, size, declaration)


@dataclass
class Layout:
    constants: dict = field(default_factory=dict)  # of macros and enums: name: value as text
    structs: dict = field(default_factory=dict)

    def lines(self):
        """As the record has it."""
        for name, value in self.constants.items():
            yield f"constant {name} {value}"
        for name, struct in self.structs.items():
            yield f"struct {name} {'grows' if struct.grows else 'fixed'} {struct.size} bytes"
            for offset, size, declaration in struct.members.values():
                yield member_line(offset, size, declaration)


def member_line(offset, size, declaration):
    return f"{offset:7} {size:4}  {declaration}"


# ---- The header --------------------------------------------------------------------------------

def plain(text):
    """The header as C sees it: without comments and without what is for C++ or for plugins' code."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"^#ifdef __cplusplus\n(.*?)^(?:#else\n(.*?)^)?#endif\n",
                  lambda match: match[2] or "", text, flags=re.S | re.M)


def read_member(declaration):
    """The name that is declared, and the declaration on one line."""
    line = re.sub(r"\s+", " ", declaration).strip()
    match = (re.fullmatch(r"[\w ]+ \*?\(\*(\w+)\)\(([\w *,]+)\)", line) or
             re.fullmatch(r"[\w ]+?[ *]+(?:const \*)?(\w+)(?:\[\w+\])?", line))
    if not match:
        raise ValueError(f"cannot read the declaration \"{line}\" (write one member a line)")
    return match[1], line


def without_names(declaration):
    """A function's declaration without its parameters' names, which are nobody's business."""
    head, bracket, parameters = declaration.rpartition(")(")
    return head + bracket + re.sub(r" (\*?)\w+(?=[,)])", lambda found: " *" if found[1] else "",
                                   parameters) if bracket else declaration


def read_header(text):
    """Names of constants, and {struct: [(member, declaration)]}, in the header's order."""
    text = plain(text)
    names = list(MACROS)
    for body in re.findall(r"\benum\s*\{(.*?)\}", text, re.S):
        names += re.findall(r"(\w+)\s*=", body)
    structs = {}
    for name, body in re.findall(r"\bstruct (\w+)\s*\{(.*?)\};", text, re.S):
        structs[name] = [read_member(part) for part in body.split(";")[:-1]]
        if body.split(";")[-1].strip():
            raise ValueError(f"cannot read the end of struct {name}")
    if len(structs) != len(re.findall(r"\bstruct \w+\s*\{", text)) or "union" in text:
        raise ValueError("cannot read all structs (write none within another)")
    return names, structs


def measure(text, folder, compiler="cc"):
    """The layout of a header with this text; `folder` is for files."""
    names, structs = read_header(text)
    (folder / "rasad").mkdir()
    (folder / "rasad" / "plugin.h").write_text(text)
    source = ["#define RASAD_HOST", "#include <rasad/plugin.h>", "int main(void)", "{"]
    source += ["    puts(RASAD_NOTE_OWNER);" if name == "RASAD_NOTE_OWNER" else
               f"    printf(\"%lld\\n\", (long long){name});" for name in names]
    for struct, members in structs.items():
        source.append(f"    printf(\"%zu\\n\", sizeof(struct {struct}));")
        source += [f"    printf(\"%zu %zu\\n\", offsetof(struct {struct}, {member}),"
                   f" sizeof ((struct {struct} *)0)->{member});" for member, _ in members]
    (folder / "probe.c").write_text("\n".join([*source, "    return 0;", "}", ""]))
    subprocess.run([compiler, "-std=c17", "-w", f"-I{folder}", "-o", folder / "probe",
                    folder / "probe.c"], check=True, timeout=60)
    answers = iter(subprocess.run([folder / "probe"], check=True, capture_output=True, text=True,
                                  timeout=60).stdout.split("\n"))
    layout = Layout(constants={name: next(answers) for name in names})
    for name, members in structs.items():
        struct = layout.structs[name] = Struct(size=int(next(answers)))
        for member, declaration in members:
            offset, size = map(int, next(answers).split())
            struct.members[member] = (offset, size, without_names(declaration))
    return layout


# ---- The record --------------------------------------------------------------------------------

def read_record(text):
    """What Layout.lines() wrote; # begins a comment."""
    layout, struct = Layout(), None
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "constant":
            layout.constants[words[1]] = words[2]
        elif words[0] == "struct":
            struct = layout.structs[words[1]] = Struct(words[2] == "grows", int(words[3]))
        else:
            name, declaration = read_member(" ".join(words[2:]))
            struct.members[name] = (int(words[0]), int(words[1]), declaration)
    return layout


def compare_struct(name, was, now):
    for member, recorded in was.members.items():
        found = now.members.get(member)
        if found is None:
            yield f"{name}.{member} is gone: {BREAKS}"
        elif found != recorded:
            yield (f"{name}.{member}: was \"{member_line(*recorded).strip()}\", is "
                   f"\"{member_line(*found).strip()}\": {BREAKS}")
    for member, (offset, size, declaration) in now.members.items():
        if member in was.members:
            continue
        if was.grows and offset >= was.size:
            yield f"{name}.{member} is new: {GROWS}:\n{member_line(offset, size, declaration)}"
        else:
            place = "lies among the old ones" if was.grows else "this struct carries no size"
            yield f"{name}.{member} is new, but {place}: {BREAKS}"
    if now.size != was.size and now.members.keys() == was.members.keys():
        yield f"struct {name}: was of {was.size} bytes, is of {now.size}: {BREAKS}"


def compare(record, now):
    """What differs, a text each that says what to do."""
    for name, value in record.constants.items():
        if now.constants.get(name) != value:
            yield f"{name}: was {value}, is {now.constants.get(name, 'gone')}: {BREAKS}"
    for name in now.constants.keys() - record.constants.keys():
        yield f"{name}: {NEW}:\nconstant {name} {now.constants[name]}"
    for name, was in record.structs.items():
        if name in now.structs:
            yield from compare_struct(name, was, now.structs[name])
        else:
            yield f"struct {name} is gone: {BREAKS}"
    for name in now.structs.keys() - record.structs.keys():
        yield f"struct {name}: {NEW}:\nstruct {name} fixed {now.structs[name].size} bytes …"
