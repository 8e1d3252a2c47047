# SPDX-License-Identifier: Apache-2.0
"""The manual and bash's completion say what the programs say, no less and no more."""

import os
import re
import subprocess

import pytest

from harness import BUILD, ROOT, program

MANUAL = BUILD / "share" / "man"
PAGES = {path.name: path for path in sorted(MANUAL.glob("man*/*"))}


def page(name):
    """The page's source, with dashes and quotes as they are typed, and without fonts."""
    text = PAGES[name].read_text().replace("\\-", "-").replace("\\(dq", '"')
    return re.sub(r"\\f[A-Z]", "", text)


def section_of(name, title):
    return re.search(rf'^\.SH "?{re.escape(title)}"?\n(.*?)(?=^\.SH|\Z)', page(name), re.M | re.S)[1]


# ---- The pages ----------------------------------------------------------------------------------

def test_no_page_is_missing():
    assert set(PAGES) == {"rasadctl.1", "rasad-client.3", "rasad.conf.5", "rasad-agent.conf.5",
                          "rasad-plugin.7", "rasad-protocol.7", "rasad-agent.8", "rasadd.8"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_laid_out_without_a_warning(name):
    """As lintian has it."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80")
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", PAGES[name]],
                          env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_found_and_leads_on(name):
    """apropos(1) finds it by its own name, and what it refers to of ours is there."""
    said = subprocess.run(["lexgrog", PAGES[name]], capture_output=True, text=True)
    names = re.findall(r': "(\S+) - ', said.stdout)
    assert said.returncode == 0, said.stdout
    assert name.rpartition(".")[0] in names or name == "rasad-client.3"
    links = {f"{of}.{number}" for of, number in re.findall(r"^\.BR (\S+) \((\d)\)", page(name), re.M)}
    assert {link for link in links if link.startswith("rasad")} <= set(PAGES) - {name}
    assert re.search(r"^\.BR ", section_of(name, "SEE ALSO"), re.M)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_of_this_version_and_of_no_day(name):
    version = subprocess.run([program("rasadd"), "-V"], capture_output=True, text=True).stdout.split()[1]
    title, number = name.upper().rsplit(".", 1)
    assert f'.TH {title} {number} "" "Rasad {version}" ' in page(name)


# ---- Options of the confs -----------------------------------------------------------------------

def entries(text):
    """The options that have an entry, each with what it says."""
    return re.findall(r'^\.TP\n\.BR (\w+) " = [^\n]*"\n(.*?)(?=^\.TP|^\.S|\Z)', text, re.M | re.S)


def check_entries(found):
    assert found
    for name, said in found:
        assert len(said) > 20 and re.search("[Dd]efault|must be there", said), name


def effective(tmp_path):
    """`rasadd -T` of a conf with each of the plugins that were built: sections as lists of options."""
    plugins = sorted(path.stem for path in (BUILD / "lib/rasad/plugins").glob("*.so"))
    assert len(plugins) >= 8
    conf = tmp_path / "rasad.conf"
    conf.write_text("".join(f'metric "{name}" {{ plugin = "{name}" {needed} }}\n' for name in plugins
                            for needed in ['letters = "a"' if name == "letter_counter" else ""]))
    shown = subprocess.run([program("rasadd"), "-T", "-c", conf], capture_output=True, text=True,
                           check=True).stdout
    sections = {"": []}
    at = ""
    for line in shown.splitlines():
        if opened := re.match(r'(?:metric )?"?(\w+)"? \{', line):
            at = opened[1]
            sections[at] = []
        elif line == "}":
            at = ""
        else:
            sections[at].append(tuple(re.match(r" *(\w+) = (.*) # ", line).groups()))
    return plugins, sections


def test_rasad_conf_has_every_option_and_its_default(tmp_path):
    plugins, sections = effective(tmp_path)
    common = entries(section_of("rasad.conf.5", 'SECTIONS metric "KEY"'))
    parts = {"": entries(section_of("rasad.conf.5", "THE SERVER")),
             "listen": entries(section_of("rasad.conf.5", "SECTION listen")),
             "http": entries(section_of("rasad.conf.5", "SECTION http"))}
    told = re.split(r'^\.SS "plugin = "(\w+)""\n', section_of("rasad.conf.5", "PLUGINS"), flags=re.M)
    assert sorted(told[1::2]) == plugins
    for plugin, text in zip(told[1::2], told[2::2]):
        assert text.startswith(("The ", "How ", "Count"))
        parts[plugin] = common + entries(text)
    assert set(parts) == set(sections)
    for at, options in sections.items():
        check_entries(parts[at])
        assert [name for name, _ in options] == [name for name, _ in parts[at]], at
        for (name, value), (_, said) in zip(options, parts[at]):
            default = re.search(r"^Default: (.*)\.$", said, re.M)
            if default and name not in ("plugin_path", "name", "help", "labels"):
                assert default[1].split() == value.split(), name


def test_rasad_conf_tells_what_needs_a_restart():
    plan = (ROOT / "core" / "reload" / "plan.c").read_text().partition("One section")[0]
    told = section_of("rasad.conf.5", "RELOADING").partition("a restart of the server is needed")[2]
    assert re.findall(r"^\.BR (\w+)", told, re.M) == re.findall(r'\{"(\w+)", [^}]*to->', plan)


def rows_of(of):
    source = (ROOT / "agent" / "agent_conf.c").read_text()
    return re.findall(rf"RASAD_OPTION_[A-Z]+\(struct {of}, (\w+),", source)


def test_the_conf_of_the_agent_has_every_option_and_collector():
    parts = {"agent_conf": "OPTIONS", "agent_conf_collector": 'SECTIONS collector "NAME"'}
    for of, title in parts.items():
        found = entries(section_of("rasad-agent.conf.5", title))
        check_entries(found)
        assert rows_of(of) == [name for name, _ in found]
    collectors = sorted(path.stem for path in (BUILD / "lib/rasad/collectors").glob("*.so"))
    told = section_of("rasad-agent.conf.5", "COLLECTORS")
    assert re.findall(r"(?<!\.RS\n)^\.TP\n\.B (\w+)$", told, re.M) == collectors


# ---- The protocol -------------------------------------------------------------------------------

def source(*names):
    return "".join((ROOT / name).read_text() for name in names)


def test_the_protocol_has_every_object():
    """Those that the programs know, those of protocol.md, and no others."""
    files = [*ROOT.glob("core/*.c"), *ROOT.glob("agent/*.c")]
    known = set(re.findall(r'"(?:\{\\")?(@[a-z]+)', source(*files)))
    assert len(known) >= 7
    told = set(re.findall(r"^\.BI? \{\"(@[a-z]+)", section_of("rasad-protocol.7", "OBJECTS"), re.M))
    in_docs = set(re.findall(r"[{`\"](@[a-z]+)", source("docs/protocol.md")))
    assert told == known == in_docs


def test_the_protocol_has_every_member_reason_and_state():
    text = page("rasad-protocol.7")
    entries_of = set(re.findall(r"^\.TP\n\.B (\w+)$", text, re.M))
    protocol, message = source("core/protocol.c"), source("core/message.c")
    members = set(re.findall(r'_get_ex\(\w+, "([a-z_]+)"', protocol)) - {"to"}  # told with @skip
    members |= set(re.findall(r'strcmp\(name, "([a-z]+)"\)', message))
    members |= set(re.findall(r'is\(name, "([a-z]+)"\)', source("agent/reply.c"))) - {"reason", "text"}
    errors = set(re.findall(r'misuse\(connection, "(\w+)"', protocol))
    reasons = set(re.findall(r'"([a-z0-9_]+)",', source("core/reject.h")))
    states = {word.lower() for word in re.findall(r"^    LINK_([A-Z]+),", source("agent/link.h"), re.M)}
    assert len(members) >= 11 and len(states) >= 6 and len(errors) >= 3 and len(reasons) >= 10
    # An agent that looks addresses up is connecting to whoever looks from outside.
    assert members | errors | reasons | states - {"resolving"} <= entries_of


# ---- Plugins ------------------------------------------------------------------------------------

def public_names():
    """Of the header, without what it keeps to itself, and the members of its structs."""
    header = re.sub(r"/\*.*?\*/", "", source("core/include/rasad/plugin.h"), flags=re.S)
    names = set(re.findall(r"\b(?:rasad|RASAD)_[A-Za-z_]*\w", header))
    names -= {"RASAD_HOST", "RASAD_TEXT_OF", "RASAD_TEXT_OF_"}
    members = set(re.findall(r"^ +\d+ +\d+ +.*?(\w+)(?:\[\w*\])*(?:\)\(.*)?$",
                             source("tests/abi/plugin-1.txt"), re.M))
    return names, members


def test_the_plugin_page_has_every_name():
    names, members = public_names()
    assert len(names) > 50 and {"rasad_fail", "RASAD_OPTIONS"} <= names
    assert len(members) > 30 and {"span_count", "migrate", "text", "preset"} <= members
    text = page("rasad-plugin.7")
    text = text[:text.index(".SH EXAMPLES")]
    words = set(re.findall(r"\w+", text))
    assert names <= words and members <= words, (names | members) - words
    assert {word for word in words if re.match("rasad_|RASAD_", word)} <= names


def test_the_plugin_of_the_page_compiles(tmp_path):
    example = re.search(r"^\.EX\n(.*?)^\.EE", section_of("rasad-plugin.7", "EXAMPLES"), re.M | re.S)[1]
    file = tmp_path / "peak.c"
    file.write_text(example.replace("\\e", "\\"))
    subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Wno-unused-parameter", "-Werror",
                    "-fPIC", "-shared", "-fvisibility=hidden", "-I", ROOT / "core" / "include",
                    file, "-o", tmp_path / "peak.so", "-lm"], check=True)
    subprocess.run([program("rasadctl"), "check", tmp_path / "peak.so"], check=True,
                   stdout=subprocess.DEVNULL)


def test_every_plugin_of_ours_is_told_of():
    plugins = {path.stem for path in (BUILD / "lib/rasad/plugins").glob("*.so")}
    told = section_of("rasad-plugin.7", "RASAD'S OWN PLUGINS")
    assert set(re.findall(r"^\.TP\n\.B (\w+)$", told, re.M)) == plugins


def test_the_client_page_has_every_name():
    header = re.sub(r"/\*.*?\*/", "", source("agent/include/rasad/client.h"), flags=re.S)
    functions = set(re.findall(r"\b(rasad_client_\w+)\(", header))
    codes = set(re.findall(r"^    (RASAD_CLIENT_\w+) = ", header, re.M))
    structs = re.findall(r"^struct \w+ \{(.*?)^\};", header, re.M | re.S)
    members = set(re.findall(r"(\w+)(?:\[\w+\])?;", " ".join(structs))) | {"log"}
    assert len(functions) >= 9 and len(codes) >= 13 and {"when_full", "acked", "text"} <= members
    text = page("rasad-client.3")
    assert functions == set(re.findall(r"\b(rasad_client_\w+)\(", text))
    assert codes | members <= set(re.findall(r"\w+", text))


# ---- Options and verbs --------------------------------------------------------------------------

OPTION = r"(?<![\w-])--?[a-zA-Z][\w-]*"
COMPLETIONS = ROOT / "share" / "bash-completion" / "completions"
# What bash-completion gives, as far as we use it, so that the test needs no package.
STUB = """
_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}
                     prev=${words[cword - 1]}; }
_filedir() { COMPREPLY=("FILES$1"); }
_known_hosts_real() { COMPREPLY=(HOSTS); }
"""


def complete(*words, of="rasadctl"):
    """What bash offers for the last of these words."""
    script = STUB + f'. "{COMPLETIONS / of}"\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n' \
        f'_{of.replace("-", "_")}\n' 'printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script, "bash", program(of), *words], capture_output=True,
                          text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def usage_of(*command):
    done = subprocess.run([program(command[0]), *command[1:], "-h"], capture_output=True, text=True,
                          check=True)
    return done.stdout


def options_in(text):
    """But for those of another program."""
    return set(re.findall(OPTION, re.sub(r"rasadd -\w", "", text)))


def entry_of(verb):
    """What rasadctl(1) says of the verb, of `send` twice."""
    found = re.findall(rf"^\.BR {verb} (.*?)(?=^\.TP|^\.SH)", page("rasadctl.1"), re.M | re.S)
    assert found, verb
    return " ".join(found)


@pytest.mark.parametrize("of", ["rasadd", "rasad-agent"])
def test_a_daemon_has_the_options_of_its_page_and_its_completion(of):
    known = options_in(" ".join(re.findall(r"^ +(-.*?)(?:  |$)", usage_of(of), re.M)))
    told = options_in(" ".join(re.findall(r"^\.TP\n\.BR?(.*)", section_of(f"{of}.8", "OPTIONS"), re.M)))
    assert len(known) >= 12
    assert told - {"--config"} == known  # another spelling of --conf
    assert set(complete("-", of=of)) - {"--config"} == known
    assert options_in(section_of(f"{of}.8", "SYNOPSIS")) <= known


def test_rasadctl_has_the_verbs_of_its_page_and_its_completion():
    verbs = re.findall(r"^  ([a-z-]+)  +[a-z]", usage_of("rasadctl"), re.M)
    text = page("rasadctl.1")
    entries_of = re.findall(r"^\.TP\n\.BR ([a-z-]+) ", text[text.index(".SH WHAT RUNS"):], re.M)
    assert len(verbs) >= 15
    assert set(verbs) == set(entries_of)
    assert sorted(verbs) == sorted(word for word in complete("") if word[0] != "-")
    for verb in verbs:
        common = {"-h", "--help"}
        known = options_in(usage_of("rasadctl", verb)) | common
        if "-S" in known:
            common |= {"-S", "--socket"}
        assert options_in(entry_of(verb)) | common == known | common, verb
        assert set(complete(verb, "-")) == known | common, verb
    told = options_in(" ".join(re.findall(r"^\.BR (.*)", section_of("rasadctl.1", "OPTIONS"), re.M)))
    known = options_in(" ".join(re.findall(r"^ +(-.*?)  ", usage_of("rasadctl"), re.M)))
    assert told == set(complete("-")) == known


def test_values_are_completed():
    assert complete("-c", "", of="rasadd") == complete("--conf", "", of="rasadd") == ["FILES"]
    assert complete("-c", "", of="rasad-agent") == complete("check", "") == ["FILES"]
    assert complete("-s", "", of="rasad-agent") == ["HOSTS"]
    assert complete("restore", "") == complete("new-plugin", "x", "--into", "") == ["FILES-d"]
    assert complete("restore", "folder", "") == complete("plan", "") == ["FILES"]
    assert complete("new-plugin", "x", "--like", "g") == ["gauge"]
    collectors = sorted(path.stem for path in (BUILD / "lib/rasad/collectors").glob("*.so"))
    assert complete("-C", "", of="rasad-agent") == collectors
    assert complete("-C", "cpu,l", of="rasad-agent") == ["cpu,letters", "cpu,load"]


def test_names_are_completed_and_not_run(rasadd, connect, tmp_path):
    server = rasadd('metric "rtt" { plugin = "gauge"  name = "rtt_seconds" }')
    ask = ("-S", f"{server.folder}/rasad.sock")
    trap = tmp_path / "trap"
    for name in ("web-1", f"$(touch {trap})", "a b"):
        connect(server).hello(name)
    assert complete(*ask, "tail", "--agent", "we") == ["web-1"]
    assert len(complete(*ask, "tail", "--agent", "")) == 3
    assert "a\\ b" in complete(*ask, "series", "--agent", "a")
    assert not trap.exists()
    assert complete(*ask, "series", "r") == ["rtt_seconds"]
    assert complete(*ask, "tail", "--key", "r") == complete(*ask, "send", "r") == ["rtt"]
