/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database on a disk that fails, and without memory: each call that may fail does so once, the
 * first, then the second, and so on. What was told to be committed is there when the database is
 * opened again, to the last sample and number, and the next commit heals all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "disk_faults.h"
#include "store/store_inside.h"
#include "store_scene.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);

/* How many allocations may still succeed; below 0: all. */
static long left = -1;
static bool failed;

static bool fails(void)
{
    if (left < 0 || left-- > 0)
        return false;
    failed = true;
    return true;
}

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

static const struct section sections[] = {{.title = "m", .labels = {"l"}},
                                          {.title = "k", .plugin = &other},
                                          {.title = "g*"},
                                          {.title = NULL}};

/* Samples and numbers that change all kinds of records, some new and some not. */
static void send_round(struct scene *scene, int round)
{
    char label[16];

    for (int i = 0; i < 40; i++) {
        (void)snprintf(label, sizeof label, "l=%d", i + 20 * round);
        assert_true(scene_send(scene, "m", "a", label, 1));
    }
    assert_true(scene_send(scene, "k", "a", "", 1));
    assert_true(scene_send(scene, round % 2 == 0 ? "g1" : "g2", "b", "", 1));
    scene_apply(scene, "a", 1);
    scene_apply(scene, "b", round);
}

/* What lives, as a copy: the caller's to free. Nothing may be dirty. */
static char *show_copy(struct scene *scene)
{
    struct text copy = {0};

    text_add_string(&copy, crossing_show(scene->crossing));
    for (int i = 0; i < 3; i++)
        text_printf(&copy, " %s %" PRIu64,
                    i == 0   ? "a1"
                    : i == 1 ? "b0"
                             : "b1",
                    scene_stream(scene, i == 0 ? "a" : "b", i == 2 || i == 0)->applied);
    assert_false(copy.failed);
    return copy.at;
}

/* The server is killed, and another one shows just that. */
static void check_after_kill(struct scene *scene, const char *wanted)
{
    char *shown;

    scene_kill(scene);
    scene_start(scene, sections, "agent", 2);
    scene_commit(scene);
    shown = show_copy(scene);
    assert_string_equal(shown, wanted);
    free(shown);
}

/* ---- The disk ------------------------------------------------------------------------------ */

struct trouble {
    int code;
    bool stays, syncs_only, may_distrust;
};

/* A commit in which the n-th call fails; false if there are not so many. */
static bool commit_with_fault(const struct trouble *trouble, long n, bool heals)
{
    struct rasad_error error = {""};
    struct scene scene;
    char *before, *after;
    bool fine;

    scene_begin(&scene);
    scene_start(&scene, sections, "agent", 2);
    send_round(&scene, 0);
    scene_commit(&scene);
    before = show_copy(&scene);
    send_round(&scene, 1);
    disk.code = trouble->code;
    disk.stays = trouble->stays;
    disk.syncs_only = trouble->syncs_only;
    atomic_store(&disk.failed, false);
    atomic_store(&disk.left, n);
    fine = scene_try_commit(&scene, &error);
    if (!fine && trouble->stays) { /* it is tried in vain */
        assert_false(scene_write(&scene, store_wants_all(scene.store), &error));
        assert_non_null(strstr(error.text, scene.folder));
    }
    disk_is_fine();
    assert_true(fine || atomic_load(&disk.failed));
    if (!fine)
        assert_true(error.text[0] != '\0' && (trouble->may_distrust || !scene.store->wants_all));
    if (fine || heals) {
        send_round(&scene, 2);
        scene_commit(&scene);
        assert_false(store_wants_all(scene.store));
        after = show_copy(&scene);
        check_after_kill(&scene, after);
        free(after);
    } else {
        check_after_kill(&scene, before);
    }
    free(before);
    scene_end(&scene);
    return atomic_load(&disk.failed);
}

static void fail_each_call(const struct trouble *trouble)
{
    for (int heals = 0; heals < 2; heals++) {
        long n = 0;

        while (commit_with_fault(trouble, n, heals))
            n++;
        assert_in_range(n, trouble->syncs_only ? 1 : 3, 50);
    }
}

static void test_a_full_disk_costs_nothing_but_time(void **state)
{
    fail_each_call(&(struct trouble){.code = ENOSPC, .may_distrust = true});
    fail_each_call(&(struct trouble){.code = ENOSPC, .stays = true, .may_distrust = true});
    fail_each_call(&(struct trouble){.code = EDQUOT, .may_distrust = true});
}

static void test_after_an_error_of_the_disk_all_is_written_anew(void **state)
{
    fail_each_call(&(struct trouble){.code = EIO, .may_distrust = true});
    fail_each_call(&(struct trouble){.code = EIO, .stays = true, .may_distrust = true});
}

static void test_after_a_sync_that_failed_all_is_written_anew(void **state)
{
    fail_each_call(&(struct trouble){.code = EIO, .syncs_only = true, .may_distrust = true});
}

static void test_an_error_of_the_disk_is_not_forgotten(void **state)
{
    struct rasad_error error;
    struct scene scene;

    scene_begin(&scene);
    scene_start(&scene, sections, "agent", 2);
    send_round(&scene, 0);
    scene_commit(&scene);
    send_round(&scene, 1);
    disk.code = EIO;
    disk.syncs_only = true;
    atomic_store(&disk.left, 0);
    assert_false(scene_try_commit(&scene, &error));
    disk_is_fine();
    assert_true(store_wants_all(scene.store));
    scene_end(&scene);
}

/* Each write of a database's first minute fails: the next start finds one, or begins it. */
static void test_a_database_that_could_not_be_begun_is_begun_later(void **state)
{
    struct rasad_error error = {""};
    struct store *store;
    struct scene scene;
    bool fine = false;

    for (long n = 0; !fine; n++) {
        scene_begin(&scene);
        disk.code = EIO;
        atomic_store(&disk.left, n);
        fine = store_open(scene.folder, false, (struct store_progress){.tell = NULL}, &silent,
                          scene.now_ns, &store, &error);
        disk_is_fine();
        if (fine)
            store_close(store);
        else
            assert_true(error.text[0] != '\0');
        scene_start(&scene, sections, "agent", 2);
        send_round(&scene, 0);
        scene_commit(&scene);
        scene_end(&scene);
        assert_in_range(n, 0, 50);
    }
}

/* ---- Memory -------------------------------------------------------------------------------- */

/* A commit, and the start after it, with the n-th allocation failing. */
static void commit_without_memory(long n)
{
    struct rasad_error error = {""};
    struct scene scene;
    char *after;
    bool fine;

    scene_begin(&scene);
    scene_start(&scene, sections, "agent", 2);
    send_round(&scene, 0);
    scene_commit(&scene);
    send_round(&scene, 1);
    left = n;
    fine = scene_try_commit(&scene, &error);
    left = -1;
    if (!fine) {
        assert_true(failed);
        assert_non_null(strstr(error.text, "out of memory"));
        assert_false(store_wants_all(scene.store));
        assert_true(scene_try_commit(&scene, &error));
    }
    for (int i = 0; i < 2; i++) /* what the view had no memory for it sees with the next change */
        series_mark_all(scene.crossing->stores[i]);
    scene_commit(&scene);
    after = show_copy(&scene);
    check_after_kill(&scene, after);
    free(after);
    scene_end(&scene);
}

static void test_a_commit_survives_any_failed_allocation(void **state)
{
    long n = 0;

    do {
        failed = false;
        commit_without_memory(n++);
    } while (failed);
    assert_true(n > 8);
}

/* Starts under confs in which states are merged, migrated and put aside. */
static const struct section later[] = {
    {.title = "m", .plugin = &count_2}, {.title = "g1"}, {.title = NULL}};

static void start_without_memory(long n)
{
    struct rasad_error error = {""};
    struct scene scene;
    char *wanted, *shown;
    bool fine;

    scene_begin(&scene);
    scene_start(&scene, sections, "agent", 2);
    send_round(&scene, 0);
    scene_commit(&scene);
    scene_kill(&scene);
    scene_start(&scene, later, "agent", 2);
    wanted = strdup(crossing_show(scene.crossing));
    scene_kill(&scene); /* nothing of it was committed */
    left = n;
    fine = store_open(scene.folder, false, (struct store_progress){.tell = NULL}, &silent,
                      scene.now_ns, &scene.store, &error);
    if (fine) {
        long budget = left;
        struct loading loading;

        left = -1;
        scene_add_shards(&scene, later, "agent", 2);
        loading = scene_loading(&scene);
        left = budget;
        fine = loading_run(&loading, &scene.loaded, &error);
    }
    left = -1;
    if (!fine) {
        assert_true(failed);
        assert_non_null(strstr(error.text, "out of memory"));
        scene_kill(&scene);
        scene_start(&scene, later, "agent", 2);
    }
    assert_int_equal(scene.loaded.refused, 0);
    scene_commit(&scene);
    scene_kill(&scene); /* what the view had no memory for is in the next server's */
    scene_start(&scene, later, "agent", 2);
    shown = strdup(crossing_show(scene.crossing));
    assert_string_equal(shown, wanted);
    free(shown);
    free(wanted);
    scene_end(&scene);
}

static void test_a_start_survives_any_failed_allocation(void **state)
{
    long n = 0;

    do {
        failed = false;
        start_without_memory(n++);
    } while (failed);
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_costs_nothing_but_time),
        cmocka_unit_test(test_after_an_error_of_the_disk_all_is_written_anew),
        cmocka_unit_test(test_after_a_sync_that_failed_all_is_written_anew),
        cmocka_unit_test(test_an_error_of_the_disk_is_not_forgotten),
        cmocka_unit_test(test_a_database_that_could_not_be_begun_is_begun_later),
        cmocka_unit_test(test_a_commit_survives_any_failed_allocation),
        cmocka_unit_test(test_a_start_survives_any_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
