/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of each metric when one conf takes the place of another; confs made by hand. */
#include "reload/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 4 };

#define PLUGIN(its_name, its_kind, its_version, it_migrates)                                       \
    {                                                                                              \
        .api = {.name = (its_name),                                                                \
                .version = "1.0",                                                                  \
                .kind = (its_kind),                                                                \
                .state_version = (its_version)},                                                   \
        .migrates = (it_migrates),                                                                 \
    }

static struct plugin gauge = PLUGIN("gauge", RASAD_GAUGE, 1, false);
static struct plugin count = PLUGIN("count", RASAD_COUNTER, 1, false);
static struct plugin count_again = PLUGIN("count", RASAD_COUNTER, 1, false); /* another build */
static struct plugin count_gauge = PLUGIN("count", RASAD_GAUGE, 1, false);
static struct plugin count_2 = PLUGIN("count", RASAD_COUNTER, 2, false);
static struct plugin count_moves = PLUGIN("count", RASAD_COUNTER, 1, true);
static struct plugin count_moves_2 = PLUGIN("count", RASAD_COUNTER, 2, true);

/* A metric section; what is left out is as most sections have it. */
struct section {
    const char *title;
    struct plugin *plugin; /* default: count */
    const char *name;      /* default: the title, or NULL for a glob */
    const char *labels[MOST];
    const char *shape;   /* default: "" */
    const char *options; /* default: the title alone */
    const char *help;    /* default: "h" */
    size_t state_size;   /* default: 8 */
    int64_t expire_ns;
    uint64_t max_series, max_families;
};

static struct conf_metric make_metric(const struct section *section, int line)
{
    struct conf_metric metric = {
        .key = (char *)(uintptr_t)section->title,
        .is_glob = strpbrk(section->title, "*?[") != NULL,
        .name = (char *)(uintptr_t)section->name,
        .help = (char *)(uintptr_t)(section->help != NULL ? section->help : "h"),
        .labels = (char **)(uintptr_t)section->labels,
        .expire_ns = section->expire_ns,
        .max_series = section->max_series,
        .max_families = section->max_families,
        .file = (char *)(uintptr_t) "new.conf",
        .line = line,
    };

    if (metric.name == NULL && !metric.is_glob)
        metric.name = metric.key;
    while (metric.label_count < MOST && section->labels[metric.label_count] != NULL)
        metric.label_count++;
    metric.aggregate = (struct aggregate){
        .plugin = section->plugin != NULL ? section->plugin : &count,
        .section =
            (char *)(uintptr_t)(section->options != NULL ? section->options : "metric {\n}\n"),
        .shape = (char *)(uintptr_t)(section->shape != NULL ? section->shape : ""),
        .exact_size = section->state_size != 0 ? section->state_size : 8,
    };
    metric.aggregate.state_size = (metric.aggregate.exact_size + 7) & ~(size_t)7;
    return metric;
}

/* A conf of these sections, up to the first without title. */
struct made {
    struct conf conf;
    struct conf_metric metrics[MOST];
};

static void make_conf(struct made *made, const struct section *sections)
{
    *made = (struct made){.conf = {.path = (char *)(uintptr_t) "new.conf",
                                   .state_dir = (char *)(uintptr_t) "",
                                   .agent_label = (char *)(uintptr_t) "agent",
                                   .admin_socket = (char *)(uintptr_t) "/run/rasad.sock"}};
    made->conf.metrics = made->metrics;
    for (; made->conf.metric_count < MOST && sections[made->conf.metric_count].title != NULL;
         made->conf.metric_count++)
        made->metrics[made->conf.metric_count] = make_metric(
            &sections[made->conf.metric_count], 10 * (int)(made->conf.metric_count + 1));
}

/* What a row should say: "X kept <Y: detail" is metric X, which goes on from section Y. */
static void show_rows(const struct plan *plan, struct text *out)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_row *row = &plan->rows[i];

        text_printf(out, "%s%s %s", i > 0 ? "\n" : "", row->metric, row->action);
        if (row->from != NULL && row->to != NULL && strcmp(row->from->key, row->to->key) != 0)
            text_printf(out, " <%s", row->from->key);
        if (row->detail != NULL)
            text_printf(out, ": %s", row->detail);
        if (row->from != NULL && row->to != NULL && plan_relabels(row))
            text_add_string(out, " (relabels)");
    }
}

struct plan_case {
    const char *why;
    struct section from[MOST], to[MOST];
    const char *rows;
};

static const struct plan_case cases[] = {
    {"the same", {{.title = "a"}}, {{.title = "a"}}, "a kept"},
    {"nothing is fine as well", {{.title = NULL}}, {{.title = NULL}}, ""},
    {"from nothing", {{.title = NULL}}, {{.title = "a"}, {.title = "b"}}, "a added\nb added"},
    {"to nothing", {{.title = "a"}, {.title = "b"}}, {{.title = NULL}}, "a removed\nb removed"},
    {"the order is the new conf's, what is gone comes last",
     {{.title = "a"}, {.title = "b"}, {.title = "c"}},
     {{.title = "c"}, {.title = "d"}, {.title = "a"}},
     "c kept\nd added\na kept\nb removed"},

    {"another build",
     {{.title = "a"}},
     {{.title = "a", .plugin = &count_again}},
     "a kept: new plugin"},
    {"all that a state doesn't mind",
     {{.title = "a", .max_series = 1, .max_families = 1}},
     {{.title = "a",
       .plugin = &count_again,
       .name = "b",
       .labels = {"l"},
       .help = "new",
       .expire_ns = 5,
       .max_series = 2,
       .max_families = 2}},
     "a kept: new plugin, name, help, labels, expire, max_series, max_families (relabels)"},
    {"one more label",
     {{.title = "a", .labels = {"l"}}},
     {{.title = "a", .labels = {"l", "m"}}},
     "a kept: new labels (relabels)"},
    {"one less",
     {{.title = "a", .labels = {"l", "m"}}},
     {{.title = "a", .labels = {"m"}}},
     "a kept: new labels (relabels)"},
    {"in another order",
     {{.title = "a", .labels = {"l", "m"}}},
     {{.title = "a", .labels = {"m", "l"}}},
     "a kept: new labels (relabels)"},
    {"the same labels",
     {{.title = "a", .labels = {"l", "m"}}},
     {{.title = "a", .labels = {"l", "m"}}},
     "a kept"},

    {"an option that shapes no state",
     {{.title = "a", .options = "metric \"a\" {\n    x = 1\n    ceiling = 5\n}\n"}},
     {{.title = "a", .options = "metric \"a\" {\n    x = 1\n    ceiling = 6\n}\n"}},
     "a kept: new ceiling"},
    {"an option that the new plugin hasn't",
     {{.title = "a", .options = "metric \"a\" {\n    x = 1\n    ceiling = 5\n}\n"}},
     {{.title = "a", .help = "i", .options = "metric \"a\" {\n    x = 1\n}\n"}},
     "a kept: new help, ceiling"},

    {"another plugin",
     {{.title = "a"}},
     {{.title = "a", .plugin = &gauge}},
     "a restarted: plugin count → gauge"},
    {"of another kind",
     {{.title = "a"}},
     {{.title = "a", .plugin = &count_gauge}},
     "a restarted: kind changed"},
    {"an option's value",
     {{.title = "a", .shape = "unit = 1\nx = 2\n"}},
     {{.title = "a", .shape = "unit = 1\nx = 21\n"}},
     "a restarted: x changed"},
    {"only the first of two",
     {{.title = "a", .shape = "unit = 1\nx = 2\n"}},
     {{.title = "a", .shape = "unit = 2\nx = 3\n"}},
     "a restarted: unit changed"},
    {"names that begin alike",
     {{.title = "a", .shape = "uni = 1\n"}},
     {{.title = "a", .shape = "unit = 1\n"}},
     "a restarted: unit changed"},
    {"an option that is new",
     {{.title = "a", .shape = "unit = 1\n"}},
     {{.title = "a", .shape = "unit = 1\nx = 2\n"}},
     "a restarted: x changed"},
    {"one that is gone",
     {{.title = "a", .shape = "unit = 1\nx = 2\n"}},
     {{.title = "a", .shape = "unit = 1\n"}},
     "a restarted: x changed"},
    {"all are gone",
     {{.title = "a", .shape = "x = 2\n"}},
     {{.title = "a"}},
     "a restarted: x changed"},
    {"of another size, with nobody to bring them over",
     {{.title = "a"}},
     {{.title = "a", .state_size = 16}},
     "a restarted: a state takes 16 bytes, not 8"},
    {"even where the room for it is the same",
     {{.title = "a", .state_size = 5}},
     {{.title = "a", .state_size = 6}},
     "a restarted: a state takes 6 bytes, not 5"},
    {"older, likewise",
     {{.title = "a"}},
     {{.title = "a", .plugin = &count_2}},
     "a restarted: state version 1 → 2, and the plugin has no migrate()"},
    {"labels are of no interest to what begins anew",
     {{.title = "a", .labels = {"l"}}},
     {{.title = "a", .plugin = &gauge}},
     "a restarted: plugin count → gauge (relabels)"},

    {"older, brought over",
     {{.title = "a"}},
     {{.title = "a", .plugin = &count_moves_2}},
     "a migrated: 1 → 2; new plugin"},
    {"newer, brought back",
     {{.title = "a", .plugin = &count_moves_2}},
     {{.title = "a", .plugin = &count_moves}},
     "a migrated: 2 → 1; new plugin"},
    {"newer with no way back, but its plugin is another anyway",
     {{.title = "a", .plugin = &count_2}},
     {{.title = "a", .plugin = &gauge}},
     "a restarted: plugin count → gauge"},
    {"of another size, brought over",
     {{.title = "a", .plugin = &count_moves}},
     {{.title = "a", .plugin = &count_moves, .state_size = 16}},
     "a migrated: 8 bytes → 16"},
    {"brought over under other labels and another name",
     {{.title = "a", .plugin = &count_moves, .labels = {"l"}}},
     {{.title = "a", .plugin = &count_moves_2, .name = "b"}},
     "a migrated: 1 → 2; new plugin, name, labels (relabels)"},
    {"an option that shapes states is stronger than migrate()",
     {{.title = "a", .plugin = &count_moves, .shape = "x = 1\n"}},
     {{.title = "a", .plugin = &count_moves_2, .shape = "x = 2\n"}},
     "a restarted: x changed"},

    {"another key, the same name",
     {{.title = "a", .name = "n"}},
     {{.title = "b", .name = "n"}},
     "b kept <a"},
    {"another name, the same key",
     {{.title = "a", .name = "n"}},
     {{.title = "a", .name = "m"}},
     "a kept: new name"},
    {"two names swapped: the keys decide",
     {{.title = "a", .name = "n"}, {.title = "b", .name = "m"}},
     {{.title = "a", .name = "m"}, {.title = "b", .name = "n"}},
     "a kept: new name\nb kept: new name"},
    {"a name that is free for another now: it begins with nothing",
     {{.title = "a", .name = "n"}},
     {{.title = "a", .name = "m"}, {.title = "b", .name = "n"}},
     "a kept: new name\nb added"},
    {"both a key and a name go on elsewhere: each older section goes on once",
     {{.title = "a", .name = "n"}},
     {{.title = "b", .name = "n"}, {.title = "a", .name = "m"}},
     "b added\na kept: new name"},
    {"the same key in a ring",
     {{.title = "a"}, {.title = "b"}, {.title = "c"}},
     {{.title = "a", .name = "b"}, {.title = "b", .name = "c"}, {.title = "c", .name = "a"}},
     "a kept: new name\nb kept: new name\nc kept: new name"},
    {"a new key with the name of one that is gone, whose own name is new",
     {{.title = "a"}, {.title = "b"}},
     {{.title = "c", .name = "b"}, {.title = "a"}},
     "c kept <b\na kept"},

    {"a glob", {{.title = "a*"}}, {{.title = "a*"}}, "a* kept"},
    {"another glob is another section",
     {{.title = "a*"}},
     {{.title = "a?"}},
     "a? added\na* removed"},
    {"even of the same name",
     {{.title = "a*", .name = "n"}},
     {{.title = "a?", .name = "n"}},
     "a? added\na* removed"},
    {"a glob and a plain metric of one name are two",
     {{.title = "a*", .name = "n"}},
     {{.title = "a", .name = "n"}},
     "a added\na* removed"},
    {"and the other way",
     {{.title = "a", .name = "n"}},
     {{.title = "a*", .name = "n"}},
     "a* added\na removed"},
    {"a glob that gets a name puts into one family what were many",
     {{.title = "a*"}},
     {{.title = "a*", .name = "n"}},
     "a* restarted: name changed"},
    {"or loses it",
     {{.title = "a*", .name = "n"}},
     {{.title = "a*"}},
     "a* restarted: name changed"},
    {"but it may get another",
     {{.title = "a*", .name = "n"}},
     {{.title = "a*", .name = "m"}},
     "a* kept: new name"},
    {"its limit",
     {{.title = "a*", .max_families = 1}},
     {{.title = "a*", .max_families = 2}},
     "a* kept: new max_families"},
    {"globs in another order",
     {{.title = "a*"}, {.title = "*b"}},
     {{.title = "*b"}, {.title = "a*"}},
     "*b kept\na* kept"},
};

static void test_each_section_gets_its_verdict_and_says_why(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text report = {0}, shown = {0};
        struct made from, to;
        struct plan plan;

        make_conf(&from, cases[i].from);
        make_conf(&to, cases[i].to);
        if (!plan_make(&from.conf, &to.conf, &plan, &report))
            fail_msg("%s: refused: %s", cases[i].why, text_end(&report));
        show_rows(&plan, &shown);
        if (strcmp(text_end(&shown), cases[i].rows) != 0)
            fail_msg("%s:\n%s\ninstead of\n%s", cases[i].why, text_end(&shown), cases[i].rows);
        assert_int_equal(report.length, 0);
        plan_free(&plan);
        text_free(&shown);
        text_free(&report);
    }
}

static void test_each_older_section_stands_in_one_row(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text report = {0};
        struct made from, to;
        struct plan plan;

        make_conf(&from, cases[i].from);
        make_conf(&to, cases[i].to);
        assert_true(plan_make(&from.conf, &to.conf, &plan, &report));
        for (size_t j = 0; j < from.conf.metric_count; j++) {
            size_t found = 0;

            for (size_t k = 0; k < plan.count; k++)
                found += plan.rows[k].from == &from.metrics[j];
            if (found != 1)
                fail_msg("%s: \"%s\" stands in %zu rows", cases[i].why, from.metrics[j].key, found);
            assert_ptr_equal(plan_find(&plan, &from.metrics[j])->from, &from.metrics[j]);
        }
        assert_null(plan_find(&plan, &to.metrics[0]));
        plan_free(&plan);
        text_free(&report);
    }
}

static void refuse(const char *why, const struct made *from, const struct made *to,
                   const char *wanted)
{
    struct plan plan = {.count = 77};
    struct text report = {0};

    if (plan_make(&from->conf, &to->conf, &plan, &report))
        fail_msg("%s: not refused", why);
    if (strcmp(text_end(&report), wanted) != 0)
        fail_msg("%s:\n%sinstead of\n%s", why, text_end(&report), wanted);
    assert_int_equal(plan.count, 77); /* untouched */
    text_free(&report);
}

static void test_what_needs_a_restart_is_refused_at_its_place(void **state)
{
#define RESTART "can't change while the server runs (it needs a restart)\n"
    static const struct section none[MOST] = {{.title = NULL}};
    static const char shown[] = "threads = 2 # new.conf:7\n"
                                "agent_label = \"host\" # more.conf:3\n"
                                "state_dir = \"\" # default\n";
    struct made from, to;

    make_conf(&from, none);
    make_conf(&to, none);
    text_add_string(&to.conf.effective, shown);
    to.conf.threads = 2;
    refuse("threads", &from, &to, "new.conf:7: \"threads\" " RESTART);
    to.conf.threads = 0;
    from.conf.state_dir = (char *)(uintptr_t) "/var/lib/rasad";
    refuse("an option that is not given any more has no line", &from, &to,
           "new.conf: \"state_dir\" " RESTART);
    to.conf.threads = 2;
    to.conf.agent_label = (char *)(uintptr_t) "host";
    to.conf.admin_socket = (char *)(uintptr_t) "/run/other.sock";
    refuse("all at once, a line for each", &from, &to,
           "new.conf: \"state_dir\" " RESTART "new.conf:7: \"threads\" " RESTART
           "more.conf:3: \"agent_label\" " RESTART "new.conf: \"admin_socket\" " RESTART);
    text_free(&to.conf.effective);
}

static void test_states_that_an_older_plugin_cannot_take_are_not_thrown_away(void **state)
{
    static const struct section newer[MOST] = {
        {.title = "x"}, {.title = "a", .plugin = &count_2}, {.title = "b", .plugin = &count_2}};
    static const struct section older[MOST] = {
        {.title = "a", .plugin = &count}, {.title = "x"}, {.title = "b", .plugin = &count}};
    static const char wanted[] =
        "new.conf:10: plugin \"count\" 1.0 makes states of version 1 and has no migrate() for "
        "those of version 2 that there are (put the newer plugin back)\n"
        "new.conf:30: plugin \"count\" 1.0 makes states of version 1 and has no migrate() for "
        "those of version 2 that there are (put the newer plugin back)\n";
    struct made from, to;

    make_conf(&from, newer);
    make_conf(&to, older);
    refuse("an older plugin", &from, &to, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_section_gets_its_verdict_and_says_why),
        cmocka_unit_test(test_each_older_section_stands_in_one_row),
        cmocka_unit_test(test_what_needs_a_restart_is_refused_at_its_place),
        cmocka_unit_test(test_states_that_an_older_plugin_cannot_take_are_not_thrown_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
