# SPDX-License-Identifier: Apache-2.0
"""rasadctl check: all our plugins keep the laws, and each law names the plugin that breaks it."""
import json
import os
import re
import subprocess

import pytest

from harness import BUILD, REPORT, ROOT, built_with, program

# A sum that is right. Each of the broken ones below has one line changed.
SUM = r'''
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rasad/plugin.h>

struct config {
    double factor;
    const char *word;
    double *derived;
};

struct state {
    double sum;
    uint64_t count;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, factor, .preset = "1", .min = "1", .max = "1", .help = "One"),
    RASAD_OPTION_TEXT(struct config, word, .preset = "x", .help = "Any"),
};

__attribute__((unused)) static volatile int global;
__attribute__((unused)) static struct state *volatile kept;

__attribute__((unused)) static void *run_thread(void *unused)
{
    return unused;
}

__attribute__((unused)) static void start_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

/* on load */

static bool sum_configure(void *config, struct rasad_error *error)
{
    struct config *c = config;

    /* in configure */
    c->derived = malloc(sizeof *c->derived);
    if (c->derived == NULL)
        return rasad_fail(error, "out of memory");
    *c->derived = c->factor;
    return true;
}

static void sum_release(void *config)
{
    free(((struct config *)config)->derived);
}

static size_t sum_state_size(const void *config)
{
    return sizeof(struct state);
}

static void sum_init(const void *config, void *state)
{
    *(struct state *)state = (struct state){0};
    /* in init */
}

static bool sum_update(const void *config, void *state, const struct rasad_value *value,
                       struct rasad_error *error)
{
    const struct config *c = config;
    struct state *s = state;

    /* in update */
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number, got \"%.*s\"", (int)value->length, value->text);
    if (!isfinite(s->sum + value->number * *c->derived))
        return rasad_fail(error, "too much");
    s->sum += value->number * *c->derived;
    s->count++;
    return true;
}

static void sum_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;

    /* in merge */
    a->sum += b->sum;
    a->count += b->count;
}

static void sum_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct state *s = state;

    /* in render */
    rasad_write_gauge(writer, s->sum);
}

static bool sum_verify(const void *config, const void *state, size_t size)
{
    /* in verify */
    return size == sizeof(struct state);
}

static bool sum_migrate(const void *config, uint32_t from_version, const void *from, size_t size,
                        void *into)
{
    struct state *s = into;

    /* in migrate */
    if (from_version != 1 || size != sizeof s->sum)
        return false;
    memcpy(&s->sum, from, sizeof s->sum);
    return true;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE,
    .name = "sum",
    .version = "2.0",
    .kind = RASAD_GAUGE,
    .help = "The sum",
    .state_version = 2,
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = sum_configure,
    .release = sum_release,
    .state_size = sum_state_size,
    .init = sum_init,
    .update = sum_update,
    .merge = sum_merge,
    .render = sum_render,
    .verify = sum_verify,
    .migrate = sum_migrate,
};
'''

CRASHES = "no function crashes or hangs"
CALLS = "no system call is made"
HEAP = "nothing is allocated"
GLOBALS = "no global is written"
OUTSIDE = "nothing is written outside the block"
LENT = "what is lent is only read"
IMPORTS = "only pure functions are imported"
MIGRATE = "migrate takes older states and no rubbish"
CONFS = "configure() takes or refuses a conf"

# What is broken: where it is changed, into what, the first law that it breaks, and what is said.
BROKEN = {
    "null pointer": ("in update", "if (value->type == RASAD_TEXT) return *(volatile int *)1;",
                     CRASHES, r"update\(\) crashes \(SIGSEGV at address 0x1\)"),
    "abort": ("in merge", "if (b->count > 3) abort();", CRASHES, r"merge\(\) crashes \(SIGABRT\)"),
    "endless loop": ("in render", "for (volatile int i = 1; i && s->count > 3;) continue;", CRASHES,
                     r"render\(\) does not come to its end"),
    "exit": ("in verify", "if (((const struct state *)state)->count > 2) _exit(0);", CRASHES,
             r"verify\(\) ends the process \(exit code 0\)"),
    "stack overflow": ("in update", "volatile char room[64 << 20]; room[0] = room[sizeof room - 1] = 1;",
                       CRASHES, r"update\(\) crashes \(SIGSEGV"),
    "global counter": ("in update", "global++;", GLOBALS, r"update\(\) writes to a global"),
    "global in configure": ("in configure", "global++;", GLOBALS, r"configure\(\) writes to a global"),
    "kept address": ("in init", "kept = state;", GLOBALS, r"init\(\) writes to a global"),
    "opens a file": ("in update", 'if (open("/etc/passwd", O_RDONLY) < 0) return false;', CALLS,
                     r"update\(\) makes the system call open"),
    "starts a thread": ("in render", "start_thread();", CALLS, r"render\(\) makes (the|a) system call"),
    "sleeps": ("in merge", "nanosleep(&(struct timespec){0, 1}, NULL);", CALLS,
               r"merge\(\) makes the system call (clock_)?nanosleep"),
    "allocates": ("in update", "char *room = malloc(16); if (!room) return false; *(volatile char *)room = 0; free(room);",
                  HEAP, r"update\(\) calls malloc\(\)"),
    "copies a text": ("in render", 'char *volatile copy = strdup("x"); free(copy);', HEAP,
                      r"render\(\) calls malloc\(\)"),
    "a byte behind": ("in update", "((char *)state)[sizeof *s] = 0;", OUTSIDE,
                      r"update\(\) changes bytes outside of its block"),
    "a byte before": ("in init", "((char *)state)[-1] = 0;", OUTSIDE,
                      r"init\(\) changes bytes outside of its block"),
    "writes to from": ("in merge", "((struct state *)(uintptr_t)b)->count = 0;", LENT,
                       r"merge\(\) writes to what it may only read"),
    "render writes": ("in render", "((struct state *)(uintptr_t)s)->count = 0;", LENT,
                      r"render\(\) writes to what it may only read"),
    "writes its config": ("in update", "((struct config *)(uintptr_t)c)->factor = 1;", LENT,
                          r"update\(\) writes to what it may only read"),
    "writes its value": ("in update", "((struct rasad_value *)(uintptr_t)value)->time_ns = 1;", LENT,
                         r"update\(\) writes to the value that it may only read"),
    "the clock": ("in update", "s->sum += (double)time(NULL);", IMPORTS, r"it imports time\b"),
    "the environment": ("in render", 'if (getenv("NO_COLOR") != NULL) return;', IMPORTS,
                        r"it imports getenv\b"),
    "heeds old bytes": ("in init", "((struct state *)state)->sum = global + (double)(uintptr_t)state;",
                        "init makes the same of any bytes", r"init\(\) makes different bytes"),
    "not neutral": ("in merge", "a->sum += 1;", "a fresh state is neutral for merge", "gauge"),
    "not associative": ("in merge", "if (a->count != 0 && b->count != 0) a->sum = (a->sum - b->sum) / 2;",
                        "merge is associative", "gauge"),
    "not commutative": ("in merge", "if (b->count != 0) *a = *b; return;", "merge is commutative",
                        "merged the other way round"),
    "no halves": ("in merge", "if (b->count > a->count || (b->count == a->count && b->sum > a->sum)) *a = *b; return;",
                  "two halves merge into the whole", "as one sequence"),
    "hasty": ("in update", "s->count++;", "a refused value changes no byte",
              r"update\(\) refuses the last sample .*but changes 1 byte"),
    "silent": ("in update", "error = NULL;", "a refusal gives one line of reason", "no reason"),
    "wrong kind": ("in render", "rasad_write_count(writer, s->count);",
                   "render writes points of its kind", "is no gauge"),
    "verify": ("in verify", "if (((const struct state *)state)->count > 3) return false;",
               "verify accepts what the functions make", r"verify\(\) refuses a state that"),
    "migrates nothing": ("in migrate", "if (size == 0) return true;", MIGRATE, r"takes 0 bytes"),
    "migrates too much": ("in migrate", "memcpy(&s->sum, from, 64);", MIGRATE,
                          r"migrate\(\) touches the memory \d+ byte\(s\) behind"),
    "refuses its presets": ("in configure", 'return rasad_fail(error, "never");', CONFS,
                            "refuses the presets: never"),
    "crashes in configure": ("in configure", "if (c->word[0] != 'x') abort();", CONFS,
                             r"configure\(\) crashes \(SIGABRT\)"),
}

# A sanitizer has its own malloc(), and its own words for a bad access.
sanitized = built_with("a")
SKIPPED_IF_SANITIZED = {"allocates", "copies a text", "stack overflow", "null pointer"}


def compile_sum(folder, *changes, name="sum"):
    source = SUM
    for place, code in changes:
        assert f"/* {place} */" in source or place in source, place
        source = source.replace(f"/* {place} */" if f"/* {place} */" in source else place, code)
    folder.mkdir(exist_ok=True)
    (folder / "sum.c").write_text(source)
    subprocess.run(["gcc", "-std=gnu17", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-w",
                    f"-I{ROOT}/core/include", "-o", folder / f"{name}.so", folder / "sum.c", "-lm"],
                   check=True, timeout=60)
    (folder / f"{name}.so").chmod(0o644)
    return folder / f"{name}.so"


def check(*arguments, timeout=170):
    environment = os.environ | {"ASAN_OPTIONS": "exitcode=99", "TSAN_OPTIONS": "exitcode=99"}
    done = subprocess.run([program("rasadctl"), "check", *map(str, arguments)], capture_output=True,
                          text=True, timeout=timeout, check=False, env=environment)
    assert done.returncode in (0, 1, 64, 78), done.stderr
    return done


def failed(done):
    """The laws that a report says are broken."""
    return re.findall(r"^FAIL  (.*?)  ", done.stdout, re.M)


PLUGINS = sorted(path.stem for path in BUILD.glob("lib*/**/rasad/plugins/*.so"))


@pytest.mark.parametrize("name", PLUGINS)
def test_our_plugins_keep_all_laws(name):
    path = next(BUILD.glob(f"lib*/**/rasad/plugins/{name}.so"))
    done = check(path)
    assert (done.returncode, done.stderr, failed(done)) == (0, "", []), done.stdout
    assert done.stdout.count("\nok  ") >= 17
    assert re.search(r"^\d+ bytes a state, .*ns a .*: all laws hold$", done.stdout, re.M)


def test_the_sum_keeps_all_laws(tmp_path):
    done = check(compile_sum(tmp_path))
    assert (done.returncode, done.stderr, failed(done)) == (0, "", []), done.stdout
    assert "12 of 12 random confs taken" in done.stdout


@pytest.mark.parametrize("what", BROKEN)
def test_each_law_names_who_breaks_it(tmp_path, what):
    place, code, law, words = BROKEN[what]
    if sanitized and what in SKIPPED_IF_SANITIZED:
        pytest.skip("a sanitizer is in the way of this one")
    done = check(compile_sum(tmp_path, (place, code)))
    assert done.returncode == 1, done.stdout
    assert not REPORT.search(done.stderr)
    assert law in failed(done), done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"FAIL  {law}"))
    assert re.search(words, line), line
    assert f"again: rasadctl check {tmp_path}/sum.so --seed 1" in done.stdout
    assert done.stdout.endswith("a law is broken\n")


def test_a_law_alone_is_broken_and_its_smallest_case_is_shown(tmp_path):
    done = check(compile_sum(tmp_path, ("in merge", "if (a->sum >= 5 && b->sum >= 7) a->sum++;")), "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["holds"] is False
    broken = [law for law in report["laws"] if law["result"] == "broken"]
    assert {law["law"] for law in broken} <= {"merge is associative", "merge is commutative",
                                              "two halves merge into the whole"}
    halves = broken[-1]
    assert halves["law"] == "two halves merge into the whole"
    first, second = ([sample["value"] for sample in part] for part in halves["samples"][:2])
    assert sum(first) == 5 and sum(second) == 7 and len(first + second) == 2


def test_the_seed_repeats_the_finding(tmp_path):
    path = compile_sum(tmp_path, ("in merge", "if (b->count > a->count) *a = *b; return;"))
    first, again, other = (check(path, "--seed", seed).stdout for seed in (7, 7, 8))
    without_time = [re.sub(r"[\d.]+ ns", "", text) for text in (first, again)]
    assert without_time[0] == without_time[1]
    assert first.split("\n")[0] == "sum 2.0, seed 7" and other != first


def test_states_of_an_older_build_are_migrated(tmp_path):
    older = compile_sum(tmp_path / "older", (".state_version = 2", ".state_version = 1"),
                        ("    uint64_t count;\n};", "};\nstatic uint64_t ignored;"),
                        ("    s->count++;", ""), ("    a->count += b->count;", ""))
    assert check(compile_sum(tmp_path / "new"), "--older", older).returncode == 0
    done = check(compile_sum(tmp_path / "bad", ("in migrate", "return false;")), "--older", older)
    assert done.returncode == 1 and failed(done) == [MIGRATE]
    assert "refuses every state of version 1 that the older build makes" in done.stdout
    done = check(compile_sum(tmp_path / "worse", ("memcpy(&s->sum, from, sizeof s->sum);",
                                                  "s->sum = (double)(uintptr_t)into;")), "--older", older)
    assert done.returncode == 1 and MIGRATE in failed(done)


LOADING = {
    "crashes": ("raise(SIGSEGV);", "it crashes while loading (SIGSEGV)"),
    "leaves": ("_exit(0);", "it ends its process while loading (exit code 0)"),
    "starts a thread": ("pthread_t thread; pthread_create(&thread, NULL, wait_for_ever, NULL);",
                        "it starts a thread while loading (a plugin has none)"),
}


@pytest.mark.parametrize("what", LOADING)
def test_what_goes_wrong_while_loading_is_told(tmp_path, what):
    code, words = LOADING[what]
    done = check(compile_sum(tmp_path, ("on load", f"""
#include <signal.h>
static void *wait_for_ever(void *unused) {{ for (;;) pause(); return unused; }}
__attribute__((constructor)) static void load(void) {{ {code} }}""")))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"rasadctl: {tmp_path}/sum.so: {words}\n" in done.stderr


def test_files_that_others_may_change_are_refused(tmp_path):
    path = compile_sum(tmp_path)
    path.chmod(0o666)
    done = check(path)
    assert (done.returncode, done.stderr) == (1, f"rasadctl: {path}: writable by others (chmod go-w)\n")
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    done = check(path)
    assert done.returncode == 1 and "folder that all may write to" in done.stderr


def test_a_file_by_another_name_is_told(tmp_path):
    done = check(compile_sum(tmp_path, name="total"))
    assert done.returncode == 1
    assert 'it calls itself "sum" (name the file sum.so)' in done.stderr


def test_a_conf_gets_the_answer_of_rasadd(tmp_path):
    conf = tmp_path / "rasad.conf"
    for text in ('state_dir = ""\nmetric "A" { plugin = "guage" }\nmetrik "B" {}\n',
                 'state_dir = ""\nmetric "A" { plugin = "gauge" }\n'):
        conf.write_text(text)
        wanted = subprocess.run([program("rasadd"), "-t", "-c", conf], capture_output=True, text=True,
                                timeout=60, check=False)
        done = check(conf)
        assert (done.returncode, done.stdout, done.stderr) == (wanted.returncode, wanted.stdout,
                                                               wanted.stderr)
    assert done.returncode == 0
    assert check(tmp_path / "none.conf").returncode == 78
    assert check(tmp_path / "none.so").returncode == 1


@pytest.mark.parametrize("arguments", [["--seed", "x", "a.so"], ["--nonsense"], ["a", "b"],
                                       ["--json", "rasad.conf"]], ids=" ".join)
def test_wrong_usage_is_64(arguments):
    done = check(*arguments)
    assert done.returncode == 64 and done.stdout == "" and done.stderr


def test_options_are_given_where_random_ones_will_not_do(tmp_path):
    path = compile_sum(tmp_path, ("in configure", 'if (strcmp(c->word, "only this") != 0) '
                                  'return rasad_fail(error, "word must be \\"only this\\"");'),
                       ('.preset = "x", ', ""))
    done = check(path)
    assert done.returncode == 1 and "--option" in done.stdout and failed(done) == [CONFS]
    assert check(path, "--option", 'word = "only this"').returncode == 0
