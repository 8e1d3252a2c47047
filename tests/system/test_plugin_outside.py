# SPDX-License-Identifier: Apache-2.0
"""A plugin written outside the tree, against the installed header alone."""
import os
import shutil
import subprocess

import pytest

from elf import exported, foreign
from harness import BUILD, built_with, program

# What `rasadctl new-plugin peak` writes: the largest sample up to the option `ceiling`.
PEAK = (BUILD / "share/rasad/template/gauge/YOURS.c").read_text().replace("YOURS", "peak")

# The same in C++, where a row of the option table has all words that there are.
PEAK_CPLUSPLUS = r'''
#include <rasad/plugin.h>

namespace
{
struct config {
    double ceiling;
    int64_t window;
};

struct state {
    double peak;
};

const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(config, ceiling, .preset = "inf", .help = "Refuse above this"),
    RASAD_OPTION_DURATION(config, window, .flags = RASAD_OPTION_RESTARTS, .preset = "1m", .min = "1s",
                          .max = "1d", .help = "Only for show"),
};

size_t state_size(const void *)
{
    return sizeof(state);
}

void init(const void *, void *bytes)
{
    static_cast<state *>(bytes)->peak = -INFINITY;
}

bool update(const void *bytes, void *into, const struct rasad_value *value, struct rasad_error *error)
{
    auto c = static_cast<const config *>(bytes);
    auto s = static_cast<state *>(into);

    if (value->type != RASAD_NUMBER)
        return rasad_fail(error, "wants a number");
    if (value->number > c->ceiling || c->window != 60 * INT64_C(1000000000))
        return rasad_fail(error, "%g is above the ceiling", value->number);
    s->peak = fmax(s->peak, value->number);
    return true;
}

void merge(const void *, void *into, const void *from)
{
    auto a = static_cast<state *>(into);

    a->peak = fmax(a->peak, static_cast<const state *>(from)->peak);
}

void render(const void *, const void *bytes, struct rasad_writer *writer)
{
    auto s = static_cast<const state *>(bytes);

    if (s->peak > -INFINITY)
        rasad_write_gauge(writer, s->peak);
}
} // namespace

const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,
    .state_version = 1,
    .name = "peak",
    .version = "1.0",
    .help = "The largest sample of a series",
    RASAD_OPTIONS(options),
    .config_size = sizeof(config),
    .state_size = state_size,
    .init = init,
    .update = update,
    .merge = merge,
    .render = render,
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
    """compile_plugin(source): the path of its peak.so, which lies in a folder of its own; `include`
    is a folder with another header."""
    def compile_it(source=PEAK, *flags, include=None):
        folder = tmp_path / "plugins"
        folder.mkdir(exist_ok=True)
        (tmp_path / "peak.c").write_text(source)
        subprocess.run(["gcc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                        "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs", "-o", folder / "peak.so",
                        tmp_path / "peak.c", *([f"-I{include}"] if include else compiler_flags(prefix)),
                        *flags, "-lm"], check=True, timeout=60)
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


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_plugin_in_cplusplus_works(rasadd, connect, prefix, tmp_path, compiler, standard):
    if not shutil.which(compiler):
        pytest.skip(f"wants {compiler}")
    (tmp_path / "peak.cc").write_text(PEAK_CPLUSPLUS)
    # In C++17 designated initialisers are an extension, of which only clang warns by itself.
    extension = ["-Wno-c++20-designator"] if (compiler, standard) == ("clang++", "c++17") else []
    subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wshadow", "-Werror",
                    "-Wno-missing-field-initializers", "-Wno-unused-parameter", *extension, "-shared",
                    "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
                    "-Wl,-z,defs,--as-needed", *compiler_flags(prefix), "-o", tmp_path / "peak.so",
                    tmp_path / "peak.cc", "-lm"], check=True, timeout=60)
    assert (foreign(tmp_path / "peak.so"), exported(tmp_path / "peak.so")) == (set(), {"rasad_plugin"})
    server = rasadd(conf_with(tmp_path / "peak.so", "ceiling = 100"))
    client = connect(server)
    client.send({"P": [1, 7.5, 101]}).ping()
    assert server.scrape().value("P", agent=client.agent) == 7.5
    assert server.stop() == 0


# What the header's structs have at their ends, as an older or a newer header would have it.
ENDS = {
    "rasad_plugin": ("    void (*release)(void *config);\n", "    void (*future)(void);\n"),
    "rasad_option": ("    uint32_t flags;     /* RASAD_OPTION_RESTARTS or 0 */\n"
                     "    uint32_t reserved;  /* 0 */\n", "    const char *future;\n"),
    "rasad_point": ("    const struct rasad_exemplar *exemplar; /* of a counter or a bucket, or NULL */\n",
                    "    double future[3];\n"),
    "rasad_writer": ("    void (*write)(struct rasad_writer *writer, const struct rasad_point *point);\n",
                     "    void (*future)(void);\n"),
}
OLDER = ["rasad_plugin", "rasad_option", "rasad_point"]
# Behind the plugin's struct, or its rows, there is something that a host must not take for members.
TRAPPED = (PEAK.replace("RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {",
                        "static const struct {\n    struct rasad_plugin plugin;\n    uintptr_t trap[8];\n"
                        "} trapped = {.trap = {1, 1, 1, 1, 1, 1, 1, 1}, .plugin = {")
           .replace("    .render = peak_render,\n};", "    .render = peak_render,\n}};\n"
                    "extern const struct rasad_plugin rasad_plugin __attribute__((alias(\"trapped\")));")
           .replace("    .state_size = ", "    .configure = peak_configure,\n    .state_size = ")
           .replace("static size_t peak_state_size", "static bool peak_configure(void *config, "
                    "struct rasad_error *error)\n{\n    return true;\n}\n\nstatic size_t peak_state_size")
           .replace(".help = \"Refuse above this\"),", ".help = \"Refuse above this\"),\n"
                    "    RASAD_OPTION_NUMBER(struct config, floor, .preset = \"0\", .help = \"Or below\"),")
           .replace("    double ceiling;", "    double ceiling;\n    double floor;")
           .replace("value->number > c->ceiling", "value->number > c->ceiling || value->number < c->floor"))


@pytest.mark.parametrize("age", ["older", "newer"])
def test_a_plugin_made_with_another_headers_structs_works(rasadd, connect, compile_plugin, prefix,
                                                          tmp_path, age):
    header = (prefix / "include" / "rasad" / "plugin.h").read_text()
    for name in OLDER if age == "older" else ENDS:
        end, more = ENDS[name]
        start = header.index(f"struct {name} {{")
        at = header.index(end, start)
        assert at < header.index("\n};", start), f"struct {name} no longer ends so"
        header = header[:at] + ("" if age == "older" else end + more) + header[at + len(end):]
    (tmp_path / "other" / "rasad").mkdir(parents=True)
    (tmp_path / "other" / "rasad" / "plugin.h").write_text(header)
    path = compile_plugin(TRAPPED, include=tmp_path / "other")
    server = rasadd(conf_with(path, "ceiling = 100  floor = 2"))
    client = connect(server)
    client.send({"P": [1, 7.5, 101, 3]}).ping()
    scrape = server.scrape()
    assert scrape.value("P", agent=client.agent) == 7.5
    assert scrape.rejected() == {"bad_value": 2}
    assert server.stop() == 0, server.log


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
    path = compile_plugin(trap + PEAK, include=tmp_path / "other")
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
