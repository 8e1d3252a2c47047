/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of rasad/plugin.h (core/laws): every plugin of the build folder keeps them, and each law
 * catches an aggregate that breaks it. What needs a file of its own to be broken, such as a write
 * to a global, is in tests/system/test_check.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "laws/laws.h"
#include "plugin.h"

/* What laws_check() told. */
struct finding {
    const char *name;
    bool print;
    char law[64];     /* the first that is broken, or "" */
    uint64_t samples; /* of its smallest case */
};

static void tell(void *context, const struct laws_result *result)
{
    struct finding *finding = context;

    if (result->outcome != LAW_BROKEN || finding->law[0] != '\0')
        return;
    (void)snprintf(finding->law, sizeof finding->law, "%s", result->title);
    finding->samples = result->smallest != NULL ? result->smallest->count : 0;
    if (finding->print)
        print_error("%s: \"%s\" is broken: %s (under %s)\n", finding->name, result->title,
                    result->detail, result->conf);
}

/* The first law that is broken; RASAD_SEED=N tries others than seed 1 does. */
static struct finding find_broken(const struct plugin *plugin, const char *setting, bool print)
{
    const char *given = getenv("RASAD_SEED");
    const struct laws_options options = {.seed = given != NULL ? strtoull(given, NULL, 10) : 1,
                                         .settings = &setting,
                                         .setting_count = setting != NULL};
    struct finding finding = {.name = plugin->api.name, .print = print};
    struct laws_figures figures;
    struct rasad_error error;
    bool all_hold;

    if (!laws_check(plugin, &options, tell, &finding, &figures, &all_hold, &error))
        fail_msg("%s", error.text);
    assert_int_equal(all_hold, finding.law[0] == '\0');
    return finding;
}

/* ---- Every plugin of the build folder ------------------------------------------------------ */

/* What random confs would hardly be like. */
static const struct {
    const char *plugin, *setting;
} confs[] = {
    {"letter_counter", "letters = \"\xc3\xa9\""},    /* a letter of two bytes */
    {"histogram", "buckets = { 1 }"},                /* the fewest buckets */
    {"histogram", "buckets = { -5, 0, 5, inf }"},    /* signs, and a bound that is there anyhow */
    {"peak", "ceiling = 50"},                        /* the guide's */
    {"summary", "window = \"1s\""},                  /* most samples fall out of the window */
    {"summary", "window = \"30d\"\nquantiles = {}"}, /* none does */
    {"summary", "error = 0.25\nquantiles = { 0, 1 }"},
};

static void check_plugin(const char *folder, const char *name)
{
    char path[4096];
    struct rasad_error error;
    struct plugin *plugin;

    (void)snprintf(path, sizeof path, "%s/%s.so", folder, name);
    if (!plugin_open(path, name, &plugin, &error))
        fail_msg("%s", error.text);
    assert_string_equal(find_broken(plugin, NULL, true).law, "");
    for (size_t i = 0; i < sizeof confs / sizeof *confs; i++) {
        if (strcmp(confs[i].plugin, name) == 0)
            assert_string_equal(find_broken(plugin, confs[i].setting, true).law, "");
    }
    plugin_unref(plugin);
}

static void test_every_plugin_keeps_the_laws(void **unused)
{
    DIR *folder = opendir(PLUGINS);
    int checked = 0;

    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        char name[256];

        if (length < 4 || strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(length - 3), entry->d_name);
        check_plugin(PLUGINS, name);
        checked++;
    }
    closedir(folder);
    assert_true(checked >= 5);
}

/* docs/plugin-guide.md shows a plugin and the command that compiles it; both must hold. */
static void test_the_guides_plugin_compiles_and_keeps_the_laws(void **unused)
{
    char folder[] = "/tmp/rasad-test-XXXXXX";
    char command[4096];

    assert_non_null(mkdtemp(folder));
    (void)snprintf(command, sizeof command,
                   "cd %s && sed -n '/^```c$/,/^```$/{/^```/!p}' " GUIDE " > peak.c &&"
                   " umask 022 && gcc -std=c17 -O2 -Wall -Wextra -Wno-unused-parameter -Werror"
                   " -shared -fPIC -fvisibility=hidden -I" HEADERS " -o peak.so peak.c -lm",
                   folder);
    assert_int_equal(system(command), 0);
    check_plugin(folder, "peak");
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* ---- Broken aggregates are caught ---------------------------------------------------------- */

/* A sum that is right; the broken ones below each get one function wrong. */
struct sum {
    double sum;
    double spare; /* not rendered; for what some of them hide */
};

static size_t sum_state_size(const void *config)
{
    return sizeof(struct sum);
}

static void sum_init(const void *config, void *state)
{
    *(struct sum *)state = (struct sum){0};
}

static bool sum_update(const void *config, void *state, const struct rasad_value *value,
                       struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    ((struct sum *)state)->sum += value->number;
    return true;
}

static void sum_merge(const void *config, void *into, const void *from)
{
    ((struct sum *)into)->sum += ((const struct sum *)from)->sum;
}

static void sum_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_gauge(writer, ((const struct sum *)state)->sum);
}

static bool sum_verify(const void *config, const void *state, size_t size)
{
    return size == sizeof(struct sum);
}

static size_t huge_state_size(const void *config)
{
    return (1 << 20) + 1;
}

static void idle_init(const void *config, void *state)
{
}

static void biased_init(const void *config, void *state)
{
    *(struct sum *)state = (struct sum){.sum = 1};
}

static void wide_init(const void *config, void *state)
{
    memset(state, 0, sizeof(struct sum) + 1);
}

static bool hasty_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    ((struct sum *)state)->spare++; /* before it knows whether it takes the value */
    return sum_update(config, state, value, error);
}

static bool silent_update(const void *config, void *state, const struct rasad_value *value,
                          struct rasad_error *error)
{
    return sum_update(config, state, value, NULL);
}

static bool spoiling_update(const void *config, void *state, const struct rasad_value *value,
                            struct rasad_error *error)
{
    bool taken = sum_update(config, state, value, error);

    ((struct rasad_value *)(uintptr_t)value)->number += 1;
    return taken;
}

static bool wide_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    ((char *)state)[-1] = 0;
    return sum_update(config, state, value, error);
}

/* Keeps an address in the state. */
static bool rooted_update(const void *config, void *state, const struct rasad_value *value,
                          struct rasad_error *error)
{
    struct sum *s = state;
    void *home;

    if (!sum_update(config, state, value, error))
        return false;
    memcpy(&home, &s->spare, sizeof home);
    if (home != NULL && home != state)
        s->sum -= value->number;
    else
        memcpy(&s->spare, &state, sizeof state);
    return true;
}

/* The last one wins, without a stamp: halves merge well, but in this order only. */
static bool last_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    *(struct sum *)state = (struct sum){.sum = value->number, .spare = 1};
    return true;
}

static void last_merge(const void *config, void *into, const void *from)
{
    if (((const struct sum *)from)->spare > 0)
        *(struct sum *)into = *(const struct sum *)from;
}

/* The mean of the means: commutative, neither associative nor the whole's. */
static void mean_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;
    const struct sum *b = from;

    if (a->sum == 0 || b->sum == 0)
        a->sum += b->sum;
    else
        a->sum = (a->sum + b->sum) / 2;
}

/* The largest of two sums: sound as a merge, but not of sums. */
static void largest_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;
    const struct sum *b = from;

    if (b->spare > a->spare || (b->spare == a->spare && b->sum > a->sum))
        *a = *b;
}

static bool counting_update(const void *config, void *state, const struct rasad_value *value,
                            struct rasad_error *error)
{
    if (!sum_update(config, state, value, error))
        return false;
    ((struct sum *)state)->spare++;
    return true;
}

static void greedy_merge(const void *config, void *into, const void *from)
{
    sum_merge(config, into, from);
    memset((void *)(uintptr_t)from, 0, sizeof(struct sum)); /* takes, where it may only look */
}

static void wide_merge(const void *config, void *into, const void *from)
{
    sum_merge(config, into, from);
    ((char *)into)[sizeof(struct sum)] = 0;
}

static void counter_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_counter(writer, ((const struct sum *)state)->sum);
}

static void touching_render(const void *config, const void *state, struct rasad_writer *writer)
{
    ((struct sum *)(uintptr_t)state)->spare++;
    sum_render(config, state, writer);
}

static bool narrow_verify(const void *config, const void *state, size_t size)
{
    return ((const struct sum *)state)->sum == 0;
}

/* Sums of sizes, since 5 % of a difference would be no bound. */
static bool size_update(const void *config, void *state, const struct rasad_value *value,
                        struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        return rasad_fail(error, "wants a number");
    ((struct sum *)state)->sum += fabs(value->number);
    return true;
}

/* Is off by a little with each merge. */
static void rough_merge(const void *config, void *into, const void *from)
{
    struct sum *a = into;

    a->sum = (a->sum + ((const struct sum *)from)->sum) * 1.0001;
}

static bool crashing_update(const void *config, void *state, const struct rasad_value *value,
                            struct rasad_error *error)
{
    if (value->type == RASAD_TEXT)
        abort();
    return sum_update(config, state, value, error);
}

/* Takes anything for an older state. */
static bool greedy_migrate(const void *config, uint32_t from_version, const void *from, size_t size,
                           void *into)
{
    return true;
}

/* Doesn't look how much there is. */
static bool blind_migrate(const void *config, uint32_t from_version, const void *from, size_t size,
                          void *into)
{
    memcpy(into, from, sizeof(struct sum));
    return size == sizeof(struct sum);
}

static const struct rasad_plugin sum_plugin = {
    RASAD_PLUGIN_HEAD,    .flags = RASAD_COMMUTATIVE,
    .kind = RASAD_GAUGE,  .state_version = 1,
    .name = "sum",        .version = "1.0",
    .help = "The sum",    .state_size = sum_state_size,
    .init = sum_init,     .update = sum_update,
    .merge = sum_merge,   .render = sum_render,
    .verify = sum_verify,
};

static struct plugin plugin_of(struct rasad_plugin api)
{
    return (struct plugin){.api = api, .path = (char *)(uintptr_t) "sum.so"};
}

static void test_a_sound_aggregate_breaks_no_law(void **unused)
{
    const struct plugin plugin = plugin_of(sum_plugin);
    const struct laws_options options = {.seed = 1};
    struct rasad_error error;

    assert_string_equal(find_broken(&plugin, NULL, true).law, "");
    if (!laws_check_quickly(&plugin, &options, &error))
        fail_msg("%s", error.text);
}

/* The sum with these functions put in. */
static struct plugin plugin_with(const struct rasad_plugin *with)
{
    struct rasad_plugin api = sum_plugin;

    api.state_size = with->state_size != NULL ? with->state_size : api.state_size;
    api.init = with->init != NULL ? with->init : api.init;
    api.update = with->update != NULL ? with->update : api.update;
    api.merge = with->merge != NULL ? with->merge : api.merge;
    api.render = with->render != NULL ? with->render : api.render;
    api.verify = with->verify != NULL ? with->verify : api.verify;
    api.migrate = with->migrate;
    api.flags = with->flags != 0 ? with->flags : api.flags;
    return plugin_of(api);
}

static const struct {
    struct rasad_plugin with;
    const char *law;
    uint64_t samples; /* the smallest case needs no more */
} cases[] = {
    {{.state_size = huge_state_size}, "a state has one size", 0},
    {{.init = idle_init}, "init makes the same of any bytes", 0},
    {{.init = biased_init}, "a fresh state is neutral for merge", 0},
    {{.init = wide_init}, "nothing is written outside the block", 0},
    {{.update = hasty_update}, "a refused value changes no byte", 1},
    {{.update = silent_update}, "a refusal gives one line of reason", 1},
    {{.update = spoiling_update}, "what is lent is only read", 1},
    {{.update = wide_update}, "nothing is written outside the block", 1},
    {{.update = rooted_update}, "a moved state is as good", 2},
    {{.update = last_update, .merge = last_merge}, "merge is commutative", 2},
    {{.merge = mean_merge}, "merge is associative", 3},
    {{.update = counting_update, .merge = largest_merge}, "two halves merge into the whole", 2},
    {{.merge = greedy_merge}, "what is lent is only read", 1},
    {{.merge = wide_merge}, "nothing is written outside the block", 0},
    {{.render = counter_render}, "render writes points of its kind", 0},
    {{.render = touching_render}, "what is lent is only read", 0},
    {{.verify = narrow_verify}, "verify accepts what the functions make", 1},
    {{.merge = rough_merge}, "a fresh state is neutral for merge", 1},
    {{.update = crashing_update}, "no function crashes or hangs", 1},
    {{.migrate = greedy_migrate}, "migrate takes older states and no rubbish", 0},
    {{.migrate = blind_migrate}, "migrate takes older states and no rubbish", 0},
};

static void test_each_law_catches_who_breaks_it(void **unused)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct plugin plugin = plugin_with(&cases[i].with);
        struct finding found = find_broken(&plugin, NULL, false);

        assert_string_equal(found.law, cases[i].law);
        if (found.samples > cases[i].samples)
            fail_msg("\"%s\": the smallest case has %llu samples", cases[i].law,
                     (unsigned long long)found.samples);
    }
}

static void test_the_quick_laws_catch_most_of_them(void **unused)
{
    const struct laws_options options = {.seed = 1};
    size_t caught = 0, count = sizeof cases / sizeof *cases;

    for (size_t i = 0; i < count; i++) {
        const struct plugin plugin = plugin_with(&cases[i].with);
        struct rasad_error error = {""};
        char expected[128];

        (void)snprintf(expected, sizeof expected, "breaks the law \"%s\": ", cases[i].law);
        if (laws_check_quickly(&plugin, &options, &error))
            continue;
        if (strncmp(error.text, expected, strlen(expected)) != 0)
            fail_msg("not \"%s\", but: %s", cases[i].law, error.text);
        caught++;
    }
    assert_in_range(caught, count - 3, count);
}

static void test_flags_loosen_what_they_say(void **unused)
{
    /* The last one wins is sound, only not commutative. */
    struct plugin last = plugin_with(&(struct rasad_plugin){
        .flags = RASAD_APPROXIMATE, .update = last_update, .merge = last_merge});
    const struct plugin rough =
        plugin_with(&(struct rasad_plugin){.flags = RASAD_COMMUTATIVE | RASAD_APPROXIMATE,
                                           .update = size_update,
                                           .merge = rough_merge});

    last.api.flags = 0;
    assert_string_equal(find_broken(&last, NULL, true).law, "");
    assert_string_equal(find_broken(&rough, NULL, true).law, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_plugin_keeps_the_laws),
        cmocka_unit_test(test_the_guides_plugin_compiles_and_keeps_the_laws),
        cmocka_unit_test(test_a_sound_aggregate_breaks_no_law),
        cmocka_unit_test(test_each_law_catches_who_breaks_it),
        cmocka_unit_test(test_the_quick_laws_catch_most_of_them),
        cmocka_unit_test(test_flags_loosen_what_they_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
