/* SPDX-License-Identifier: Apache-2.0 */
/* Series on their way from one conf to the next: which go on, with what, and where they are seen.
 */
#include "reload/transition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crossing.h"

/* ---- What must hold at any time ------------------------------------------------------------ */

/* Sends its own labels again, with no sample in it: the same series must be found. */
static void check_found(struct crossing *crossing, int shard, struct series *series)
{
    const struct conf_metric *metric = series->family->metric;
    struct sample *sample = crossing->sample;
    struct rasad_error error;
    enum reject reason;

    sample->label_count = 0;
    for (size_t i = 0; i < metric->label_count; i++) {
        size_t length;
        const char *value = series_label(series, i, &length);

        sample->labels[sample->label_count++] =
            (struct message_label){.name = metric->labels[i], .value = value, .length = length};
    }
    assert_ptr_equal(series_get(crossing->stores[shard], series->family, series->agent, sample, 0,
                                &reason, &error),
                     series);
}

static void check_series(struct crossing *crossing, int shard, struct series *series)
{
    struct view_family seen = view_family(&crossing->view, series->family->id);

    assert_ptr_equal(families_at(&crossing->families, series->family->id), series->family);
    assert_true(series->view_index < seen.count);
    assert_ptr_equal(seen.at[series->view_index], series);
    assert_memory_equal(series_state(series), series_published(series), series->family->state_size);
    if (!series->is_overflow)
        check_found(crossing, shard, series);
}

/* The numbers that are kept beside the series: agents', places', and the view's. */
struct tally {
    uint64_t with_agent[16]; /* by family: each has a place of its own */
    size_t seen[16];
};

static void tally_series(struct crossing *crossing, int shard, struct tally *tally)
{
    const struct series_store *store = crossing->stores[shard];
    struct table_item *item;
    size_t slot = 0;

    while ((item = table_next(&store->table, &slot)) != NULL) {
        struct series *series = (struct series *)item;

        check_series(crossing, shard, series);
        tally->with_agent[series->family->id] += series->agent != NULL;
        tally->seen[series->family->id]++;
    }
    for (uint32_t i = 0; i < store->overflow_count; i++) {
        if (store->overflow[i] == NULL)
            continue;
        assert_int_equal(store->overflow[i]->family->id, i);
        check_series(crossing, shard, store->overflow[i]);
        tally->seen[i]++;
    }
}

static void count_series(const struct agent *agent, void *context)
{
    uint64_t *sum = context;

    *sum += agent->series;
}

static void check(struct crossing *crossing)
{
    struct tally tally = {{0}, {0}};
    uint64_t of_agents = 0, with_agent = 0;

    crossing_publish(crossing);
    for (int i = 0; i < CROSSING_SHARDS; i++) {
        tally_series(crossing, i, &tally);
        agents_each(crossing->agents[i], count_series, &of_agents);
    }
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        const struct family *family = families_at(&crossing->families, id);

        assert_int_equal(view_family(&crossing->view, id).count, tally.seen[id]);
        with_agent += tally.with_agent[id];
        if (family == NULL)
            assert_int_equal(tally.seen[id], 0);
        else
            assert_int_equal(places_taken(&family->places),
                             tally.with_agent[id] + family->places.shared.count);
    }
    assert_int_equal(of_agents, with_agent);
}

static void expect(struct crossing *crossing, const char *wanted)
{
    const char *shown = crossing_show(crossing);

    if (strcmp(shown, wanted) != 0)
        fail_msg("%s\ninstead of\n%s", shown, wanted);
    check(crossing);
}

/* ---- Labels -------------------------------------------------------------------------------- */

static const struct section with_lm[] = {{.title = "m", .labels = {"l", "m"}}, {.title = NULL}};
static const struct section with_m[] = {{.title = "m", .labels = {"m"}}, {.title = NULL}};
static const struct section with_nml[] = {{.title = "m", .labels = {"n", "m", "l"}},
                                          {.title = NULL}};
static const struct section with_none[] = {{.title = "m"}, {.title = NULL}};

static void test_series_that_become_equal_for_want_of_a_label_are_merged(void **state)
{
    struct crossing *crossing = crossing_new(with_lm);
    const struct series *merged;

    (void)crossing_send(crossing, 0, "m", "a", "l=x m=1", 1); /* at 1 ns */
    (void)crossing_send(crossing, 0, "m", "a", "l=y m=1", 10);
    (void)crossing_send(crossing, 0, "m", "a", "m=1", 100);
    (void)crossing_send(crossing, 0, "m", "a", "l=x", 1000);
    (void)crossing_send(crossing, 0, "m", "b", "l=x m=1", 10000);
    (void)crossing_send(crossing, 1, "m", "c", "l=x m=2", 100000);
    (void)crossing_send(crossing, 0, "m", "a", "l=x m=1", 0);
    crossing_to(crossing, with_m);
    expect(crossing, "m{a m=1} 111, m{a} 1000, m{b m=1} 10000, m{c m=2} 100000");
    assert_int_equal(places_taken(&families_at(&crossing->families, 0)->places), 4);
    merged = crossing_find(crossing, 0, "m", "a", "m=1");
    assert_int_equal(merged->created_ns, 1); /* as the oldest */
    assert_int_equal(merged->updated_ns, 7); /* as the newest */
    (void)crossing_send(crossing, 0, "m", "a", "m=1", 1);
    expect(crossing, "m{a m=1} 112, m{a} 1000, m{b m=1} 10000, m{c m=2} 100000");
    assert_null(crossing_send(crossing, 0, "m", "a", "l=x m=1", 1));
    crossing_free(crossing);
}

static void test_labels_that_stay_keep_their_values_in_any_order(void **state)
{
    struct crossing *crossing = crossing_new(with_lm);

    (void)crossing_send(crossing, 0, "m", "a", "l=x m=1", 1);
    (void)crossing_send(crossing, 0, "m", "a", "m=2", 2);
    (void)crossing_send(crossing, 0, "m", "a", "", 3);
    crossing_to(crossing, with_nml);
    expect(crossing, "m{a m=1 l=x} 1, m{a m=2} 2, m{a} 3");
    (void)crossing_send(crossing, 0, "m", "a", "n=new m=1 l=x", 4);
    expect(crossing, "m{a m=1 l=x} 1, m{a m=2} 2, m{a n=new m=1 l=x} 4, m{a} 3");
    crossing_to(crossing, with_none);
    expect(crossing, "m{a} 10");
    crossing_to(crossing, with_lm);
    (void)crossing_send(crossing, 0, "m", "a", "l=x", 1);
    expect(crossing, "m{a l=x} 1, m{a} 10");
    crossing_free(crossing);
}

static void test_without_agents_shards_go_on_sharing_the_place_of_a_series(void **state)
{
    struct crossing *crossing = crossing_new(with_lm);
    const struct places *places = &families_at(&crossing->families, 0)->places;

    (void)crossing_send(crossing, 0, "m", NULL, "l=x m=1", 1);
    (void)crossing_send(crossing, 0, "m", NULL, "l=y m=1", 2);
    (void)crossing_send(crossing, 1, "m", NULL, "l=z m=1", 3);
    (void)crossing_send(crossing, 1, "m", NULL, "l=x", 4);
    assert_int_equal(places_taken(places), 4);
    crossing_to(crossing, with_m);
    expect(crossing, "m{ m=1} 3, m{ m=1} 3, m{} 4");
    assert_int_equal(places_taken(places), 2);
    crossing->made->metrics[0].expire_ns = 1; /* in one shard only */
    series_sweep(crossing->stores[0], 1000, &(struct series_limits){.now_ns = 1000});
    expect(crossing, "m{ m=1} 3, m{} 4");
    assert_int_equal(places_taken(places), 2);
    (void)crossing_send(crossing, 0, "m", NULL, "m=1", 3);
    crossing_to(crossing, with_none);
    expect(crossing, "m{} 3, m{} 7");
    assert_int_equal(places_taken(places), 1);
    crossing_to(crossing, with_m);
    (void)crossing_send(crossing, 1, "m", NULL, "m=1", 5);
    expect(crossing, "m{ m=1} 5, m{} 3, m{} 7");
    assert_int_equal(places_taken(places), 2);
    crossing_free(crossing);
}

/* ---- States -------------------------------------------------------------------------------- */

static const struct section at_version_1[] = {
    {.title = "m", .labels = {"l"}, .max_series = 2}, {.title = "k"}, {.title = NULL}};
static const struct section at_version_2[] = {
    {.title = "m", .plugin = &count_2, .labels = {"l"}, .max_series = 2},
    {.title = "k"},
    {.title = NULL}};
static const struct section at_version_2_without_label[] = {
    {.title = "m", .plugin = &count_2, .max_series = 2}, {.title = "k"}, {.title = NULL}};

static void test_states_migrate_there_and_back_with_those_of_the_overflow(void **state)
{
    struct crossing *crossing = crossing_new(at_version_1);

    (void)crossing_send(crossing, 0, "m", "a", "l=x", 1);
    (void)crossing_send(crossing, 1, "m", "b", "l=x", 2);
    (void)crossing_send(crossing, 0, "m", "a", "l=y", 3);
    (void)crossing_send(crossing, 1, "m", "b", "l=y", 4);
    crossing_to(crossing, at_version_2);
    expect(crossing, "m{a l=x} 1, m{b l=x} 2, m{overflow} 3, m{overflow} 4");
    (void)crossing_send(crossing, 0, "m", "c", "", 5);
    (void)crossing_send(crossing, 0, "m", "a", "l=x", 6);
    expect(crossing, "m{a l=x} 7, m{b l=x} 2, m{overflow} 4, m{overflow} 8");
    crossing_to(crossing, at_version_1);
    expect(crossing, "m{a l=x} 7, m{b l=x} 2, m{overflow} 4, m{overflow} 8");
    crossing_free(crossing);
}

static void test_states_migrate_and_merge_at_once(void **state)
{
    struct crossing *crossing = crossing_new(at_version_1);

    (void)crossing_send(crossing, 0, "m", "a", "l=x", 1);
    (void)crossing_send(crossing, 0, "m", "a", "l=y", 2);
    (void)crossing_send(crossing, 0, "m", "a", "l=z", 4); /* beyond max_series */
    crossing_to(crossing, at_version_2_without_label);
    expect(crossing, "m{a} 3, m{overflow} 4"); /* what went over stays apart: it has no agent */
    (void)crossing_send(crossing, 1, "m", "b", "", 8); /* there is a place again */
    expect(crossing, "m{a} 3, m{b} 8, m{overflow} 4");
    crossing_free(crossing);
}

static void test_series_of_families_that_go_on_as_they_are_are_not_touched(void **state)
{
    struct crossing *crossing = crossing_new(at_version_1);
    struct series *first = crossing_send(crossing, 0, "k", "a", "", 1);
    struct series *second = crossing_send(crossing, 0, "k", "b", "", 2);
    uint32_t index;

    crossing_publish(crossing);
    index = second->view_index;
    crossing_to(crossing, at_version_2);
    assert_ptr_equal(crossing_find(crossing, 0, "k", "a", ""), first);
    assert_ptr_equal(crossing_find(crossing, 0, "k", "b", ""), second);
    assert_int_equal(second->view_index, index);
    expect(crossing, "k{a} 1, k{b} 2");
    crossing_free(crossing);
}

/* ---- Ends and beginnings ------------------------------------------------------------------- */

static void test_a_family_that_ends_leaves_nothing_to_the_next_of_its_place(void **state)
{
    static const struct section before[] = {
        {.title = "k", .max_series = 1}, {.title = "m"}, {.title = NULL}};
    static const struct section after[] = {
        {.title = "m"}, {.title = "n", .max_series = 1}, {.title = NULL}};
    struct crossing *crossing = crossing_new(before);

    (void)crossing_send(crossing, 0, "k", "a", "", 1);
    (void)crossing_send(crossing, 0, "k", "b", "", 2);
    (void)crossing_send(crossing, 0, "m", "a", "", 3);
    crossing_to(crossing, after);
    assert_null(crossing_send(crossing, 0, "k", "a", "", 1));
    expect(crossing, "m{a} 3");
    assert_int_equal(crossing_family(crossing, "n")->id, 0); /* where k was */
    (void)crossing_send(crossing, 0, "n", "a", "", 4);
    (void)crossing_send(crossing, 0, "n", "b", "", 5);
    expect(crossing, "m{a} 3, n{a} 4, n{overflow} 5");
    crossing_free(crossing);
}

static void test_what_begins_anew_keeps_the_servers_counters_and_nothing_else(void **state)
{
    static const struct section before[] = {{.title = "m", .max_series = 1}, {.title = NULL}};
    static const struct section after[] = {{.title = "m", .plugin = &other}, {.title = NULL}};
    struct crossing *crossing = crossing_new(before);
    struct family *family = crossing_family(crossing, "m");

    (void)crossing_send(crossing, 0, "m", "a", "", 1);
    (void)crossing_send(crossing, 0, "m", "b", "", 2);
    atomic_store(&family->counters[1].samples, 5);
    atomic_store(&family->render_errors, 6);
    crossing_to(crossing, after);
    expect(crossing, "");
    family = crossing_family(crossing, "m");
    assert_int_equal(family_samples(family, CROSSING_SHARDS), 5);
    assert_int_equal(family->render_errors, 6);
    assert_int_equal(places_taken(&family->places), 0);
    (void)crossing_send(crossing, 0, "m", "a", "", 3);
    expect(crossing, "m{a} 3");
    crossing_free(crossing);
}

static void test_names_that_swap_take_their_series_with_them(void **state)
{
    static const struct section before[] = {{.title = "a"}, {.title = "b"}, {.title = NULL}};
    static const struct section after[] = {
        {.title = "b", .name = "a"}, {.title = "a", .name = "b"}, {.title = NULL}};
    static const struct section last[] = {
        {.title = "c", .name = "b"}, {.title = "d", .name = "a_total"}, {.title = NULL}};
    struct crossing *crossing = crossing_new(before);

    (void)crossing_send(crossing, 0, "a", "x", "", 1);
    (void)crossing_send(crossing, 0, "b", "x", "", 2);
    crossing_to(crossing, after);
    (void)crossing_send(crossing, 0, "a", "x", "", 10);
    expect(crossing, "a{x} 2, b{x} 11");
    crossing_to(crossing, last); /* the key of one, and the name of a counter without its end */
    (void)crossing_send(crossing, 0, "d", "x", "", 5);
    assert_null(crossing_family(crossing, "a"));
    expect(crossing, "a{x} 5, b{x} 11");
    crossing_free(crossing);
}

/* ---- Globs --------------------------------------------------------------------------------- */

static void test_families_of_globs_go_on_and_yield_their_names(void **state)
{
    static const struct section before[] = {{.title = "in_*"}, {.title = NULL}};
    static const struct section after[] = {{.title = "in_b", .plugin = &other},
                                           {.title = "x", .name = "in_c"},
                                           {.title = "in_*", .max_families = 1},
                                           {.title = NULL}};
    struct crossing *crossing = crossing_new(before);

    (void)crossing_send(crossing, 0, "in_a", "x", "", 1);
    (void)crossing_send(crossing, 0, "in_b", "x", "", 2);
    (void)crossing_send(crossing, 0, "in_c", "x", "", 3);
    (void)crossing_send(crossing, 0, "in_d", "x", "", 4);
    crossing_to(crossing, after);
    expect(crossing, "in_a{x} 1, in_d{x} 4");
    (void)crossing_send(crossing, 0, "in_b", "x", "", 5);
    (void)crossing_send(crossing, 0, "in_d", "x", "", 6);
    expect(crossing, "in_a{x} 1, in_b{x} 5, in_d{x} 10");
    assert_null(crossing_send(crossing, 0, "in_c", "x", "", 1)); /* its name is taken */
    assert_null(crossing_send(crossing, 0, "in_e", "x", "", 1)); /* beyond max_families */
    crossing_to(crossing, before);
    (void)crossing_send(crossing, 0, "in_e", "x", "", 7);
    expect(crossing, "in_a{x} 1, in_d{x} 10, in_e{x} 7");
    crossing_free(crossing);
}

static void test_a_family_of_a_glob_ends_when_its_key_goes_elsewhere(void **state)
{
    static const struct section before[] = {{.title = "in_*"}, {.title = NULL}};
    static const struct section another_glob[] = {
        {.title = "in_b*", .labels = {"l"}}, {.title = "in_*"}, {.title = NULL}};
    static const struct section another_name[] = {
        {.title = "in_b", .name = "bees"}, {.title = "in_*"}, {.title = NULL}};
    struct crossing *crossing = crossing_new(before);

    (void)crossing_send(crossing, 0, "in_a", "x", "", 1);
    (void)crossing_send(crossing, 0, "in_b", "x", "", 2);
    crossing_to(crossing, another_glob);
    expect(crossing, "in_a{x} 1");
    assert_non_null(crossing_send(crossing, 0, "in_b", "x", "l=y", 3));
    expect(crossing, "in_a{x} 1, in_b{x l=y} 3");
    crossing_to(crossing, before);
    expect(crossing, "in_a{x} 1");
    (void)crossing_send(crossing, 0, "in_b", "x", "", 4);
    crossing_to(crossing, another_name);
    (void)crossing_send(crossing, 0, "in_b", "x", "", 5);
    expect(crossing, "bees{x} 5, in_a{x} 1");
    crossing_free(crossing);
}

static void test_a_glob_with_a_name_is_one_family_whatever_its_name(void **state)
{
    static const struct section before[] = {{.title = "in_*", .name = "in", .labels = {"l"}},
                                            {.title = NULL}};
    static const struct section after[] = {{.title = "in_*", .name = "all", .plugin = &count_2},
                                           {.title = NULL}};
    static const struct section apart[] = {{.title = "in_*"}, {.title = NULL}};
    struct crossing *crossing = crossing_new(before);

    (void)crossing_send(crossing, 0, "in_a", "x", "l=y", 1);
    (void)crossing_send(crossing, 0, "in_b", "x", "l=z", 2);
    crossing_to(crossing, after);
    (void)crossing_send(crossing, 0, "in_c", "x", "", 4);
    expect(crossing, "all{x} 7");
    crossing_to(crossing, apart);
    (void)crossing_send(crossing, 0, "in_c", "x", "", 4);
    expect(crossing, "in_c{x} 4");
    crossing_free(crossing);
}

/* ---- Nothing of it ------------------------------------------------------------------------- */

static void test_one_state_that_cannot_come_over_leaves_every_byte_as_it_was(void **state)
{
    static const struct section after[] = {{.title = "m", .plugin = &count_2},
                                           {.title = "g*", .labels = {"l"}},
                                           {.title = "n"},
                                           {.title = NULL}};
    static const struct section before[] = {{.title = "m", .labels = {"l"}, .max_series = 3},
                                            {.title = "k"},
                                            {.title = "g*"},
                                            {.title = NULL}};
    struct crossing *crossing = crossing_new(before);
    struct text was = {0}, is = {0};
    struct rasad_error error;

    (void)crossing_send(crossing, 0, "m", "a", "l=x", 1);
    (void)crossing_send(crossing, 0, "m", "a", "l=y", 2);
    (void)crossing_send(crossing, 1, "m", "b", "l=x", UNLUCKY); /* in the last shard */
    (void)crossing_send(crossing, 1, "m", "b", "l=y", 4);
    (void)crossing_send(crossing, 0, "k", "a", "", 5);
    (void)crossing_send(crossing, 0, "g1", "a", "", 6);
    crossing_publish(crossing);
    crossing_photo(crossing, &was);
    assert_false(crossing_try(crossing, after, &error));
    assert_string_equal(error.text, "metric \"m\": plugin \"count\" 2 cannot bring over a state of "
                                    "version 1 (8 bytes)");
    crossing_photo(crossing, &is);
    assert_int_equal(was.length, is.length);
    assert_memory_equal(was.at, is.at, was.length);
    expect(crossing, "g1{a} 6, k{a} 5, m{a l=x} 1, m{a l=y} 2, m{b l=x} 13, m{overflow} 4");
    (void)crossing_send(crossing, 1, "m", "b", "l=x", 1); /* then it can */
    crossing_to(crossing, after);
    expect(crossing, "g1{a} 6, m{a} 3, m{b} 14, m{overflow} 4");
    text_free(&was);
    text_free(&is);
    crossing_free(crossing);
}

/* ---- Any history --------------------------------------------------------------------------- */

/* What is to be expected of metric "m": by shard, agent, and the values of l, m and n, 0 for none.
 */
struct model {
    uint64_t at[CROSSING_SHARDS][2][3][3][3];
};

static uint64_t *model_at(struct model *model, size_t index)
{
    return &(&model->at[0][0][0][0][0])[index];
}

enum { MODEL_SIZE = CROSSING_SHARDS * 2 * 27 };

/* The place of what has no value for a label that is declared no more. */
static size_t without(size_t index, unsigned declared)
{
    static const size_t strides[] = {9, 3, 1};

    for (size_t i = 0; i < 3; i++) {
        if ((declared & 1U << i) == 0)
            index -= index / strides[i] % 3 * strides[i];
    }
    return index;
}

static void model_relabel(struct model *model, unsigned declared)
{
    for (size_t i = 0; i < MODEL_SIZE; i++) {
        size_t to = without(i, declared);
        uint64_t count = *model_at(model, i);

        *model_at(model, i) = 0;
        *model_at(model, to) += count;
    }
}

/* Sends to the series that a place of the model stands for. */
static void send_to(struct crossing *crossing, struct model *model, size_t index, bool merged)
{
    static const char *const names = "lmn";
    static const size_t strides[] = {9, 3, 1};
    int shard = (int)(index / 54);
    char labels[64] = "", agent[] = "a0";

    agent[1] = (char)('0' + index / 27);
    for (size_t i = 0; i < 3; i++) {
        size_t value = index / strides[i] % 3, length = strlen(labels);

        if (value > 0)
            (void)snprintf(labels + length, sizeof labels - length, " %c=%zu", names[i], value);
    }
    assert_non_null(
        crossing_send(crossing, shard, "m", merged ? NULL : agent, labels, 100 + index));
    *model_at(model, index) += 100 + index;
}

static void compare_model(struct crossing *crossing, struct model *model, bool merged)
{
    uint64_t wanted = 0, count = 0, sum = 0, series = 0;

    check(crossing);
    for (size_t i = 0; i < MODEL_SIZE; i++) {
        wanted += *model_at(model, i);
        count += *model_at(model, i) > 0;
    }
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        struct view_family family = view_family(&crossing->view, id);

        series += family.count;
        for (size_t i = 0; i < family.count; i++)
            sum += *(const uint64_t *)series_published(family.at[i]);
    }
    assert_int_equal(sum, wanted);
    if (!merged)
        assert_int_equal(series, count);
}

/* A conf in which "m" has these labels, in some order, and some version; or isn't there. */
static void make_sections(struct section sections[3], unsigned declared, int version)
{
    static const char *const names[] = {"l", "m", "n"};
    size_t at = 0, first = (size_t)rand() % 3;

    memset(sections, 0, 3 * sizeof *sections);
    if (version != 0)
        sections[at++] =
            (struct section){.title = "m", .plugin = version == 1 ? &count_1 : &count_2};
    for (size_t i = 0, count = 0; i < 3; i++) {
        size_t label = (first + i) % 3;

        if (version != 0 && (declared & 1U << label) != 0)
            sections[0].labels[count++] = names[label];
    }
    sections[at] = (struct section){.title = "k"};
}

static void walk(bool merged)
{
    static struct section all[2][3];
    struct model model = {0};
    unsigned declared = 7;
    int version = 1;
    struct crossing *crossing;

    make_sections(all[0], declared, version);
    crossing = crossing_new(all[0]);
    for (int round = 1; round < 400; round++) {
        struct section *sections = all[round % 2];

        for (int i = rand() % 20; i > 0 && version != 0; i--)
            send_to(crossing, &model, without((size_t)rand() % MODEL_SIZE, declared), merged);
        declared = (unsigned)rand() % 8;
        version = rand() % 20 == 0 ? 0 : 1 + rand() % 2;
        make_sections(sections, declared, version);
        crossing_to(crossing, sections);
        if (version == 0)
            model = (struct model){0};
        model_relabel(&model, declared);
        compare_model(crossing, &model, merged);
    }
    crossing_free(crossing);
}

static void test_any_history_of_samples_and_reloads_keeps_every_count(void **state)
{
    srand(5);
    walk(false);
    walk(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_that_become_equal_for_want_of_a_label_are_merged),
        cmocka_unit_test(test_labels_that_stay_keep_their_values_in_any_order),
        cmocka_unit_test(test_without_agents_shards_go_on_sharing_the_place_of_a_series),
        cmocka_unit_test(test_states_migrate_there_and_back_with_those_of_the_overflow),
        cmocka_unit_test(test_states_migrate_and_merge_at_once),
        cmocka_unit_test(test_series_of_families_that_go_on_as_they_are_are_not_touched),
        cmocka_unit_test(test_a_family_that_ends_leaves_nothing_to_the_next_of_its_place),
        cmocka_unit_test(test_what_begins_anew_keeps_the_servers_counters_and_nothing_else),
        cmocka_unit_test(test_names_that_swap_take_their_series_with_them),
        cmocka_unit_test(test_families_of_globs_go_on_and_yield_their_names),
        cmocka_unit_test(test_a_family_of_a_glob_ends_when_its_key_goes_elsewhere),
        cmocka_unit_test(test_a_glob_with_a_name_is_one_family_whatever_its_name),
        cmocka_unit_test(test_one_state_that_cannot_come_over_leaves_every_byte_as_it_was),
        cmocka_unit_test(test_any_history_of_samples_and_reloads_keeps_every_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
