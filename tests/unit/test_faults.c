/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of ours fails once: the first, then the second, and so on, until a run has none
 * left to fail. Each run before must end in an error or do without, and leak nothing (which the
 * address sanitizer tells). The linker sends our allocations here (--wrap); those within shared
 * libraries are theirs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "exporter/exposition.h"
#include "handover/handover_wire.h"
#include "series.h"
#include "view.h"

#include "crossing.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
int __real_posix_memalign(void **at, size_t alignment, size_t size);

/* How many allocations may still succeed; below 0: all. */
static long left = -1;
static bool failed;

static bool fails(void)
{
    if (left < 0)
        return false;
    if (left > 0) {
        left--;
        return false;
    }
    left = -1; /* one failure a run: what follows must cope */
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
int __wrap_posix_memalign(void **at, size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return fails() ? NULL : __real_realloc(at, size);
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(at, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return fails() ? NULL : __real_strndup(text, length);
}

int __wrap_posix_memalign(void **at, size_t alignment, size_t size)
{
    return fails() ? 12 : __real_posix_memalign(at, alignment, size);
}

/* Runs the story with its n-th allocation failing, for every n; returns how many there were. */
static long fail_each(void (*story)(bool may_fail))
{
    long n = 0;

    do {
        failed = false;
        left = n++;
        story(true);
        left = -1;
    } while (failed);
    story(false);
    return n;
}

static void read_conf(bool may_fail)
{
    struct conf *conf = NULL;
    struct text report = {0}, printed = {0};
    bool fine = conf_read(CONF, NULL, NULL, &conf, &report);

    left = -1;
    if (!fine) {
        assert_true(may_fail && failed);
        assert_null(conf);
        assert_true(report.length > 0 || report.failed);
    } else {
        conf_print(conf, &printed);
        assert_true(printed.length > 1000);
        conf_free(conf);
    }
    text_free(&report);
    text_free(&printed);
}

static void test_reading_the_conf_survives_any_failed_allocation(void **state)
{
    assert_true(fail_each(read_conf) > 200);
}

/* One metric of a real conf, a few samples, a cut, and a view of it. */
static struct conf *shared_conf;

static void send_samples(struct series_store *store, struct families *families,
                         struct agents *agents, struct sample *sample, uint64_t *taken)
{
    for (int i = 0; i < 40; i++) {
        struct rasad_error error = {""};
        enum reject reason;
        char name[32];
        struct agent *agent;
        struct series *series;

        (void)snprintf(name, sizeof name, "agent-%d", i);
        agent = agents_get(agents, name, strlen(name));
        if (agent == NULL)
            continue;
        sample->value = (struct rasad_value){
            .size = sizeof sample->value, .type = RASAD_NUMBER, .number = 1, .text = ""};
        series = series_get(store, families_at(families, 0), agent, sample, 1, &reason, &error);
        if (series == NULL) {
            assert_string_equal(error.text, "out of memory");
            continue;
        }
        assert_true(series->family->api->update(series->family->config, series_state(series),
                                                &sample->value, &error));
        series_touch(store, series, 1);
        ++*taken;
    }
}

static void take_samples(bool may_fail)
{
    struct families families;
    struct agents agents;
    struct series_store *store = __real_malloc(sizeof *store);
    struct sample *sample = __real_calloc(1, sizeof *sample);
    struct rasad_error error = {""};
    struct view view;
    struct cut *cut;
    uint64_t taken = 0;

    agents_open(&agents);
    series_store_open(store);
    view_open(&view);
    if (families_open(&families, shared_conf, 2, &error)) {
        send_samples(store, &families, &agents, sample, &taken);
        assert_true(taken >= 39 || (may_fail && failed));
        assert_int_equal(places_taken(&families_at(&families, 0)->places), taken);
        cut = series_cut(store);
        if (cut == NULL) /* it changed nothing, so the next one has it all */
            cut = series_cut(store);
        assert_int_equal(cut->changed_count, taken);
        view_take(&view, cut);
    } else {
        assert_true(may_fail && strstr(error.text, "out of memory") != NULL);
    }
    left = -1;
    view_close(&view);
    series_store_close(store);
    agents_close(&agents);
    families_close(&families);
    free(store);
    free(sample);
}

static void test_taking_samples_survives_any_failed_allocation(void **state)
{
    struct text report = {0};

    assert_true(conf_read(CONF, NULL, NULL, &shared_conf, &report));
    assert_true(fail_each(take_samples) > 100);
    conf_free(shared_conf);
    text_free(&report);
}

/* A page that is not whole says so. */
static void write_page(bool may_fail)
{
    struct text out = {0}, labels = {0}, taken = {0};
    struct point_set points = point_set_make();
    size_t written = 0;

    for (int i = 0; i < 200; i++) {
        text_clear(&labels);
        exposition_label(&labels, "agent", "web-1", 5);
        point_set_clear(&points, 0);
        rasad_write_label(&points.writer, "window", "1m");
        rasad_write_gauge(&points.writer, i);
        if (!point_set_fits(&points, RASAD_GAUGE, &taken))
            continue; /* as a scrape does */
        exposition_series(&out, "x", RASAD_GAUGE, &labels, &points);
        written++;
    }
    left = -1;
    assert_true(written == 200 || (may_fail && failed));
    if (!out.failed && written == 200 && !failed) {
        assert_non_null(memmem(out.at, out.length, "x{agent=\"web-1\",window=\"1m\"} 199\n", 33));
    }
    assert_true(out.failed || written > 0);
    text_free(&out);
    text_free(&labels);
    point_set_free(&points);
}

static void test_writing_a_page_survives_any_failed_allocation(void **state)
{
    assert_true(fail_each(write_page) > 5);
}

/* What a reload prepares, from and to confs in which all happens that can: metrics go on, come, go,
 * begin anew, get another name, migrate, merge their series, and a glob has families. */
static const struct section before[] = {{.title = "m", .labels = {"l"}, .max_series = 8},
                                        {.title = "k"},
                                        {.title = "s"},
                                        {.title = "ended"},
                                        {.title = "g*"},
                                        {.title = NULL}};
static const struct section after[] = {
    {.title = "m", .plugin = &count_2},    {.title = "k", .name = "kay"},
    {.title = "s", .plugin = &other},      {.title = "new"},
    {.title = "g*", .labels = {"l", "m"}}, {.title = NULL}};
static const char all_is_there[] =
    "g1{a0} 6, g1{a1} 6, g1{a2} 6, g1{a3} 6, g2{a0} 6, g2{a1} 6, g2{a2} 6, g2{a3} 6, kay{a0} 6, "
    "kay{a1} 6, kay{a2} 6, kay{a3} 6, m{a0} 5, m{a1} 5, m{a2} 5, m{a3} 5, m{overflow} 2, "
    "m{overflow} 2, s{a0} 3, s{a1} 3, s{a2} 3, s{a3} 3";

/* Three samples of four agents for each key. */
static void send_all(struct crossing *crossing, bool labeled)
{
    static const char *const keys[] = {"m", "k", "s", "ended", "g1", "g2"};
    char agent[16], label[16];

    for (int i = 0; i < 12; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            (void)snprintf(agent, sizeof agent, "a%d", i % 4);
            (void)snprintf(label, sizeof label, "l=%d", i / 4);
            (void)crossing_send(crossing, i % 2, keys[k], agent, labeled && k == 0 ? label : "", 1);
        }
    }
    crossing_publish(crossing);
}

/* The plan and the preparation; the conf is the crossing's on true only. */
static bool try_to_cross(struct crossing *crossing, struct made *to, struct rasad_error *error)
{
    struct text report = {0};
    struct plan plan = {0};
    bool fine = plan_make(&crossing->made->conf, &to->conf, &plan, &report);

    if (!fine) {
        assert_true(report.failed || strcmp(text_end(&report), "out of memory\n") == 0);
        (void)rasad_fail_memory(error);
    }
    fine = fine && crossing_go(crossing, to, &plan, error);
    plan_free(&plan);
    text_free(&report);
    return fine;
}

/* On an error nothing has changed, and what failed for want of memory goes well after that. */
static void cross(bool may_fail)
{
    struct text was = {0}, is = {0};
    struct rasad_error error = {""};
    struct crossing *crossing;
    struct made *to;
    long budget = left;

    left = -1;
    crossing = crossing_new(before);
    to = made_new(after);
    send_all(crossing, true);
    crossing_photo(crossing, &was);
    left = budget;
    if (!try_to_cross(crossing, to, &error)) {
        left = -1;
        assert_true(may_fail && failed);
        assert_non_null(strstr(error.text, "out of memory"));
        crossing_photo(crossing, &is);
        assert_int_equal(was.length, is.length);
        assert_memory_equal(was.at, is.at, was.length);
        assert_true(try_to_cross(crossing, to, &error));
    }
    left = -1;
    send_all(crossing, false); /* what the view had no memory for is seen with the next change */
    assert_string_equal(crossing_show(crossing), all_is_there);
    text_free(&was);
    text_free(&is);
    crossing_free(crossing);
}

static void test_preparing_a_reload_survives_any_failed_allocation(void **state)
{
    assert_true(fail_each(cross) > 50);
}

/* A handover is written or not, and taken or refused as a whole. */
static void hand_over(bool may_fail)
{
    struct handover_number numbers[] = {{"messages", 7}};
    struct handover_family families[] = {{.name = {"A", 1}, .key = {"", 0}}};
    struct handover_agent agents[] = {{.name = {"web-1", 5}}};
    struct handover_connection connections[] = {{.fd = 17,
                                                 .address = {"", 0},
                                                 .agent = {"", 0},
                                                 .frame = frame_make(100),
                                                 .in = {"", 0},
                                                 .out = {"", 0}}};
    int32_t workers[] = {4711};
    const struct handover whole = {.version = {"1", 1},
                                   .asker = -1,
                                   .numbers = numbers,
                                   .number_count = 1,
                                   .families = families,
                                   .family_count = 1,
                                   .agents = agents,
                                   .agent_count = 1,
                                   .workers = workers,
                                   .worker_count = 1,
                                   .connections = connections,
                                   .connection_count = 1};
    struct rasad_error error = {""};
    struct handover read;
    struct text bytes = {0};
    bool fine;

    handover_write(&whole, &bytes);
    fine = !bytes.failed && handover_read(bytes.at, bytes.length, &read, &error);
    left = -1;
    assert_true(fine || (may_fail && failed));
    if (fine) {
        assert_int_equal(read.connection_count, 1);
        handover_free(&read);
    }
    text_free(&bytes);
}

static void test_a_handover_survives_any_failed_allocation(void **state)
{
    assert_true(fail_each(hand_over) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_the_conf_survives_any_failed_allocation),
        cmocka_unit_test(test_taking_samples_survives_any_failed_allocation),
        cmocka_unit_test(test_writing_a_page_survives_any_failed_allocation),
        cmocka_unit_test(test_preparing_a_reload_survives_any_failed_allocation),
        cmocka_unit_test(test_a_handover_survives_any_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
