# SPDX-License-Identifier: Apache-2.0
"""rasadctl new-plugin: what it writes compiles, works and passes its tests, and fails them when it is
broken."""
import os
import resource
import shutil
import signal
import subprocess

import pytest

from elf import exported, foreign
from harness import BUILD, built_with, program

KINDS = ("gauge", "counter", "histogram")
STRICT = "-O1 -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter -Werror"
OURS = sorted(path.stem for path in BUILD.glob("lib/**/rasad/plugins/*.so"))


def new_plugin(folder, *arguments, code=0, **options):
    """Runs it in the folder; gives what it said (on standard error, if it should fail)."""
    done = subprocess.run([program("rasadctl"), "new-plugin", *arguments], cwd=folder, timeout=20,
                          capture_output=True, text=True, check=False, **options)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The environment of somebody who has Rasad installed."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True,
                   capture_output=True, timeout=120)
    (found,) = prefix.glob("lib/**/pkgconfig")
    return os.environ | {"PATH": f"{prefix}/bin:{os.environ['PATH']}", "CFLAGS": STRICT,
                         "PKG_CONFIG_PATH": str(found)}


def make(folder, tools, *arguments, fails=False):
    done = subprocess.run(["make", "-C", folder, *arguments], env=tools, capture_output=True, text=True,
                          timeout=120, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


# What each shows after 3, 41 and 7 under its own conf.
SHOWS = {
    "gauge": [("depth", 41)],
    "counter": [("depth_total", 51)],
    "histogram": [("depth_sum", 51), ("depth_count", 3)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_works(rasadd, connect, tools, tmp_path, kind):
    new_plugin(tmp_path, "depth", "--like", kind)
    folder = tmp_path / "depth"
    make(folder, tools)
    assert (foreign(folder / "depth.so"), exported(folder / "depth.so")) == (set(), {"rasad_plugin"})
    server = rasadd(f'plugin_path = {{ "{folder}" }}\ninclude("{folder}/depth.conf")\n')
    client = connect(server)
    client.send({"depth": [3, 41, 7, "deep"]}).ping()
    scrape = server.scrape()
    assert scrape.rejected() == {"bad_value": 1}
    for name, value in SHOWS[kind]:
        assert scrape.value(name, agent=client.agent) == value


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_checks_pass_as_written(tools, tmp_path, kind, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"wants {compiler}")
    new_plugin(tmp_path, "depth", "--like", kind)
    assert "depth_test: fine" in make(tmp_path / "depth", tools, f"CC={compiler}", "check")


# One line each that a hasty author gets wrong, in every kind's merge() or update().
BROKEN = {
    "gauge": [("fmax(a->peak, b->peak)", "fmin(a->peak, b->peak)"),
              ("if (value->number > c->ceiling)", "if (false)"),
              ("fmax(s->peak, value->number)", "value->number")],
    "counter": [("a->sum += b->sum;", "a->sum = b->sum;"),
                ("if (!(value->number >= 0))", "if (false)"),
                ("if (value->number >= c->threshold)", "if (value->number > 0)")],
    "histogram": [("a->counts[i] += b->counts[i];", "a->counts[i] = b->counts[i];"),
                  ("value->number > c->bounds.at[i]", "value->number >= c->bounds.at[i]"),
                  ("if (i > 0 && c->bounds.at[i] <= c->bounds.at[i - 1])", "if (false)")],
}


@pytest.mark.parametrize("kind, right, wrong", [(kind, *pair) for kind in KINDS for pair in BROKEN[kind]])
def test_its_checks_fail_when_it_is_broken(tools, tmp_path, kind, right, wrong):
    new_plugin(tmp_path, "depth", "--like", kind)
    source = tmp_path / "depth" / "depth.c"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    quiet = tools | {"CFLAGS": "-O1 -w"}
    assert "depth_test: failed" in make(tmp_path / "depth", quiet, "check", fails=True)


@pytest.mark.parametrize("name", ["p", "peak", "water_level_in_the_northern_reservoir"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_name_is_put_in_everywhere(tmp_path, kind, name):
    new_plugin(tmp_path, name, "--like", kind)
    folder = tmp_path / name
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["CMakeLists.txt", "Makefile", "README.md", f"{name}.c", f"{name}.conf", f"{name}_test.c"])
    for path in folder.iterdir():
        assert "YOURS" not in path.read_text() and "SPDX" not in path.read_text()
    lines = (folder / f"{name}.c").read_text().splitlines()
    (head,) = [i for i, line in enumerate(lines) if line.startswith(f"static bool {name}_update(")]
    assert lines[head + 1].index("struct") == lines[head].index("(") + 1


def test_it_says_what_to_do_next_and_where(tmp_path):
    said = new_plugin(tmp_path, "peak", "--into", str(tmp_path))
    assert said.count("\n") == 4 and f"cd {tmp_path}/peak && make check" in said
    assert (tmp_path / "peak" / "peak.c").is_file()


@pytest.mark.parametrize("arguments, said", [
    (["Peak"], '"Peak" can\'t be a plugin\'s name'),
    (["../peak"], "can't be a plugin's name"),
    (["1st"], "can't be a plugin's name"),
    ([""], "can't be a plugin's name"),
    (["x" * 64], "can't be a plugin's name"),
    (["gauge"], 'there is a plugin "gauge" already'),
    (["peak", "--like", "common"], "write gauge, counter or histogram"),
    (["peak", "--like", "../gauge"], "write gauge, counter or histogram"),
    (["peak", "--unlike", "gauge"], "unlike"),
    (["peak", "crest"], "usage:"),
    ([], "usage:"),
], ids=str)
def test_wrong_usage_writes_nothing(tmp_path, arguments, said):
    assert said in new_plugin(tmp_path, *arguments, code=64)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_fine(tmp_path):
    new_plugin(tmp_path, "x" * 63)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "peak").mkdir()
    (tmp_path / "peak" / "peak.c").write_text("mine")
    assert "peak: exists already" in new_plugin(tmp_path, "peak", code=1)
    assert (tmp_path / "peak" / "peak.c").read_text() == "mine"
    assert len(list((tmp_path / "peak").iterdir())) == 1
    (tmp_path / "crest").symlink_to(tmp_path / "elsewhere")
    assert "crest: exists already" in new_plugin(tmp_path, "crest", code=1)
    assert "No such file" in new_plugin(tmp_path, "wave", "--into", "nowhere", code=1)


def test_nothing_half_is_left_when_the_disk_is_full(tmp_path):
    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    assert "cannot write" in new_plugin(tmp_path, "peak", code=1, preexec_fn=little_room)
    assert list(tmp_path.iterdir()) == []


def test_a_lone_program_says_that_its_templates_are_missing(tmp_path):
    (tmp_path / "bin").mkdir()
    lone = shutil.copy(program("rasadctl"), tmp_path / "bin")
    done = subprocess.run([lone, "new-plugin", "peak"], cwd=tmp_path, timeout=20, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "is rasad-dev installed?" in done.stderr
    assert not (tmp_path / "peak").exists()


@pytest.mark.skipif(built_with("a") or built_with("thread"), reason="a sanitizer's runtime is foreign")
@pytest.mark.parametrize("name", OURS)
def test_our_own_plugins_need_libc_and_libm_only(name):
    (path,) = BUILD.glob(f"lib/**/rasad/plugins/{name}.so")
    assert (foreign(path), exported(path)) == (set(), {"rasad_plugin"})
