# SPDX-License-Identifier: Apache-2.0
"""rasadd -t on wrong conf files: every error at once, with its line, and exit code 78.

RASAD_BUILD names the build folder (default: build/release).
"""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("RASAD_BUILD", "build/release")
RASADD = BUILD / "sbin" / "rasadd"

GAUGE = 'plugin = "gauge"'
NAMES = "write letters, digits and _, and no digit first"

# name: (conf, [(line, what it must say), …]). One row an error a user makes; all of them are told.
WRONG = {
    "misspelt option": ("listen {\n prot = 1\n}", [(2, 'unknown option "prot" (did you mean "port"?)')]),
    "misspelt section": ("lisen { port = 1 }", [(1, 'unknown section "lisen" (did you mean "listen"?)')]),
    "far from any option": ("\ncolour = 1", [(2, 'unknown option "colour" (')]),
    "number expected": ('listen { port = "abc" }', [(1, '"port" must be a whole number, got "abc" (write port = ')]),
    "too large": ("\n\nhttp { port = 70000 }", [(3, '"port" is 70000, which is too large (write at most 65535)')]),
    "too small": ("threads = -1", [(1, '"threads" is -1, which is too small (write at least 0)')]),
    "missing equal sign": ("threads 4", [(1, 'missing "=" after "threads" (write threads = 4)')]),
    "missing value": ("threads =\nstate_dir = \"\"", [(1, '"threads" has no value (write threads = ')]),
    "list for one value": ("threads = { 1 }", [(1, '"threads" takes one value, not a list (')]),
    "duration without unit": ("stale_after = 5", [(1, '"stale_after" must be a duration')]),
    "size out of range": ('max_message = "1GiB"', [(1, '"max_message" must be 1KiB to 64MiB, got "1GiB" (')]),
    "brace never closed": (f'\nmetric "a" {{\n {GAUGE}\n', [(2, 'the section "metric" that begins here is never closed (write } at its end)')]),
    "brace forgotten in between": (f'metric "a" {{ {GAUGE}\nmetric "b" {{ {GAUGE} }}\n', [(1, 'never closed (write } before line 2)')]),
    "a brace too many": ("threads = 1\n}\n", [(2, "unexpected } (no section is open here: remove it)")]),
    "comment never closed": ("threads = 1\n/* it goes on\nand on", [(2, "the comment that begins here is never closed (write */ at its end)")]),
    "quote never closed": ('state_dir = "\nthreads = 1', [(1, "the text that begins here has no closing quote (")]),
    "list never closed": ('plugin_path = { "a",\nthreads = 1', [(1, 'the list of "plugin_path" is never closed (write } at its end)')]),
    "option set twice": ("threads = 1\n\nthreads = 2", [(3, '"threads" is set twice, first in line 1 (remove one)')]),
    "section there twice": ("http { }\nhttp { }", [(2, '"http" is there twice, first in line 1 (make one section of both)')]),
    "same title twice": (f'metric "a" {{ {GAUGE} }}\nmetric "a" {{ {GAUGE} }}', [(2, 'metric "a" is there twice, first in line 1 (')]),
    "missing title": (f"\nmetric {{ {GAUGE} }}", [(2, '"metric" has no title (write metric "TITLE" { … })')]),
    "empty title": (f'metric "" {{ {GAUGE} }}', [(1, '"metric" has an empty title (')]),
    "control character in a title": (f'metric "a\\x1b[31m" {{ {GAUGE} }}', [(1, '"metric" has a control character in its title (')]),
    "title that isn't wanted": ('http "x" { }', [(1, '"http" takes no title (')]),
    "missing include": ('\ninclude("gone.conf")', [(2, 'cannot open "')]),
    "file that includes itself": ('include("rasad.conf")', [(1, "includes itself (remove this include)")]),
    "unknown plugin": ('metric "a" {\n plugin = "guage"\n}', [(2, 'unknown plugin "guage" (did you mean "gauge"?)')]),
    "missing plugin": ('\nmetric "a" { }', [(2, '"plugin" is missing (write plugin = ')]),
    "missing option of a plugin": ('\nmetric "a" {\n plugin = "letter_counter" }', [(2, '"letters" is missing (write letters = ')]),
    "misspelt option of a plugin": ('metric "a" { plugin = "histogram"\n bukets = { 1 } }', [(2, 'unknown option "bukets" (did you mean "buckets"?)')]),
    "option of another plugin": (f'metric "a" {{ {GAUGE}\n buckets = {{ 1 }} }}', [(2, 'unknown option "buckets"')]),
    "buckets that fall": ('metric "a" { plugin = "histogram" buckets = { 1, 0.1 } }', [(1, "buckets must rise, but 0.1 follows 1")]),
    "reserved label": (f'metric "a" {{ {GAUGE} labels = {{\n "le" }} }}', [(2, 'label "le" is a reserved label (')]),
    "agent label declared": (f'metric "a" {{ {GAUGE} labels = {{ "agent" }} }}', [(1, 'label "agent" is the agent label (')]),
    "label that is no name": (f'metric "a" {{ {GAUGE} labels = {{ "9" }} }}', [(1, f'label "9" is no label name ({NAMES})')]),
    "bad agent label": ('agent_label = "job"', [(1, 'agent_label "job" is a reserved label (')]),
    "bad name": (f'metric "a" {{ {GAUGE} name = "a:b" }}', [(1, f'"a:b" is no metric name ({NAMES})')]),
    "our own name": (f'metric "rasad_up" {{ {GAUGE} }}', [(1, 'the name "rasad_up" is reserved')]),
    "names that become one": (f'metric "a b" {{ {GAUGE} }}\nmetric "a-b" {{ {GAUGE} }}', [(2, 'has the name "a_b", as "a b" in line 1 has (')]),
    "samples that clash": (f'metric "x_count" {{ {GAUGE} }}\nmetric "x" {{ plugin = "histogram" }}', [(2, 'both make "x_count" (')]),
    "TLS": ('listen { tls_cert = "a.pem" }', [(1, '"tls_cert": TLS is not there yet (leave it out)')]),
    "not UTF-8": (b'state_dir = "\xff"', [(1, "this text is not UTF-8 (")]),
    "NUL byte": (b"threads = 1\n\0", [(2, "a NUL byte (")]),
    "all at once": (
        f'listen {{ prot = 1 }}\nthreads = x\nmetric "a" {{ plugin = "guage" }}\n'
        f'metric "b" {{ {GAUGE}\n expire = "soon" }}\nmetric "c" {{ {GAUGE}',
        [(1, 'unknown option "prot"'), (2, '"threads" must be a whole number'),
         (3, 'unknown plugin "guage"'), (5, '"expire" must be a duration or "never"'),
         (6, 'the section "metric" that begins here is never closed')]),
}


def check(path, *arguments):
    return subprocess.run([RASADD, "-c", path, *(arguments or ["-t"])], capture_output=True,
                          text=True, timeout=30)


@pytest.mark.parametrize("name", WRONG)
def test_each_error_is_told_with_its_line(tmp_path, name):
    conf, errors = WRONG[name]
    path = tmp_path / "rasad.conf"
    path.write_bytes(conf if isinstance(conf, bytes) else conf.encode())
    result = check(path)
    lines = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 78, lines
    assert len(lines) == len(errors), lines
    for line, (number, what) in zip(lines, errors):
        assert line.startswith(f"{path}:{number}: "), line
        assert what in line
        assert re.fullmatch(r"[^\x00-\x1f\x7f]*\(.*\).*", line), "it says what to write"


def test_a_missing_file_is_an_error(tmp_path):
    path = tmp_path / "gone.conf"
    result = check(path)
    assert result.returncode == 78
    assert f"{path}:1: cannot open" in result.stderr


def test_errors_of_included_files_name_the_file(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "2.conf").write_text('metric "a" { plugin = "gauge" }')
    (tmp_path / "conf.d" / "1.conf").write_text('\nmetric "a" { plugin = "gauge" }\nthreads = 99')
    path = tmp_path / "rasad.conf"
    path.write_text('include("conf.d/*.conf")\ninclude("none.d/*.conf")\nthreads 4')
    result = check(path)
    lines = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 78
    assert lines == [
        f'{path}:3: missing "=" after "threads" (write threads = 4)',
        f'{path}:3: "threads" is set twice, first in {tmp_path}/conf.d/1.conf:3 (remove one)',
        f'{tmp_path}/conf.d/1.conf:3: "threads" is 99, which is too large (write at most 64)',
        f'{tmp_path}/conf.d/2.conf:1: metric "a" is there twice, first in '
        f'{tmp_path}/conf.d/1.conf:2 (remove one, or change its title)',
    ]


def test_a_right_conf_is_one_line_and_its_effective_form_is_right_too(tmp_path):
    path = tmp_path / "rasad.conf"
    path.write_text('# fine\nmetric "RTT" { plugin = "histogram"  name = "rtt_seconds"\n'
                    '  buckets = { 0.1, # a comment in a list\n 1 } }\n')
    result = check(path)
    assert result.returncode == 0, result.stderr
    assert len((result.stdout + result.stderr).splitlines()) == 1

    effective = check(path, "-T")
    assert effective.returncode == 0
    assert "port = 5050 # default\n" in effective.stdout
    assert f"buckets = {{ 0.1, 1 }} # {path}:3\n" in effective.stdout
    again = tmp_path / "effective.conf"
    again.write_text(effective.stdout)
    assert check(again).returncode == 0


def test_the_shipped_conf_is_right():
    result = check(BUILD / "etc" / "rasad" / "rasad.conf")
    assert result.returncode == 0, result.stderr
