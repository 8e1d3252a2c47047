/* SPDX-License-Identifier: Apache-2.0 */
/* The database: what comes into it is what the next server finds, whatever happens between. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "store/store_inside.h"
#include "store_scene.h"

static const struct section plain[] = {
    {.title = "m", .labels = {"l"}}, {.title = "k"}, {.title = "g*"}, {.title = NULL}};
static const struct section nothing[] = {{.title = "other", .plugin = &other}, {.title = NULL}};

/* ---- What the file holds ------------------------------------------------------------------- */

static bool count_series(void *context, uint64_t id, const struct record_series *series,
                         struct rasad_error *error)
{
    ++*(size_t *)context;
    return true;
}

static size_t series_on_disk(struct scene *scene)
{
    struct rasad_error error;
    size_t count = 0;

    assert_true(store_each_series(scene->store, count_series, &count, &error));
    return count;
}

static bool count_layout(void *context, uint32_t id, const struct record_layout *layout)
{
    ++*(size_t *)context;
    return true;
}

static size_t layouts_there(const struct scene *scene)
{
    size_t count = 0;

    assert_true(store_each_layout(scene->store, count_layout, &count));
    return count;
}

static void restart(struct scene *scene, const struct section *sections, int shard_count)
{
    scene_kill(scene);
    scene_start(scene, sections, "agent", shard_count);
}

/* ---- Stories ------------------------------------------------------------------------------- */

static void test_what_is_committed_is_there_again_and_nothing_else(void **state)
{
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    assert_true(scene_send(&scene, "m", "a", "l=x", 1));
    assert_true(scene_send(&scene, "m", "b", "", 2));
    assert_true(scene_send(&scene, "g1", "c", "", 3));
    scene_apply(&scene, "a", 1);
    scene_apply(&scene, "a", 1);
    scene_commit(&scene);
    assert_true(scene_send(&scene, "m", "a", "l=x", 100));
    scene_apply(&scene, "a", 1);
    for (int shards = 1; shards <= CROSSING_MOST_SHARDS; shards++) {
        restart(&scene, plain, shards);
        assert_int_equal(scene.loaded.series, 3);
        assert_int_equal(scene.loaded.streams, 1);
        assert_string_equal(scene_show(&scene), "g1{c} 3, m{a l=x} 1, m{b} 2");
        assert_int_equal(scene_stream(&scene, "a", 1)->applied, 2);
        assert_int_equal(scene_stream(&scene, "a", 1)->committed, 2);
        assert_int_equal(scene_stream(&scene, "a", 1)->chain, 6);
        assert_int_equal(series_on_disk(&scene), 3);
    }
    scene_end(&scene);
}

static void test_created_and_ages_go_on_where_servers_ran(void **state)
{
    struct scene scene;
    struct series *series;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 1);
    scene.now_ns = 100 * NS_PER_S;
    series = crossing_send(scene.crossing, 0, "k", "a", "", 1);
    series_touch(scene.crossing->stores[0], series, scene.now_ns);
    scene.now_ns = 130 * NS_PER_S;
    scene_commit(&scene);
    scene_kill(&scene);
    scene.now_ns = 5 * NS_PER_S; /* the machine was started again */
    scene_start(&scene, plain, "agent", 1);
    series = crossing_find(scene.crossing, 0, "k", "a", "");
    assert_int_equal(series->created_ns, NS_PER_S + 1);
    assert_int_equal(atomic_load(&series->updated_ns), (5 - 30) * NS_PER_S);
    scene.now_ns += 7 * NS_PER_S;
    scene_commit(&scene);
    assert_int_equal(store_uptime(scene.store, scene.now_ns), (130 - 1 + 7) * NS_PER_S);
    assert_int_equal(store_steady(scene.store, store_uptime(scene.store, 11)), 11);
    scene_end(&scene);
}

static void test_cuts_that_wait_are_written_in_their_order(void **state)
{
    struct rasad_error error;
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    for (int i = 0; i < 5; i++) {
        assert_true(scene_send(&scene, "k", "a", "", 1));
        assert_true(scene_send(&scene, "m", "a", i % 2 == 0 ? "l=x" : "l=y", 1));
        scene_apply(&scene, "a", 1);
        if (i == 2) /* what the last cut changed is gone with this one, and its stream too */
            for (int j = 0; j < 2; j++) {
                size_t slot = 0;

                scene.crossing->made->metrics[1].expire_ns = 1;
                series_sweep(scene.crossing->stores[j], 1000,
                             &(struct series_limits){.now_ns = INT64_MAX / 2});
                scene.crossing->made->metrics[1].expire_ns = 0;
                agents_sweep(scene.crossing->agents[j], &slot, 1000, INT64_MAX);
            }
        assert_true(scene_cut(&scene));
    }
    assert_true(scene_write(&scene, false, &error));
    restart(&scene, plain, 1);
    assert_string_equal(scene_show(&scene), "k{a} 2, m{a l=x} 3, m{a l=y} 2");
    assert_int_equal(scene_stream(&scene, "a", 1)->applied, 2);
    scene_end(&scene);
}

static void test_ids_are_given_once(void **state)
{
    struct scene scene;
    uint64_t last;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    assert_true(scene_send(&scene, "k", "a", "", 1));
    assert_true(scene_send(&scene, "k", "b", "", 2));
    scene_commit(&scene);
    last = atomic_load(store_ids(scene.store));
    restart(&scene, nothing, 2); /* both are aside, and their ids still theirs */
    assert_int_equal(scene.loaded.aside, 2);
    assert_int_equal(atomic_load(store_ids(scene.store)), last);
    assert_true(scene_send(&scene, "other", "a", "", 3));
    scene_commit(&scene);
    assert_int_equal(series_on_disk(&scene), 3);
    restart(&scene, plain, 2);
    assert_string_equal(scene_show(&scene), "k{a} 1, k{b} 2");
    scene_end(&scene);
}

static void test_the_map_grows(void **state)
{
    struct scene scene;
    char label[16];

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 1);
    assert_int_equal(mdb_env_set_mapsize(scene.store->env, 1 << 16), 0);
    scene.store->map_size = 1 << 16;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(label, sizeof label, "l=%d", i);
        assert_true(scene_send(&scene, "m", "a", label, 1));
        if (i % 100 == 0)
            scene_commit(&scene);
    }
    scene_commit(&scene);
    assert_true(scene.store->map_size > 1 << 16);
    restart(&scene, plain, 1);
    assert_int_equal(scene.loaded.series, 1000);
    scene_end(&scene);
}

/* Where there is no address space for a larger one, it is tried again. */
static void test_a_map_that_cannot_grow_is_opened_anew(void **state)
{
    const struct rlimit little = {1 << 20, RLIM_INFINITY};
    struct rasad_error error;
    struct rlimit was;
    struct scene scene;
    char label[16];

#ifdef SANITIZED
    skip(); /* a sanitizer needs address space of its own */
#endif
    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 1);
    assert_int_equal(mdb_env_set_mapsize(scene.store->env, 1 << 16), 0);
    scene.store->map_size = (size_t)1 << 40;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(label, sizeof label, "l=%d", i);
        assert_true(scene_send(&scene, "m", "a", label, 1));
    }
    assert_true(scene_cut(&scene));
    assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    assert_false(scene_write(&scene, false, &error));
    assert_non_null(strstr(error.text, "Cannot allocate memory"));
    assert_false(scene_write(&scene, false, &error));
    assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
    assert_true(scene_write(&scene, false, &error));
    restart(&scene, plain, 1);
    assert_int_equal(scene.loaded.series, 1000);
    scene_end(&scene);
}

static void test_what_is_aside_comes_back_or_is_erased_in_time(void **state)
{
    struct rasad_error error;
    bool done;
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    scene.crossing->made->metrics[0].max_series = 100000;
    families_at(&scene.crossing->families, 0)->places.most = 100000;
    for (int i = 0; i < 20000; i++) { /* more than go in one transaction */
        char agent[16];

        (void)snprintf(agent, sizeof agent, "a%d", i);
        scene.crossing->now_ns = scene.now_ns;
        assert_non_null(crossing_send(scene.crossing, scene_shard_of(&scene, agent), "m", agent,
                                      i % 2 == 0 ? "l=x" : "l=y", 1));
    }
    assert_true(scene_send(&scene, "k", "a", "", 7));
    scene_commit(&scene);
    scene_reload(&scene, &plain[1]); /* "m" goes */
    assert_string_equal(scene_show(&scene), "k{a} 7");
    scene.now_ns += 10 * NS_PER_S;
    assert_true(store_drop_aside(scene.store, 11 * NS_PER_S, scene.now_ns, &done, &error) && done);
    assert_int_equal(series_on_disk(&scene), 20001);
    for (int i = 0; i < 3; i++) /* some at a time */
        assert_true(store_drop_aside(scene.store, 9 * NS_PER_S, scene.now_ns, &done, &error) &&
                    done == (i == 2));
    assert_int_equal(series_on_disk(&scene), 1);
    assert_int_equal(layouts_there(&scene), 1);
    restart(&scene, plain, 2);
    assert_string_equal(scene_show(&scene), "k{a} 7");
    scene_end(&scene);
}

static void test_a_metric_that_moves_to_another_section_takes_its_states(void **state)
{
    static const struct section glob[] = {{.title = "g*"}, {.title = NULL}};
    static const struct section own[] = {{.title = "g1"}, {.title = "g*"}, {.title = NULL}};
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, glob, "agent", 2);
    assert_true(scene_send(&scene, "g1", "a", "", 1));
    for (int i = 0; i < 3; i++) {
        scene_reload(&scene, i % 2 == 0 ? own : glob);
        assert_string_equal(scene_show(&scene), "g1{a} 1");
        restart(&scene, i % 2 == 0 ? own : glob, 2);
        assert_string_equal(scene_show(&scene), "g1{a} 1");
    }
    scene_end(&scene);
}

/* ---- Merging and migrating ----------------------------------------------------------------- */

static void test_agents_that_are_told_apart_no_more_are_merged_once(void **state)
{
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 3);
    for (int i = 0; i < 8; i++) {
        const char agent[] = {(char)('a' + i), '\0'};

        assert_true(scene_send(&scene, "k", agent, "", 1));
        scene_apply(&scene, agent, 1);
    }
    scene_commit(&scene);
    for (int i = 0; i < 3; i++) { /* the first time without a commit */
        scene_kill(&scene);
        scene_start(&scene, plain, "", 1 + i);
        if (i > 0)
            assert_string_equal(scene_show(&scene), "k{} 8");
    }
    assert_int_equal(series_on_disk(&scene), 1);
    assert_int_equal(scene.loaded.streams, 8);
    for (uint64_t i = 0; i < 3; i++) /* a state in each shard */
        assert_true(scene_send(&scene, "k", NULL, "", 3 + i));
    scene_commit(&scene);
    assert_int_equal(series_on_disk(&scene), 3);
    scene_kill(&scene);
    scene_start(&scene, plain, "", 3);
    assert_string_equal(scene_show(&scene), "k{} 20");
    assert_int_equal(series_on_disk(&scene), 1);
    scene_end(&scene);
}

static void test_states_of_another_version_are_migrated(void **state)
{
    static const struct section newer[] = {
        {.title = "m", .labels = {"l"}, .plugin = &count_2}, {.title = "k"}, {.title = NULL}};
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    assert_true(scene_send(&scene, "m", "a", "l=x", 5));
    assert_true(scene_send(&scene, "m", "b", "l=x", UNLUCKY));
    assert_true(scene_send(&scene, "k", "a", "", 6));
    scene_commit(&scene);
    for (int i = 0; i < 2; i++) { /* the first time without a commit */
        restart(&scene, newer, 2);
        assert_int_equal(scene.loaded.refused, 1);
    }
    assert_string_equal(scene_show(&scene), "k{a} 6, m{a l=x} 5");
    assert_int_equal(series_on_disk(&scene), 3);
    restart(&scene, newer, 2);
    assert_int_equal(scene.loaded.refused, 1);
    assert_string_equal(scene_show(&scene), "k{a} 6, m{a l=x} 5");
    restart(&scene, plain, 2); /* the unlucky one is of this version */
    assert_string_equal(scene_show(&scene), "k{a} 6, m{a l=x} 5, m{b l=x} 13");
    scene_end(&scene);
}

static bool refuse_all(const void *config, const void *state, uint64_t size)
{
    return false;
}

static void test_states_that_the_plugin_does_not_take_stay_on_disk(void **state)
{
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, plain, "agent", 2);
    assert_true(scene_send(&scene, "k", "a", "", 5));
    scene_commit(&scene);
    count_1.api.verify = refuse_all;
    restart(&scene, plain, 2);
    count_1.api.verify = NULL;
    assert_int_equal(scene.loaded.refused, 1);
    assert_string_equal(scene_show(&scene), "");
    assert_true(scene_send(&scene, "k", "a", "", 1));
    scene_commit(&scene);
    restart(&scene, plain, 2);
    assert_string_equal(scene_show(&scene), "k{a} 6");
    assert_int_equal(series_on_disk(&scene), 1);
    scene_end(&scene);
}

static void test_labels_are_found_by_name_and_merged_where_they_end(void **state)
{
    static const struct section both[] = {{.title = "m", .labels = {"l", "n"}}, {.title = NULL}};
    static const struct section turned[] = {{.title = "m", .labels = {"n", "l"}}, {.title = NULL}};
    static const struct section one[] = {{.title = "m", .labels = {"n"}}, {.title = NULL}};
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, both, "agent", 2);
    assert_true(scene_send(&scene, "m", "a", "l=x n=1", 1));
    assert_true(scene_send(&scene, "m", "a", "l=y n=1", 2));
    assert_true(scene_send(&scene, "m", "a", "l=y", 4));
    scene_commit(&scene);
    restart(&scene, turned, 2);
    assert_string_equal(scene_show(&scene), "m{a l=y} 4, m{a n=1 l=x} 1, m{a n=1 l=y} 2");
    restart(&scene, one, 2);
    assert_string_equal(scene_show(&scene), "m{a n=1} 3, m{a} 4");
    assert_int_equal(series_on_disk(&scene), 2);
    restart(&scene, both, 2);
    assert_string_equal(scene_show(&scene), "m{a n=1} 3, m{a} 4");
    scene_end(&scene);
}

static void test_overflow_of_all_shards_becomes_one(void **state)
{
    static const struct section tight[] = {{.title = "k", .max_series = 1}, {.title = NULL}};
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, tight, "agent", 4);
    for (int i = 0; i < 16; i++) {
        const char agent[] = {(char)('a' + i), '\0'};

        assert_true(scene_send(&scene, "k", agent, "", 1));
    }
    scene_commit(&scene);
    assert_true(series_on_disk(&scene) > 2);
    restart(&scene, tight, 4);
    assert_string_equal(scene_show(&scene), "k{a} 1, k{overflow} 15");
    assert_int_equal(series_on_disk(&scene), 2);
    assert_true(scene_send(&scene, "k", "z", "", 1)); /* no place is left */
    restart(&scene, tight, 1);
    assert_string_equal(scene_show(&scene), "k{a} 1, k{overflow} 15");
    scene_end(&scene);
}

/* ---- Any history --------------------------------------------------------------------------- */

enum { M, K, G, METRICS };
enum { NOBODY, AGENTS = 4 };
enum { UNLABELLED, LABELS = 3 };
enum { STREAMS = 2 };
enum { ABSENT, FIRST_KIND, SECOND_KIND };

static const char *const agent_names[AGENTS] = {NULL, "a", "b", "c"};
static const char *const label_names[LABELS] = {"", "l=x", "l=y"};
static const char *const keys[METRICS] = {"m", "k", "g1"};

/* What should be: counts of series and numbers of streams, -1 where there is none. */
struct model {
    int64_t counts[METRICS][AGENTS][LABELS];
    int64_t applied[AGENTS][STREAMS];
};

/* How the conf has each metric: with a label or without; in version 1 or 2; of a glob or plain. */
struct choice {
    int kinds[METRICS];
};

struct history {
    struct scene scene;
    struct choice choice;
    bool tells_agents;
    struct section sections[2][METRICS + 2]; /* of the conf that holds, and room for the next */
    int round;
    struct model live, cut, on_disk;
    uint64_t random;
};

static uint64_t draw(struct history *history, uint64_t below)
{
    history->random = history->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (history->random >> 33) % below;
}

static const struct section *choose(struct history *history)
{
    struct section *section = history->sections[++history->round % 2];
    const struct section *sections = section;
    int *kinds = history->choice.kinds;

    for (int i = 0; i < METRICS; i++)
        kinds[i] = (int)draw(history, 3);
    memset(section, 0, sizeof history->sections[0]);
    *section++ = (struct section){.title = "always"};
    if (kinds[M] == FIRST_KIND)
        *section++ = (struct section){.title = "m", .labels = {"l"}};
    if (kinds[M] == SECOND_KIND)
        *section++ = (struct section){.title = "m"};
    if (kinds[K] != ABSENT)
        *section++ = (struct section){
            .title = "k", .labels = {"l"}, .plugin = kinds[K] == FIRST_KIND ? &count_1 : &count_2};
    if (kinds[G] != ABSENT)
        *section++ =
            (struct section){.title = kinds[G] == FIRST_KIND ? "g*" : "g1", .labels = {"l"}};
    return sections;
}

static void move_count(int64_t *from, int64_t *to)
{
    if (*from < 0)
        return;
    *to = (*to < 0 ? 0 : *to) + *from;
    *from = -1;
}

/* What becomes of it under the conf that holds. */
static void transform(const struct history *history, struct model *model)
{
    for (int m = 0; m < METRICS; m++) {
        if (history->choice.kinds[m] == ABSENT)
            continue;
        for (int a = 0; a < AGENTS; a++) {
            for (int l = 1; l < LABELS && m == M && history->choice.kinds[M] == SECOND_KIND; l++)
                move_count(&model->counts[m][a][l], &model->counts[m][a][UNLABELLED]);
        }
        for (int a = 1; a < AGENTS && !history->tells_agents; a++) {
            for (int l = 0; l < LABELS; l++)
                move_count(&model->counts[m][a][l], &model->counts[m][NOBODY][l]);
        }
    }
}

/* ---- What is ---- */

static int index_of(const char *name, const char *const *names, int count)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    fail_msg("what is %s?", name);
    return 0;
}

static void add_to_model(const struct series *series, struct model *model)
{
    int agent = series->agent != NULL ? index_of(series->agent->name, agent_names, AGENTS) : NOBODY;
    int metric = 0, label = UNLABELLED;
    size_t length = 0;
    int64_t *count;

    assert_false(series->is_overflow);
    while (strcmp(series->family->name, keys[metric]) != 0)
        metric++;
    if (series->family->metric->label_count > 0) {
        const char *value = series_label(series, 0, &length);

        if (length > 0)
            label = *value == 'x' ? 1 : 2;
    }
    count = &model->counts[metric][agent][label];
    *count = (*count < 0 ? 0 : *count) + (int64_t) * (const uint64_t *)series->bytes;
    if (series->family->state_size == sizeof(struct counted))
        assert_true(((const struct counted *)(const void *)series->bytes)->stamp == STAMP);
}

static void look_at_series(struct history *history, struct model *model, size_t *count)
{
    struct crossing *crossing = history->scene.crossing;
    struct table_item *item;

    for (int i = 0; i < crossing->shard_count; i++) {
        size_t slot = 0;

        while ((item = table_next(&crossing->stores[i]->table, &slot)) != NULL) {
            add_to_model((const struct series *)item, model);
            ++*count;
        }
    }
}

static void look_at_streams(struct history *history, struct model *model)
{
    struct crossing *crossing = history->scene.crossing;
    struct table_item *item;

    for (int i = 0; i < crossing->shard_count; i++) {
        size_t slot = 0;

        while ((item = table_next(&crossing->agents[i]->streams, &slot)) != NULL) {
            const struct stream *stream = (const struct stream *)item;
            int agent = index_of(stream->agent->name, agent_names, AGENTS);

            assert_int_equal(stream->chain, (uint32_t)stream->applied * 3);
            model->applied[agent][stream->id[0]] = (int64_t)stream->applied;
        }
    }
}

static void check_live(struct history *history)
{
    struct model is;
    size_t count = 0;

    memset(&is, -1, sizeof is);
    look_at_series(history, &is, &count);
    look_at_streams(history, &is);
    for (int m = 0; m < METRICS; m++) {
        const bool shown = history->choice.kinds[m] != ABSENT;

        for (int i = 0; i < AGENTS * LABELS; i++) {
            int64_t wanted = shown ? history->live.counts[m][i / LABELS][i % LABELS] : -1;

            if (is.counts[m][i / LABELS][i % LABELS] != wanted)
                fail_msg("%s %d %d: %lld, not %lld", keys[m], i / LABELS, i % LABELS,
                         (long long)is.counts[m][i / LABELS][i % LABELS], (long long)wanted);
        }
    }
    assert_memory_equal(is.applied, history->live.applied, sizeof is.applied);
}

struct disk_look {
    const struct history *history;
    size_t count; /* series of layouts that are in use */
    bool used[4096];
};

static bool look_at_layout(void *context, uint32_t id, const struct record_layout *layout)
{
    struct disk_look *look = context;

    assert_in_range(id, 1, 4095);
    look->used[id] = layout->aside_ns == 0;
    return true;
}

static bool look_at_record(void *context, uint64_t id, const struct record_series *series,
                           struct rasad_error *error)
{
    struct disk_look *look = context;

    assert_true(series->layout < 4096);
    look->count += look->used[series->layout];
    return true;
}

/* All is on disk: a record for each series, no more, and the view has what they say. */
static void check_disk(struct history *history)
{
    static struct disk_look look;
    struct crossing *crossing = history->scene.crossing;
    struct rasad_error error;
    struct model is;
    size_t count = 0, seen = 0;

    memset(&look, 0, sizeof look);
    memset(&is, -1, sizeof is);
    look_at_series(history, &is, &count);
    assert_true(store_each_layout(history->scene.store, look_at_layout, &look));
    assert_true(store_each_series(history->scene.store, look_at_record, &look, &error));
    assert_int_equal(look.count, count);
    for (uint32_t id = 0; id < families_count(&crossing->families); id++) {
        struct view_family family = view_family(&crossing->view, id);

        seen += family.count;
        for (size_t i = 0; i < family.count; i++)
            assert_memory_equal(series_published(family.at[i]), series_state(family.at[i]),
                                family.at[i]->family->state_size);
    }
    assert_int_equal(seen, count);
}

/* ---- What happens ---- */

static void sample(struct history *history)
{
    int metric = (int)draw(history, METRICS), label = (int)draw(history, LABELS);
    int agent = history->tells_agents ? 1 + (int)draw(history, AGENTS - 1) : NOBODY;
    uint64_t number = 20 * (1 + draw(history, 1000)); /* their sums are never unlucky */
    int64_t *count;

    if (metric == M && history->choice.kinds[M] == SECOND_KIND)
        label = UNLABELLED;
    count = &history->live.counts[metric][agent][label];
    if (!scene_send(&history->scene, keys[metric], agent_names[agent], label_names[label],
                    number)) {
        assert_int_equal(history->choice.kinds[metric], ABSENT);
        return;
    }
    *count = (*count < 0 ? 0 : *count) + (int64_t)number;
}

static void apply(struct history *history)
{
    int agent = 1 + (int)draw(history, AGENTS - 1), number = (int)draw(history, STREAMS);
    int64_t *applied = &history->live.applied[agent][number];

    scene_apply(&history->scene, agent_names[agent], number);
    *applied = (*applied < 0 ? 0 : *applied) + 1;
}

/* Series of a metric expire. */
static void expire(struct history *history)
{
    struct crossing *crossing = history->scene.crossing;
    int metric = (int)draw(history, METRICS);
    struct family *family = crossing_family(crossing, keys[metric]);
    struct conf_metric *section = NULL;

    if (history->choice.kinds[metric] == ABSENT || family == NULL)
        return;
    section = &crossing->made->metrics[family->metric - crossing->made->metrics];
    section->expire_ns = 1;
    for (int i = 0; i < crossing->shard_count; i++)
        series_sweep(crossing->stores[i], 10000, &(struct series_limits){.now_ns = INT64_MAX / 2});
    section->expire_ns = 0;
    memset(history->live.counts[metric], -1, sizeof history->live.counts[metric]);
}

static void forget_streams(struct history *history)
{
    for (int i = 0; i < history->scene.crossing->shard_count; i++) {
        struct agents *agents = history->scene.crossing->agents[i];

        while (agents->streams.count > 0) { /* one in the place of another is for the next time */
            size_t slot = 0;

            agents_sweep(agents, &slot, 10000, INT64_MAX);
        }
    }
    memset(history->live.applied, -1, sizeof history->live.applied);
}

/* A commit whose write did not come to be: the disk was full. */
static void cut_only(struct history *history)
{
    assert_true(scene_cut(&history->scene));
    history->cut = history->live;
}

static void write_pending(struct history *history)
{
    struct rasad_error error;

    assert_true(scene_write(&history->scene, false, &error));
    history->on_disk = history->cut;
}

static void commit_all(struct history *history)
{
    scene_commit(&history->scene);
    history->cut = history->live;
    history->on_disk = history->live;
    check_disk(history);
}

static void reload(struct history *history)
{
    const struct section *sections = choose(history);

    scene_reload(&history->scene, sections);
    history->cut = history->live;
    history->on_disk = history->live;
    transform(history, &history->live);
}

static void start_again(struct history *history)
{
    if (draw(history, 2) == 0)
        commit_all(history);
    scene_kill(&history->scene);
    history->tells_agents = draw(history, 4) != 0;
    history->live = history->on_disk;
    scene_start(&history->scene, choose(history), history->tells_agents ? "agent" : "",
                1 + (int)draw(history, CROSSING_MOST_SHARDS));
    assert_int_equal(history->scene.loaded.refused, 0);
    transform(history, &history->live);
    history->cut = history->on_disk;
}

static void step(struct history *history)
{
    uint64_t what = draw(history, 100);

    history->scene.now_ns += (int64_t)draw(history, NS_PER_S);
    if (what < 50)
        sample(history);
    else if (what < 70)
        apply(history);
    else if (what < 73)
        expire(history);
    else if (what < 76)
        forget_streams(history);
    else if (what < 82)
        cut_only(history);
    else if (what < 85)
        write_pending(history);
    else if (what < 92)
        commit_all(history);
    else if (what < 96)
        reload(history);
    else
        start_again(history);
    check_live(history);
}

static void live_through(uint64_t seed, int steps)
{
    struct history *history = calloc(1, sizeof *history);

    assert_non_null(history);
    history->random = seed;
    history->tells_agents = true;
    memset(&history->live, -1, sizeof history->live);
    history->cut = history->live;
    history->on_disk = history->live;
    scene_begin(&history->scene);
    scene_start(&history->scene, choose(history), "agent", 2);
    for (int i = 0; i < steps; i++)
        step(history);
    scene_end(&history->scene);
    free(history);
}

/* RASAD_SEED tries one history again; RASAD_HISTORIES says how many there are. */
static void test_any_history_is_what_the_disk_tells(void **state)
{
    const char *seed = getenv("RASAD_SEED"), *more = getenv("RASAD_HISTORIES");
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = seed != NULL ? 1 : more != NULL ? strtoull(more, NULL, 10) : 20;

    for (uint64_t i = first; i < first + count; i++) {
        print_message("RASAD_SEED=%llu\n", (unsigned long long)i);
        live_through(i, 300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_committed_is_there_again_and_nothing_else),
        cmocka_unit_test(test_created_and_ages_go_on_where_servers_ran),
        cmocka_unit_test(test_cuts_that_wait_are_written_in_their_order),
        cmocka_unit_test(test_ids_are_given_once),
        cmocka_unit_test(test_the_map_grows),
        cmocka_unit_test(test_a_map_that_cannot_grow_is_opened_anew),
        cmocka_unit_test(test_what_is_aside_comes_back_or_is_erased_in_time),
        cmocka_unit_test(test_a_metric_that_moves_to_another_section_takes_its_states),
        cmocka_unit_test(test_agents_that_are_told_apart_no_more_are_merged_once),
        cmocka_unit_test(test_states_of_another_version_are_migrated),
        cmocka_unit_test(test_states_that_the_plugin_does_not_take_stay_on_disk),
        cmocka_unit_test(test_labels_are_found_by_name_and_merged_where_they_end),
        cmocka_unit_test(test_overflow_of_all_shards_becomes_one),
        cmocka_unit_test(test_any_history_is_what_the_disk_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
