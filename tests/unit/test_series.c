/* SPDX-License-Identifier: Apache-2.0 */
/* Series, places, cuts and the view, under a plugin that just counts. */
#include "series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "view.h"

static size_t count_state_size(const void *config)
{
    return sizeof(uint64_t);
}

static void count_init(const void *config, void *state)
{
    memset(state, 0, sizeof(uint64_t));
}

static bool count_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
    ++*(uint64_t *)state;
    return true;
}

static void count_merge(const void *config, void *into, const void *from)
{
    *(uint64_t *)into += *(const uint64_t *)from;
}

static void count_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_count(writer, *(const uint64_t *)state);
}

static struct plugin plugin = {
    .api = {.kind = RASAD_COUNTER,
            .name = "count",
            .state_size = count_state_size,
            .init = count_init,
            .update = count_update,
            .merge = count_merge,
            .render = count_render},
};

/* A conf with one metric "m" that has the label "l". */
struct bench {
    char *labels[1];
    struct conf_metric metric;
    struct conf conf;
    struct families families;
    struct agents agents;
    struct series_store *store;
    struct view view;
    struct sample *sample;
};

static struct bench *bench_new(uint64_t max_series)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct rasad_error error;

    bench->labels[0] = (char *)(uintptr_t) "l";
    bench->metric = (struct conf_metric){.key = (char *)(uintptr_t) "m",
                                         .name = (char *)(uintptr_t) "m",
                                         .file = (char *)(uintptr_t) "conf",
                                         .labels = bench->labels,
                                         .label_count = 1,
                                         .max_series = max_series,
                                         .aggregate.plugin = &plugin};
    bench->conf = (struct conf){.metrics = &bench->metric, .metric_count = 1};
    assert_true(aggregate_open(&bench->metric.aggregate, &error));
    assert_true(families_open(&bench->families, &bench->conf, 1, &error));
    agents_open(&bench->agents);
    bench->store = malloc(sizeof *bench->store);
    series_store_open(bench->store);
    view_open(&bench->view);
    bench->sample = calloc(1, sizeof *bench->sample);
    return bench;
}

static void bench_free(struct bench *bench)
{
    view_close(&bench->view);
    series_store_close(bench->store);
    agents_close(&bench->agents);
    families_close(&bench->families);
    free(bench->store);
    free(bench->sample);
    free(bench->metric.aggregate.fresh);
    free(bench);
}

static struct series *get(struct bench *bench, const char *agent, const char *label)
{
    struct agent *sender = agent != NULL ? agents_get(&bench->agents, agent, strlen(agent)) : NULL;
    struct rasad_error error;
    enum reject reason;

    bench->sample->label_count = 1;
    bench->sample->labels[0] =
        (struct message_label){.name = "l", .value = label, .length = strlen(label)};
    return series_get(bench->store, families_at(&bench->families, 0), sender, bench->sample, 1,
                      &reason, &error);
}

static struct series *send_one(struct bench *bench, const char *agent, const char *label,
                               int64_t now_ns)
{
    struct series *series = get(bench, agent, label);

    assert_non_null(series);
    ++*(uint64_t *)series_state(series);
    series_touch(bench->store, series, now_ns);
    return series;
}

/* What the view says that all series of the family count together, and how many they are. */
static uint64_t published(struct bench *bench, size_t *count)
{
    struct view_family family;
    uint64_t sum = 0;

    view_begin(&bench->view);
    family = view_family(&bench->view, 0);
    for (size_t i = 0; i < family.count; i++) {
        assert_int_equal(family.at[i]->view_index, i);
        sum += *(const uint64_t *)series_published(family.at[i]);
    }
    *count = family.count;
    view_end(&bench->view);
    return sum;
}

static void test_agent_and_labels_tell_series_apart(void **state)
{
    struct bench *bench = bench_new(100);
    struct series *one = send_one(bench, "web-1", "x", 1);
    size_t length;

    assert_ptr_equal(send_one(bench, "web-1", "x", 2), one);
    assert_ptr_not_equal(send_one(bench, "web-2", "x", 2), one);
    assert_ptr_not_equal(send_one(bench, "web-1", "y", 2), one);
    assert_ptr_not_equal(send_one(bench, "web-1", "", 2), one);
    assert_int_equal(*(uint64_t *)series_state(one), 2);
    assert_string_equal(one->agent->name, "web-1");
    assert_memory_equal(series_label(one, 0, &length), "x", 1);
    assert_int_equal(length, 1);
    (void)series_label(get(bench, "web-1", ""), 0, &length);
    assert_int_equal(length, 0);
    bench_free(bench);
}

static void test_an_undeclared_label_is_refused_even_when_empty(void **state)
{
    struct bench *bench = bench_new(100);
    struct rasad_error error;
    enum reject reason;

    bench->sample->label_count = 1;
    bench->sample->labels[0] = (struct message_label){.name = "k", .value = "", .length = 0};
    assert_null(series_get(bench->store, families_at(&bench->families, 0), NULL, bench->sample, 1,
                           &reason, &error));
    assert_int_equal(reason, REJECT_BAD_LABEL);
    assert_non_null(strstr(error.text, "\"k\""));
    bench_free(bench);
}

static void test_a_cut_brings_what_changed_and_nothing_else(void **state)
{
    struct bench *bench = bench_new(100);
    struct cut *cut;
    size_t count;

    (void)send_one(bench, "a", "x", 1);
    (void)send_one(bench, "a", "y", 1);
    assert_int_equal(published(bench, &count), 0);
    cut = series_cut(bench->store);
    (void)send_one(bench, "a", "x", 1); /* after the cut, so not in it */
    assert_int_equal(cut->changed_count, 2);
    view_take(&bench->view, cut);
    assert_int_equal(published(bench, &count), 2);
    cut = series_cut(bench->store);
    assert_int_equal(cut->changed_count, 1);
    view_take(&bench->view, cut);
    assert_int_equal(published(bench, &count), 3);
    assert_int_equal(count, 2);
    bench_free(bench);
}

static void test_beyond_max_series_all_is_one_series_and_totals_stay_exact(void **state)
{
    struct bench *bench = bench_new(3);
    char label[16];
    size_t count;

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(label, sizeof label, "%d", i % 10);
        (void)send_one(bench, "a", label, 1);
    }
    view_take(&bench->view, series_cut(bench->store));
    assert_int_equal(published(bench, &count), 1000);
    assert_int_equal(count, 4);
    assert_int_equal(places_taken(&families_at(&bench->families, 0)->places), 3);
    bench_free(bench);
}

static void test_expired_series_leave_and_give_their_place_back(void **state)
{
    struct bench *bench = bench_new(2);
    const struct series_limits limits = {.now_ns = 100};
    size_t count;

    bench->metric.expire_ns = 50;
    (void)send_one(bench, "a", "old", 10);
    (void)send_one(bench, "a", "new", 60);
    view_take(&bench->view, series_cut(bench->store));
    assert_true(get(bench, "a", "third")->is_overflow);
    series_sweep(bench->store, 1000, &limits);
    view_take(&bench->view, series_cut(bench->store));
    assert_int_equal(published(bench, &count), 1);
    assert_false(send_one(bench, "a", "old", 100)->is_overflow); /* it begins anew */
    assert_true(get(bench, "a", "third")->is_overflow);
    bench_free(bench);
}

static void test_a_series_made_for_a_refused_sample_is_taken_back(void **state)
{
    struct bench *bench = bench_new(1);

    series_discard_if_new(bench->store, get(bench, "a", "refused"));
    assert_int_equal(places_taken(&families_at(&bench->families, 0)->places), 0);
    (void)send_one(bench, "a", "taken", 1);
    series_discard_if_new(bench->store, get(bench, "a", "taken")); /* it has been used */
    assert_int_equal(places_taken(&families_at(&bench->families, 0)->places), 1);
    bench_free(bench);
}

static void test_any_history_of_samples_sweeps_and_cuts_keeps_the_view_right(void **state)
{
    enum { LABELS = 40 };
    struct bench *bench = bench_new(LABELS);
    struct {
        uint64_t count;
        int64_t updated_ns;
    } model[LABELS] = {{0}};

    srand(11);
    bench->metric.expire_ns = 30;
    for (int64_t now_ns = 1; now_ns < 5000; now_ns++) {
        const struct series_limits limits = {.now_ns = now_ns};
        uint64_t expected = 0;
        size_t count, expected_count = 0;
        int i = rand() % LABELS;
        char label[16];

        (void)snprintf(label, sizeof label, "%d", i);
        (void)send_one(bench, "a", label, now_ns);
        model[i].count++;
        model[i].updated_ns = now_ns;
        if (rand() % 4 == 0) {
            series_sweep(bench->store, 10000, &limits);
            bench->store->sweep_slot = 0;
            for (int k = 0; k < LABELS; k++) {
                if (now_ns - model[k].updated_ns >= 30)
                    model[k].count = 0;
            }
        }
        if (rand() % 3 != 0)
            continue;
        view_take(&bench->view, series_cut(bench->store));
        for (int k = 0; k < LABELS; k++) {
            expected += model[k].count;
            expected_count += model[k].count > 0;
        }
        assert_int_equal(published(bench, &count), expected);
        assert_int_equal(count, expected_count);
    }
    bench_free(bench);
}

static void test_shards_share_the_place_of_a_series_without_agent(void **state)
{
    struct places places;

    places_open(&places, 2);
    assert_true(places_take(&places, "x", 1));
    assert_true(places_take(&places, "x", 1)); /* another shard's state of the same series */
    assert_true(places_take(&places, "", 0));
    assert_false(places_take(&places, "y", 1));
    assert_int_equal(places_taken(&places), 2);
    places_give(&places, "x", 1);
    assert_false(places_take(&places, "y", 1));
    places_give(&places, "x", 1);
    assert_true(places_take(&places, "y", 1));
    assert_false(places_take(&places, NULL, 0));
    places_close(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_and_labels_tell_series_apart),
        cmocka_unit_test(test_an_undeclared_label_is_refused_even_when_empty),
        cmocka_unit_test(test_a_cut_brings_what_changed_and_nothing_else),
        cmocka_unit_test(test_beyond_max_series_all_is_one_series_and_totals_stay_exact),
        cmocka_unit_test(test_expired_series_leave_and_give_their_place_back),
        cmocka_unit_test(test_a_series_made_for_a_refused_sample_is_taken_back),
        cmocka_unit_test(test_any_history_of_samples_sweeps_and_cuts_keeps_the_view_right),
        cmocka_unit_test(test_shards_share_the_place_of_a_series_without_agent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
