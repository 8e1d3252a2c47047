# SPDX-License-Identifier: Apache-2.0
"""A plugin written outside the tree, against the installed header alone."""
import os
import shutil
import subprocess

import pytest

from harness import BUILD, built_with, program

PEAK = r'''
#include <math.h>
#include <rasad/plugin.h>

struct config {
    double ceiling;
};

struct state {
    double peak; /* -inf until the first sample */
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "inf", .help = "Refuse above this"),
};

static size_t peak_state_size(const void *config)
{
    return sizeof(struct state);
}

static void peak_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){.peak = -INFINITY};
}

static bool peak_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (value->number > c->ceiling)
        return rasad_fail(error, "%g is above the ceiling", value->number);
    s->peak = fmax(s->peak, value->number);
    return true;
}

static void peak_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    a->peak = fmax(a->peak, b->peak);
}

static void peak_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    if (s->peak > -INFINITY)
        rasad_write_gauge(writer, s->peak);
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .name = "peak",
    .version = "1.0",
    .kind = RASAD_GAUGE,
    .help = "The largest sample of a series",
    .state_version = 1,
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .state_size = peak_state_size,
    .init = peak_init,
    .update = peak_update,
    .merge = peak_merge,
    .render = peak_render,
};
'''


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Where Rasad is installed to."""
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", folder], check=True,
                   capture_output=True, timeout=120)
    return folder


def compiler_flags(prefix):
    """What pkg-config says for the installed tree."""
    answer = subprocess.run(["pkg-config", "--cflags", "rasad"], check=True, capture_output=True,
                            text=True, env=os.environ | {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"})
    return answer.stdout.split()


@pytest.fixture
def compile_plugin(prefix, tmp_path):
    """compile_plugin(source): the path of its peak.so, which lies in a folder of its own."""
    def compile_it(source=PEAK, *flags):
        folder = tmp_path / "plugins"
        folder.mkdir(exist_ok=True)
        (tmp_path / "peak.c").write_text(source)
        subprocess.run(["gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                        "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs", "-o", folder / "peak.so",
                        tmp_path / "peak.c", *compiler_flags(prefix), *flags, "-lm"],
                       check=True, timeout=60)
        return folder / "peak.so"
    return compile_it


def conf_with(shared_object, rest=""):
    return (f'plugin_path = {{ "{shared_object.parent}" }}\n'
            f'metric "P" {{ plugin = "peak"  {rest} }}\n')


def check_conf(tmp_path, shared_object):
    """The exit code and the words of rasadd -t on a conf that names the plugin."""
    conf = tmp_path / "check.conf"
    conf.write_text('state_dir = ""\n' + conf_with(shared_object))
    done = subprocess.run([program("rasadd"), "-t", "-c", conf], capture_output=True, text=True,
                          timeout=20, check=False)
    return done.returncode, done.stderr


def test_a_plugin_from_outside_the_tree_works(rasadd, connect, compile_plugin):
    server = rasadd("threads = 2\n" + conf_with(compile_plugin(), "ceiling = 100"))
    one, two = connect(server), connect(server)
    one.send({"P": [1, 7.5, 3]}).ping()
    two.send({"P": [2, 101, "x"]}).ping()
    scrape = server.scrape()
    assert scrape.value("P", agent=one.agent) == 7.5
    assert scrape.value("P", agent=two.agent) == 2
    assert scrape.families["P"].type == "gauge"
    assert scrape.families["P"].help == "The largest sample of a series"
    assert scrape.rejected() == {"bad_value": 2}
    server.wait_line("101 is above the ceiling")
    info = [labels for labels, _ in scrape.series("rasad_plugin_info", plugin="peak")]
    assert info[0]["version"] == "1.0" and info[0]["abi"] == "1"


def test_its_states_merge_over_the_shards(rasadd, connect, compile_plugin):
    server = rasadd('threads = 3\nagent_label = ""\n' + conf_with(compile_plugin()))
    for n in range(9):
        connect(server).send({"P": n}).ping()
    assert server.scrape().series("P") == [({}, 8)]


def test_overwriting_or_deleting_the_file_harms_nothing(rasadd, connect, compile_plugin):
    path = compile_plugin()
    server = rasadd(conf_with(path))
    client = connect(server)
    client.send({"P": 1}).ping()
    path.write_bytes(b"\0" * 100)
    client.send({"P": 2}).ping()
    path.unlink()
    client.send({"P": 3}).ping()
    assert server.scrape().value("P", agent=client.agent) == 3


def test_the_header_compiles_as_cplusplus(prefix, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("wants g++")
    (tmp_path / "x.cc").write_text("#include <rasad/plugin.h>\n")
    subprocess.run(["g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Werror", tmp_path / "x.cc",
                    *compiler_flags(prefix)], check=True, timeout=60)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666], ids=oct)
def test_a_plugin_that_others_may_write_is_refused(compile_plugin, tmp_path, mode):
    path = compile_plugin()
    path.chmod(mode)
    code, words = check_conf(tmp_path, path)
    assert code == 78
    assert str(path) in words and "writ" in words and words.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_plugin_of_another_user_is_refused(compile_plugin, tmp_path):
    path = compile_plugin()
    os.chown(path, 65534, 65534)
    code, words = check_conf(tmp_path, path)
    assert code == 78
    assert str(path) in words and "own" in words and words.count("\n") == 1


def test_a_plugin_of_another_abi_is_refused_before_it_runs(compile_plugin, tmp_path, prefix):
    header = (prefix / "include" / "rasad" / "plugin.h").read_text()
    (tmp_path / "other" / "rasad").mkdir(parents=True)
    (tmp_path / "other" / "rasad" / "plugin.h").write_text(
        header.replace("#define RASAD_ABI 1 ", "#define RASAD_ABI 2 "))
    trap = ('#include <stdlib.h>\n__attribute__((constructor)) static void trap(void) { exit(42); }\n')
    path = compile_plugin(trap + PEAK, f"-I{tmp_path}/other", "-isystem", str(tmp_path))
    subprocess.run(["gcc", "-std=c17", "-shared", "-fPIC", f"-I{tmp_path}/other", "-o", path,
                    tmp_path / "peak.c", "-lm"], check=True, timeout=60)
    code, words = check_conf(tmp_path, path)
    assert code == 78
    assert str(path) in words and "ABI 2" in words and words.count("\n") == 1


NOT_PLUGINS = {
    "an empty file": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("#!/bin/sh\nexit 42\n"),
    "a file cut in the middle": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link": lambda path: (path.rename(path.with_name("real.so")), path.symlink_to("real.so")),
    "a library without our symbol": lambda path: subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", path], check=True),
}


@pytest.mark.parametrize("what", NOT_PLUGINS)
def test_what_is_no_plugin_is_refused_with_one_line(compile_plugin, tmp_path, what):
    path = compile_plugin()
    NOT_PLUGINS[what](path)
    code, words = check_conf(tmp_path, path)
    assert code == 78
    assert "peak" in words and words.count("\n") == 1


INCOMPLETE = [(".update = peak_update,", "update"), (".merge = peak_merge,", "merge"),
              (".state_version = 1,", "state_version"), ('.name = "peak",', "name")]


@pytest.mark.parametrize("line, what", INCOMPLETE)
def test_an_incomplete_plugin_is_refused(compile_plugin, tmp_path, line, what):
    path = compile_plugin(PEAK.replace(line, ""), "-Wno-unused-function")
    code, words = check_conf(tmp_path, path)
    assert code == 78
    assert str(path) in words and what in words and words.count("\n") == 1


@pytest.mark.skipif(built_with("a"), reason="a sanitizer's runtime must be linked as well")
def test_the_installed_server_finds_its_own_plugins(prefix, tmp_path):
    conf = tmp_path / "rasad.conf"
    conf.write_text('metric "C" { plugin = "counter" }\n')
    done = subprocess.run([prefix / "sbin" / "rasadd", "-t", "-c", conf], capture_output=True,
                          text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
