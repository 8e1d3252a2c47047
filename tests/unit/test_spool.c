/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool at a desk: what comes back after it was closed, killed, torn, damaged, full, or copied.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spool_scene.h"

#include <dirent.h>
#include <sys/wait.h>

#include "base/crc32c.h"
#include "segment.h"

/* The path of a journal's only file, or of its n-th. */
static void find_file(const struct scene *scene, const char *journal, int n, char path[512])
{
    struct dirent **files;
    char folder[256];
    int count;

    (void)snprintf(folder, sizeof folder, "%s/%s", scene->folder, journal);
    count = scandir(folder, &files, NULL, alphasort);
    if (n + 2 >= count) /* behind "." and ".." */
        fail_msg("no file %d in %s", n, folder);
    (void)snprintf(path, 512, "%s/%s", folder, files[n + 2]->d_name);
    for (int i = 0; i < count; i++)
        free(files[i]);
    free(files);
}

static int count_files(const struct scene *scene, const char *journal)
{
    struct dirent **files;
    char folder[256];
    int count;

    (void)snprintf(folder, sizeof folder, "%s/%s", scene->folder, journal);
    count = scandir(folder, &files, NULL, alphasort);
    for (int i = 0; i < count; i++)
        free(files[i]);
    free(files);
    return count - 2;
}

static struct text read_file(const char *path)
{
    struct text bytes = {0};
    SCOPED(close_at) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat file;

    assert_true(fd >= 0 && fstat(fd, &file) == 0);
    assert_true(text_reserve(&bytes, (size_t)file.st_size + 1));
    bytes.length = (size_t)file.st_size;
    assert_int_equal(pread(fd, bytes.at, bytes.length, 0), file.st_size);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t length)
{
    SCOPED(close_at) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
}

#define WEEK_NS (7 * 24 * 3600 * NS_PER_S)

/* The folder of the first server's stream. */
static const char stream_folder[] = "web-1-804a2c1f.to.mon-1_5050-ddfb4a1a";

/* Fills the first server's stream so that it has many files. */
static void fill_stream(struct scene *scene, int count)
{
    struct rasad_error error;

    while (scene->last < count)
        assert_int_equal(scene_push(scene, 0, 1, 500, &error), SPOOL_DONE);
}

static uint64_t first_kept(struct scene *scene)
{
    struct spool_hello hello;

    assert_true(spool_hello(scene->spool, 0, &hello));
    return hello.first;
}

/* ---- What comes back ---- */

static void the_folders_are_named_by_agent_and_server(void **state)
{
    struct scene scene;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    find_file(&scene, INBOX, 0, path);
    assert_string_equal(strrchr(path, '/'), "/0001-00000000000000000001.seg");
    find_file(&scene, stream_folder, 0, path);
    assert_string_equal(strrchr(path, '/'), "/0001-00000000000000000001.seg");
    scene_free(&scene);
}

static void what_was_taken_is_there_after_the_process(void **state)
{
    static const enum spool_sync levels[] = {SPOOL_SYNC_OS, SPOOL_SYNC_DISK};

    for (size_t i = 0; i < 2; i++) {
        struct scene scene;
        int status;
        pid_t child;

        scene_make(&scene);
        scene.options.sync = levels[i];
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            scene_open(&scene);
            scene_take(&scene, 0, 3);
            scene_take(&scene, SPOOL_NO_SERVER, 2);
            _exit(0); /* as a kill would: nothing is closed */
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        scene_open(&scene);
        assert_int_equal(spool_counts(scene.spool).pending, 5);
        scene_move(&scene, 0);
        scene_expect(&scene, 0, 0, "1 2 3 4 5");
        scene_free(&scene);
    }
}

static void a_stream_goes_on_with_its_numbers_and_chain(void **state)
{
    struct spool_hello before, after;
    struct rasad_error error;
    struct scene scene;
    uint32_t chain = crc32c(0, "{\"n\":1}{\"n\":2}", 14), other = chain + 1;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 2);
    assert_true(spool_hello(scene.spool, 0, &before));
    scene_reopen(&scene);
    assert_true(spool_hello(scene.spool, 0, &after));
    assert_string_equal(before.stream, after.stream);
    assert_int_equal(after.first, 1);
    assert_int_equal(after.chain, 0);
    assert_true(spool_welcome(scene.spool, 0, 2, 2, &chain, 1, &error));
    assert_int_equal(spool_unacked(scene.spool, 0), 0);
    assert_false(spool_welcome(scene.spool, 0, 2, 2, &other, 1, &error));
    assert_string_equal(error.text, "the server has another chain at message 2");
    scene_free(&scene);
}

static void what_waits_for_a_server_keeps_its_order(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 2);               /* right into the stream */
    scene_take(&scene, SPOOL_NO_SERVER, 2); /* the server is away */
    scene_take(&scene, 0, 2);               /* it is back, but behind the others */
    assert_int_equal(spool_counts(scene.spool).pending, 6);
    scene_expect(&scene, 0, 0, "1 2");
    scene_move(&scene, 0);
    scene_expect(&scene, 0, 0, "1 2 3 4 5 6");
    scene_take(&scene, 0, 1);
    scene_take(&scene, SPOOL_NO_SERVER, 1);
    scene_reopen(&scene);
    scene_move(&scene, 0);
    scene_expect(&scene, 0, 0, "1 2 3 4 5 6 7 8");
    scene_free(&scene);
}

static void what_a_server_was_given_stays_its_own(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 2);
    scene_take(&scene, SPOOL_NO_SERVER, 2);
    scene_move(&scene, 1);
    scene_take(&scene, 1, 1);
    scene_expect(&scene, 0, 0, "1 2");
    scene_expect(&scene, 1, 0, "3 4 5");
    scene_reopen(&scene);
    scene_take(&scene, 0, 1);
    scene_expect(&scene, 1, 1, "4 5");
    scene_expect(&scene, 0, 2, "6");
    scene_free(&scene);
}

/* What was moved before a kill is found in the stream, so it isn't moved again. */
static void a_move_is_not_done_twice(void **state)
{
    struct rasad_error error;
    struct scene scene;
    SCOPED(text_free) struct text inbox = {0};
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, SPOOL_NO_SERVER, 5);
    find_file(&scene, INBOX, 0, path);
    inbox = read_file(path);
    assert_int_equal(spool_move(scene.spool, 0, &error), SPOOL_DONE);
    scene_close(&scene);
    write_file(path, inbox.at, inbox.length); /* whatever became of the inbox */
    scene_open(&scene);
    assert_int_equal(spool_counts(scene.spool).pending, 5);
    assert_false(spool_can_move(scene.spool, 1));
    scene_take(&scene, SPOOL_NO_SERVER, 1);
    scene_move(&scene, 1);
    scene_expect(&scene, 0, 0, "1 2 3 4 5");
    scene_expect(&scene, 1, 0, "6");
    scene_free(&scene);
}

/* Opens anew after the process has ended this way, and expects so many. */
static void expect_taken(struct scene *scene, uint64_t wanted)
{
    assert_int_equal(spool_taken(scene->spool), wanted);
    scene_reopen(scene);
    assert_int_equal(spool_taken(scene->spool), wanted);
}

static void what_was_ever_taken_is_counted_whatever_became_of_it(void **state)
{
    static const char *const others[] = {"mon-3:5050"};
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;
    struct rasad_error error;

    scene_make(&scene);
    scene_open(&scene);
    expect_taken(&scene, 0);
    scene_take(&scene, SPOOL_NO_SERVER, 10); /* in the inbox, */
    expect_taken(&scene, 10);
    scene_move(&scene, 0); /* moved, */
    expect_taken(&scene, 10);
    scene_take(&scene, 0, 5); /* right into a stream, */
    expect_taken(&scene, 15);
    scene.lost = 7; /* dropped before they came here, */
    scene_take(&scene, 0, 1);
    expect_taken(&scene, 23);
    fill_stream(&scene, 42);
    scene.last = 0;
    expect_taken(&scene, 49);
    scene_drain(&scene, &seen); /* acknowledged and let go of, */
    spool_relieve(scene.spool, true);
    assert_int_equal(first_kept(&scene), 50);
    expect_taken(&scene, 49);
    scene_take(&scene, 1, 3);       /* for another server, */
    scene.options.servers = others; /* and for one that isn't in use any more; */
    scene.options.server_count = 1;
    scene.options.drop_oldest = true;
    expect_taken(&scene, 52);
    scene.last = 0; /* dropped by a full spool. */
    assert_int_equal(scene_push(&scene, SPOOL_NO_SERVER, 100, 1000, &error), SPOOL_DONE);
    assert_true(spool_counts(scene.spool).dropped > 0);
    expect_taken(&scene, 152);
    scene_free(&scene);
}

static void a_spool_in_memory_does_the_same(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene.options.sync = SPOOL_SYNC_MEMORY;
    scene.options.folder = NULL;
    scene_open(&scene);
    scene_take(&scene, SPOOL_NO_SERVER, 3);
    scene_move(&scene, 0);
    scene_take(&scene, 0, 100);
    assert_int_equal(spool_counts(scene.spool).pending, 103);
    scene_expect(&scene, 0, 101, "102 103");
    scene_free(&scene);
}

/* ---- Acknowledgements and the trailing window ---- */

static void acknowledged_messages_stay_for_two_acks_and_a_minute(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;
    int64_t start_ns;

    scene_make(&scene);
    scene.options.max_bytes = 256 << 10;
    scene_open(&scene);
    fill_stream(&scene, 100); /* three files of 16 KiB, and a fourth begun */
    assert_int_equal(count_files(&scene, stream_folder), 4);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    start_ns = scene.now_ns;
    assert_true(spool_ack(scene.spool, 0, 50, scene.now_ns)); /* all of the first file */
    scene.now_ns += 90 * NS_PER_S;
    assert_int_equal(spool_trim(scene.spool, scene.now_ns), start_ns + WEEK_NS);
    assert_int_equal(first_kept(&scene), 1); /* no later acks */
    assert_true(spool_ack(scene.spool, 0, 51, scene.now_ns));
    assert_true(spool_ack(scene.spool, 0, 51, scene.now_ns)); /* the same again says nothing */
    (void)spool_trim(scene.spool, scene.now_ns);
    assert_int_equal(first_kept(&scene), 1);
    assert_true(spool_ack(scene.spool, 0, 100, scene.now_ns));
    assert_int_equal(spool_trim(scene.spool, start_ns + 60 * NS_PER_S - 1),
                     start_ns + 60 * NS_PER_S);
    assert_int_equal(first_kept(&scene), 1); /* not a minute */
    (void)spool_trim(scene.spool, start_ns + 60 * NS_PER_S);
    assert_in_range(first_kept(&scene), 20, 51);
    assert_int_equal(count_files(&scene, stream_folder), 3);
    assert_int_equal(spool_counts(scene.spool).acked, 100);
    /* A server that is older than that is told what there is. */
    scene_welcome(&scene, 0, first_kept(&scene) - 1, 0);
    assert_int_equal(spool_counts(scene.spool).pending, 100 - (first_kept(&scene) - 1));
    scene_free(&scene);
}

/* What a hello offers may be let go of before the answer; a server that wants it must be told anew,
 * and not be taken for somebody else's. */
static void what_goes_between_hello_and_welcome_is_told_by_the_next_hello(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;
    struct spool_hello before, hello;
    struct rasad_error error;

    scene_make(&scene);
    scene.options.max_bytes = 256 << 10;
    scene_open(&scene);
    fill_stream(&scene, 100);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    for (uint64_t i = 50; i <= 52; i++)
        assert_true(spool_ack(scene.spool, 0, i, scene.now_ns));
    spool_hang_up(scene.spool, 0);
    assert_true(spool_hello(scene.spool, 0, &before));
    assert_int_equal(before.first, 1);
    (void)spool_trim(scene.spool, scene.now_ns + 60 * NS_PER_S);
    assert_int_equal(count_files(&scene, stream_folder), 3);
    assert_false(spool_welcome(scene.spool, 0, 0, 0, NULL, scene.now_ns, &error));
    assert_true(spool_hello(scene.spool, 0, &hello)); /* not forsaken */
    assert_string_equal(hello.stream, before.stream);
    assert_true(hello.first > 1);
    scene_free(&scene);
}

/* A server that came back older may do so again, and acks of before don't say otherwise. */
static void acks_before_a_fall_do_not_count_for_the_window(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    SCOPED(seen_free) struct seen again = {0};
    struct scene scene;

    scene_make(&scene);
    scene.options.max_bytes = 256 << 10;
    scene_open(&scene);
    fill_stream(&scene, 100);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    for (uint64_t i = 50; i <= 52; i++)
        assert_true(spool_ack(scene.spool, 0, i, scene.now_ns));
    scene_welcome(&scene, 0, 50, 50); /* it has lost two commits */
    scene_see(&scene, 0, &again);
    assert_true(spool_ack(scene.spool, 0, 51, scene.now_ns));
    (void)spool_trim(scene.spool, scene.now_ns + 60 * NS_PER_S);
    assert_int_equal(first_kept(&scene), 1);
    assert_true(spool_ack(scene.spool, 0, 52, scene.now_ns));
    (void)spool_trim(scene.spool, scene.now_ns + 120 * NS_PER_S);
    assert_true(first_kept(&scene) > 1);
    scene_free(&scene);
}

/* A server that has forgotten the stream by then would take all for new. */
static void what_is_acknowledged_is_kept_for_a_week_at_most(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 5);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    assert_true(spool_ack(scene.spool, 0, 5, scene.now_ns));
    assert_int_equal(spool_trim(scene.spool, scene.now_ns), scene.now_ns + WEEK_NS);
    assert_int_equal(first_kept(&scene), 1);
    assert_int_equal(spool_trim(scene.spool, scene.now_ns + WEEK_NS), INT64_MAX);
    assert_int_equal(first_kept(&scene), 6);
    /* Likewise when nobody was there meanwhile; what isn't acknowledged stays. */
    scene_take(&scene, 0, 5);
    scene_see(&scene, 0, &seen);
    assert_true(spool_ack(scene.spool, 0, 9, scene.now_ns));
    scene_close(&scene);
    times[1].tv_sec = time(NULL) - 8 * 24 * 3600;
    find_file(&scene, stream_folder, 0, path);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    scene_open(&scene);
    assert_int_equal(first_kept(&scene), 6);
    scene_expect(&scene, 0, 9, "10");
    assert_true(spool_ack(scene.spool, 0, 10, scene.now_ns));
    scene_close(&scene);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    scene_open(&scene);
    assert_int_equal(first_kept(&scene), 11);
    assert_int_equal(spool_taken(scene.spool), 10);
    scene_free(&scene);
}

/* A file may be acknowledged to its end, and then grow, and be followed by another one. */
static void what_was_added_behind_an_ack_waits_for_its_own(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;

    scene_make(&scene);
    scene.options.max_bytes = 256 << 10;
    scene_open(&scene);
    scene_welcome(&scene, 0, 0, 0);
    for (int i = 1; i <= 5; i++) {
        fill_stream(&scene, i);
        scene_see(&scene, 0, &seen);
        assert_true(spool_ack(scene.spool, 0, (uint64_t)i, scene.now_ns));
    }
    fill_stream(&scene, 60); /* the server stops to acknowledge */
    scene_see(&scene, 0, &seen);
    assert_true(count_files(&scene, stream_folder) > 1);
    scene.now_ns += 90 * NS_PER_S;
    (void)spool_trim(scene.spool, scene.now_ns);
    assert_int_equal(first_kept(&scene), 1);
    assert_int_equal(spool_counts(scene.spool).pending, 55);
    /* And once it goes on, that takes as long as ever. */
    assert_true(spool_ack(scene.spool, 0, 58, scene.now_ns));
    assert_true(spool_ack(scene.spool, 0, 59, scene.now_ns));
    assert_true(spool_ack(scene.spool, 0, 60, scene.now_ns));
    (void)spool_trim(scene.spool, scene.now_ns + 60 * NS_PER_S - 1);
    assert_int_equal(first_kept(&scene), 1);
    (void)spool_trim(scene.spool, scene.now_ns + 60 * NS_PER_S);
    assert_in_range(first_kept(&scene), 20, 50);
    scene_free(&scene);
}

static void the_window_gives_way_to_what_is_new(void **state)
{
    struct scene scene;
    struct rasad_error error;

    scene_make(&scene);
    scene_open(&scene);
    for (int i = 0; i < 2000; i++) {
        SCOPED(seen_free) struct seen seen = {.number = (uint64_t)scene.last, .last = scene.last};

        assert_int_equal(scene_push(&scene, 0, 1, 500, &error), SPOOL_DONE);
        scene_welcome(&scene, 0, (uint64_t)scene.last - 1, (uint64_t)scene.last - 1);
        scene_see(&scene, 0, &seen);
        assert_true(spool_ack(scene.spool, 0, (uint64_t)scene.last, scene.now_ns));
    }
    assert_int_equal(spool_counts(scene.spool).dropped, 0);
    assert_in_range(first_kept(&scene), 1870, 1930); /* 64 KiB of them */
    scene_free(&scene);
}

static void acks_are_noted_for_the_next_start(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 5);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    assert_true(spool_ack(scene.spool, 0, 3, 1));
    assert_false(spool_ack(scene.spool, 0, 6, 1)); /* never sent */
    scene_reopen(&scene);
    assert_int_equal(spool_counts(scene.spool).pending, 2);
    assert_int_equal(first_kept(&scene), 1); /* but they are still there */
    scene_free(&scene);
}

/* Starts that come to nothing but an ack leave notes, in a file that has no message. */
static void a_file_of_notes_is_kept(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 110); /* one full file */
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    for (uint64_t i = 1; i <= 110; i++) {
        scene_welcome(&scene, 0, 110, i);
        scene_reopen(&scene);
    }
    assert_int_equal(count_files(&scene, stream_folder), 2);
    scene_welcome(&scene, 0, 110, 110);
    spool_relieve(scene.spool, true);
    assert_int_equal(count_files(&scene, stream_folder), 1);
    scene_reopen(&scene);
    scene_take(&scene, 0, 1);
    scene_expect(&scene, 0, 110, "111");
    scene_free(&scene);
}

static void what_a_former_server_has_acknowledged_gives_way(void **state)
{
    static const char *const others[] = {OTHER};
    SCOPED(seen_free) struct seen seen = {0};
    struct scene scene;
    struct rasad_error error;

    scene_make(&scene);
    scene_open(&scene);
    scene_welcome(&scene, 0, 0, 0);
    while (scene_push(&scene, 0, 1, 500, &error) == SPOOL_DONE && scene.last < 100) {
        scene_see(&scene, 0, &seen);
        assert_true(spool_ack(scene.spool, 0, (uint64_t)scene.last, scene.now_ns));
    }
    scene_close(&scene);
    scene.options.servers = others;
    scene.options.server_count = 1;
    scene_open(&scene);
    assert_int_equal(scene_push(&scene, SPOOL_NO_SERVER, 100, 500, &error), SPOOL_DONE);
    assert_int_equal(spool_counts(scene.spool).pending, 100);
    scene_free(&scene);
}

/* ---- Full ---- */

static void a_full_spool_refuses_until_there_are_acks(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct rasad_error error;
    struct scene scene;
    int before;

    scene_make(&scene);
    scene_open(&scene);
    while (scene_push(&scene, SPOOL_NO_SERVER, 1, 500, &error) == SPOOL_DONE)
        assert_in_range(scene.last, 1, 200);
    assert_in_range(scene.last, 100, 125); /* of half a KiB */
    before = scene.last;
    assert_int_equal(scene_push(&scene, 0, 1, 500, &error), SPOOL_FULL);
    scene_drain(&scene, &seen);
    assert_int_equal(seen.count, before);
    assert_int_equal(scene_push(&scene, 0, 50, 500, &error), SPOOL_DONE);
    assert_int_equal(spool_counts(scene.spool).dropped, 0);
    scene_free(&scene);
}

static void a_full_spool_drops_its_oldest_and_counts_them(void **state)
{
    static const bool reopens[] = {false, true};

    for (size_t i = 0; i < 2; i++) {
        SCOPED(seen_free) struct seen seen = {0};
        struct rasad_error error;
        struct scene scene;
        uint64_t dropped;

        scene_make(&scene);
        scene.options.drop_oldest = true;
        scene_open(&scene);
        scene_take(&scene, 0, 1); /* sent to a server, so never dropped */
        assert_int_equal(scene_push(&scene, SPOOL_NO_SERVER, 1000, 500, &error), SPOOL_DONE);
        dropped = spool_counts(scene.spool).dropped;
        assert_int_equal(spool_counts(scene.spool).pending + dropped, 1001);
        assert_in_range(dropped, 870, 910);
        if (reopens[i])
            scene_reopen(&scene); /* the hole speaks for itself */
        scene_drain(&scene, &seen);
        assert_int_equal(seen.skipped, dropped);
        assert_int_equal(seen.count + (int)seen.skipped, 1001);
        assert_int_equal(seen.last, 1001);
        scene_free(&scene);
    }
}

static void what_is_to_be_moved_is_not_dropped_to_make_room_for_that(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene.options.drop_oldest = true;
    scene_open(&scene);
    scene_take(&scene, SPOOL_NO_SERVER, 200);
    spool_relieve(scene.spool, false); /* as the keeper does when moving has failed */
    assert_int_equal(spool_counts(scene.spool).pending, 200);
    spool_relieve(scene.spool, true); /* no space was wanting, so that wouldn't help either */
    assert_int_equal(spool_counts(scene.spool).pending, 200);
    scene_free(&scene);
}

static void what_was_dropped_before_it_came_here_is_a_hole_too(void **state)
{
    static const size_t servers[] = {0, SPOOL_NO_SERVER};

    for (size_t i = 0; i < 2; i++) {
        struct scene scene;

        scene_make(&scene);
        scene_open(&scene);
        scene_take(&scene, servers[i], 2);
        scene.lost = 7;
        scene_take(&scene, servers[i], 2);
        assert_int_equal(scene.lost, 0);
        scene_reopen(&scene);
        scene_move(&scene, 0);
        scene_expect(&scene, 0, 0, "1 2 skip:9 3 4");
        scene_free(&scene);
    }
}

static void a_server_that_does_not_follow_binds_no_more_than_its_window(void **state)
{
    struct rasad_error error;
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    assert_int_equal(scene_push(&scene, 0, 60, 500, &error), SPOOL_DONE);
    assert_in_range(spool_unacked(scene.spool, 0), 25, 45); /* a quarter of 64 KiB, and a file */
    assert_false(spool_can_move(scene.spool, 0));
    assert_true(spool_can_move(scene.spool, 1)); /* the rest is for whoever comes */
    scene_free(&scene);
}

/* Several servers that were given something and then went away leave room for the next one. */
static void servers_that_stay_away_do_not_fill_the_spool(void **state)
{
    enum { SERVERS = 8, LAST = SERVERS - 1 };
    static const char *const servers[SERVERS] = {"a:1", "b:1", "c:1", "d:1",
                                                 "e:1", "f:1", "g:1", "h:1"};
    SCOPED(seen_free) struct seen seen = {0};
    struct rasad_error error;
    struct scene scene;

    scene_make(&scene);
    scene.options.servers = servers;
    scene.options.server_count = SERVERS;
    scene_open(&scene);
    for (size_t i = 0; i < LAST; i++) {
        while (spool_can_move(scene.spool, i) && spool_move(scene.spool, i, &error) == SPOOL_DONE)
            continue;
        for (int j = 0; j < 20; j++)
            (void)scene_push(&scene, i, 1, 1000, &error);
    }
    scene_welcome(&scene, LAST, 0, 0);
    for (int j = 0; j < 100; j++) {
        (void)scene_push(&scene, LAST, 1, 1000, &error);
        if (spool_can_move(scene.spool, LAST))
            (void)spool_move(scene.spool, LAST, &error);
        scene_see(&scene, LAST, &seen);
        assert_true(spool_ack(scene.spool, LAST, seen.number, scene.now_ns));
    }
    assert_int_equal(scene_push(&scene, LAST, 1, 1000, &error), SPOOL_DONE);
    scene_free(&scene);
}

static void a_message_too_long_for_the_spool_is_known(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    assert_int_equal(spool_longest(scene.spool), 16 << 10);
    scene_free(&scene);
}

/* ---- Torn and damaged ---- */

static void a_tail_torn_at_any_byte_loses_nothing_that_was_whole(void **state)
{
    SCOPED(text_free) struct text whole = {0};
    struct scene scene;
    size_t safe;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 5);
    find_file(&scene, stream_folder, 0, path);
    whole = read_file(path);
    safe = whole.length;
    text_free(&whole);
    scene_take(&scene, 0, 3);
    scene_close(&scene);
    whole = read_file(path);
    for (size_t cut = safe; cut < whole.length; cut++) {
        SCOPED(seen_free) struct seen seen = {0};
        int there = 5 + (int)((cut - safe) / (ENTRY_HEAD_BYTES + 7));

        write_file(path, whole.at, cut);
        scene_open(&scene);
        scene.last = 100;
        scene_take(&scene, 0, 1); /* goes on right behind */
        scene_reopen(&scene);
        scene_drain(&scene, &seen);
        if (seen.count != there + 1 || seen.skipped != 0)
            fail_msg("cut at %zu: %s", cut, text_end(&seen.text));
        scene_close(&scene);
    }
    assert_true(scene_logged(&scene, "warning the spool's end was torn"));
    scene_free(&scene);
}

/* Of a torn group, later sectors may be there and earlier ones not. What is cut off must not be
 * found behind a shorter group that takes its place. */
static void what_was_cut_off_never_comes_back(void **state)
{
    SCOPED(text_free) struct text bytes = {0};
    struct scene scene;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 1);
    scene_take(&scene, 0, 6);
    scene_close(&scene);
    find_file(&scene, stream_folder, 0, path);
    bytes = read_file(path);
    bytes.at[bytes.length - 39 * 4 + 33] ^= 1; /* message 4: 5, 6 and 7 are whole */
    write_file(path, bytes.at, bytes.length);
    scene_open(&scene);
    scene.last = 8; /* as long as those */
    scene_take(&scene, 0, 1);
    scene_reopen(&scene);
    scene_expect(&scene, 0, 0, "1 2 3 9");
    scene_free(&scene);
}

/* What is done to a file. */
static void damage(struct text *bytes, size_t from)
{
    size_t left = bytes->length - from;
    size_t at = from + (left > 0 ? (size_t)rand() % left : 0), length = 1 + (size_t)rand() % 700;

    switch (rand() % 5) {
    case 0: /* cut */
        bytes->length = at;
        break;
    case 1: /* sectors that never came */
        length = at + length < bytes->length ? length : bytes->length - at;
        memset(bytes->at + at, 0, length);
        break;
    case 2: /* rubbish over it */
        for (; length > 0 && at < bytes->length; length--)
            bytes->at[at++] = (char)rand();
        break;
    case 3: /* one bit */
        if (at < bytes->length)
            bytes->at[at] ^= (char)(1 << rand() % 8);
        break;
    default: /* rubbish behind it */
        for (; length > 0; length--)
            text_add_char(bytes, (char)rand());
    }
}

/*
 * Damage behind what was taken loses nothing of it; damage anywhere loses what it hit, which is
 * counted, and gives no garbage.
 */
static void damaged_images_lose_nothing_silently(void **state)
{
    enum { IMAGES = 4000, SAFE = 20, LAST = 40 };
    SCOPED(text_free) struct text whole = {0};
    struct scene scene;
    size_t safe, start;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    find_file(&scene, stream_folder, 0, path);
    whole = read_file(path);
    start = whole.length; /* behind the head */
    text_free(&whole);
    for (int i = 0; i < SAFE; i++)
        scene_take(&scene, 0, 1);
    whole = read_file(path);
    safe = whole.length;
    text_free(&whole);
    for (int i = SAFE; i < LAST; i++)
        scene_take(&scene, 0, 1);
    scene_close(&scene);
    whole = read_file(path);
    srand(4);
    for (int i = 0; i < IMAGES; i++) {
        SCOPED(text_free) struct text image = {0};
        SCOPED(seen_free) struct seen seen = {0};
        bool behind = i % 2 == 0;

        text_add(&image, whole.at, whole.length);
        damage(&image, behind ? safe : start);
        write_file(path, image.at, image.length);
        scene_open(&scene);
        scene_drain(&scene, &seen);
        if (behind && strncmp(text_end(&seen.text),
                              "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 "
                              "19 20",
                              50) != 0)
            fail_msg("image %d: %s", i, text_end(&seen.text));
        /* The numbers of the stream are those of the messages, whatever is missing. */
        if (seen.count > 0 && (seen.last > LAST || seen.count + (int)seen.skipped != seen.last))
            fail_msg("image %d: %s", i, text_end(&seen.text));
        scene_close(&scene);
    }
    scene_free(&scene);
}

static void a_hole_in_the_middle_is_skipped_and_told(void **state)
{
    SCOPED(text_free) struct text bytes = {0};
    struct spool_hello hello;
    struct scene scene;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 8);
    scene_take(&scene, 0, 1); /* another group, so the first one was safe */
    scene_close(&scene);
    find_file(&scene, stream_folder, 0, path);
    bytes = read_file(path);
    bytes.at[bytes.length - 39 * 7 + 33] ^= 1; /* message 3 */
    bytes.at[bytes.length - 39 * 6 + 33] ^= 1;
    write_file(path, bytes.at, bytes.length);
    scene_open(&scene);
    assert_true(scene_logged(&scene, "error the spool is damaged: messages are lost"));
    assert_true(scene_logged(&scene, "messages=2\n"));
    scene_expect(&scene, 0, 0, "1 2 skip:4 5 6 7 8 9");
    assert_true(spool_hello(scene.spool, 0, &hello));
    /* The server may as well stand in the hole, or at its end. */
    scene_expect(&scene, 0, 3, "skip:4 5 6 7 8 9");
    scene_expect(&scene, 0, 4, "5 6 7 8 9");
    assert_true(scene_logged(&scene, "error the spool is damaged: messages are skipped"));
    assert_int_equal(spool_counts(scene.spool).dropped, 2);
    scene_free(&scene);
}

/* What is damaged while it waits for a server counts once it is moved. */
static void a_hole_in_the_inbox_counts_when_it_is_moved(void **state)
{
    SCOPED(text_free) struct text bytes = {0};
    struct scene scene;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, SPOOL_NO_SERVER, 8);
    find_file(&scene, INBOX, 0, path);
    bytes = read_file(path);
    bytes.at[bytes.length - 39 * 6 + 33] ^= 1; /* message 3 */
    write_file(path, bytes.at, bytes.length);
    scene_move(&scene, 0);
    scene_expect(&scene, 0, 0, "1 2 skip:3 4 5 6 7 8");
    assert_int_equal(spool_counts(scene.spool).dropped, 1);
    scene_free(&scene);
}

/* Files that are missing, or whose head is damaged. */
static void lost_files_and_heads_are_holes(void **state)
{
    enum { REMOVED, FIRST_HEAD, MIDDLE_HEAD, LAST_HEAD, ALL_HEADS };

    for (int what = REMOVED; what <= ALL_HEADS; what++) {
        SCOPED(seen_free) struct seen seen = {0};
        struct spool_hello before, after;
        struct scene scene;
        char path[512];
        int count;

        scene_make(&scene);
        scene_open(&scene);
        for (int i = 0; i < 30; i++) {
            struct rasad_error error;

            assert_int_equal(scene_push(&scene, 0, 1, 500, &error), SPOOL_DONE);
        }
        assert_true(spool_hello(scene.spool, 0, &before));
        scene_close(&scene);
        count = count_files(&scene, stream_folder);
        assert_in_range(count, 3, 6);
        for (int i = 0; i < count; i++) {
            bool hit = what == ALL_HEADS || (what == FIRST_HEAD && i == 0) ||
                       (what <= MIDDLE_HEAD && what != FIRST_HEAD && i == 1) ||
                       (what == LAST_HEAD && i == count - 1);
            SCOPED(text_free) struct text bytes = {0};

            if (!hit)
                continue;
            find_file(&scene, stream_folder, i, path);
            if (what == REMOVED) {
                assert_int_equal(unlink(path), 0);
                break;
            }
            bytes = read_file(path);
            bytes.at[20] ^= 1;
            write_file(path, bytes.at, bytes.length);
        }
        scene_open(&scene);
        assert_true(spool_hello(scene.spool, 0, &after));
        scene_drain(&scene, &seen);
        switch (what) {
        case REMOVED:
            assert_in_range(seen.skipped, 5, 10);
            assert_int_equal(seen.count + (int)seen.skipped, 30);
            break;
        case FIRST_HEAD: /* a hole in front is what `first` says */
            assert_in_range(after.first, 6, 11);
            assert_int_equal(seen.count, 31 - (int)after.first);
            assert_true(scene_logged(&scene, ".damaged"));
            break;
        case ALL_HEADS:
            assert_string_not_equal(before.stream, after.stream);
            assert_int_equal(seen.count, 0);
            break;
        default: /* it follows from the file before it */
            assert_string_equal(before.stream, after.stream);
            assert_int_equal(seen.count, 30);
        }
        scene_take(&scene, 0, 1);
        scene_expect(&scene, 0, seen.number, "31");
        scene_free(&scene);
    }
}

/* A message may hold what looks like an entry; when its own entry is damaged, that isn't found. */
static void a_message_that_looks_like_an_entry_is_never_one(void **state)
{
    const struct entry forged = {.kind = ENTRY_MESSAGE, .length = 8, .number = 2, .origin = 2};
    static const unsigned char guess[SEGMENT_STREAM_BYTES];
    SCOPED(text_free) struct text bytes = {0};
    SCOPED(text_free) struct text forgery = {0};
    struct messages messages = {0};
    struct rasad_error error;
    struct scene scene;
    char path[512];

    entries_add(&forgery, &forged, "{\"n\":66}");
    entries_seal(&forgery, guess, 1);
    messages_add(&messages, message_new(forgery.at, forgery.length));
    scene_make(&scene);
    scene_open(&scene);
    assert_int_equal(spool_take(scene.spool, 0, &messages, &scene.lost, &error), SPOOL_DONE);
    scene_take(&scene, 0, 1);
    scene_close(&scene);
    find_file(&scene, stream_folder, 0, path);
    bytes = read_file(path);
    bytes.at[bytes.length - 39 - forgery.length - 20] ^= 1;
    write_file(path, bytes.at, bytes.length);
    scene_open(&scene);
    scene_expect(&scene, 0, 0, "skip:1 1");
    scene_free(&scene);
}

static void a_newer_format_is_refused_and_left_alone(void **state)
{
    SCOPED(text_free) struct text bytes = {0};
    SCOPED(text_free) struct text after = {0};
    struct rasad_error error;
    struct scene scene;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 1);
    scene_close(&scene);
    find_file(&scene, stream_folder, 0, path);
    bytes = read_file(path);
    bytes.at[8] = 2;
    write_file(path, bytes.at, bytes.length);
    assert_false(spool_open(&scene.options, &scene.spool, &error));
    assert_non_null(strstr(error.text, "has format 2, and this rasad-agent knows 1 (install"));
    assert_non_null(strstr(error.text, path));
    after = read_file(path);
    assert_int_equal(after.length, bytes.length);
    assert_memory_equal(after.at, bytes.at, bytes.length);
    scene_free(&scene);
}

/* ---- Copies ---- */

static void a_forsaken_stream_goes_on_as_a_new_one_with_what_was_never_sent(void **state)
{
    SCOPED(seen_free) struct seen seen = {0};
    struct spool_hello before, after;
    struct rasad_error error;
    struct scene scene;
    uint32_t wrong = 1;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 4);
    scene_welcome(&scene, 0, 0, 0);
    scene_see(&scene, 0, &seen);
    assert_true(spool_ack(scene.spool, 0, 1, 1)); /* so 2, 3 and 4 may have been applied or not */
    assert_true(spool_hello(scene.spool, 0, &before));
    scene_take(&scene, 0, 2);               /* never sent */
    scene_take(&scene, SPOOL_NO_SERVER, 1); /* nor this */
    assert_false(spool_welcome(scene.spool, 0, 4, 4, &wrong, 1, &error));
    assert_false(spool_hello(scene.spool, 0, &after));
    assert_true(spool_must_renew(scene.spool));
    assert_int_equal(spool_renew(scene.spool, &error), SPOOL_DONE);
    assert_true(spool_hello(scene.spool, 0, &after));
    assert_string_not_equal(before.stream, after.stream);
    assert_int_equal(spool_counts(scene.spool).dropped, 3);
    assert_true(scene_logged(&scene, "given_up=3"));
    scene_move(&scene, 0);
    scene_expect(&scene, 0, 0, "skip:3 5 6 7");
    scene_reopen(&scene);
    scene_take(&scene, 0, 1);
    scene_expect(&scene, 0, 0, "skip:3 5 6 7 8");
    assert_int_equal(count_files(&scene, stream_folder), 1);
    scene_free(&scene);
}

/* Killed before the old stream's files were gone. */
static void of_two_generations_the_later_one_counts(void **state)
{
    SCOPED(text_free) struct text old = {0};
    struct rasad_error error;
    struct scene scene;
    uint32_t wrong = 1;
    char path[512];

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 4);
    find_file(&scene, stream_folder, 0, path);
    old = read_file(path);
    assert_false(spool_welcome(scene.spool, 0, 4, 4, &wrong, 1, &error));
    assert_int_equal(spool_renew(scene.spool, &error), SPOOL_DONE);
    scene_take(&scene, 0, 1);
    scene_close(&scene);
    write_file(path, old.at, old.length);
    scene_open(&scene);
    assert_int_equal(count_files(&scene, stream_folder), 1);
    scene_expect(&scene, 0, 0, "1 2 3 4 5"); /* the copies, since nothing was sent */
    scene_free(&scene);
}

static void a_server_that_has_applied_more_than_there_is_is_not_ours(void **state)
{
    struct rasad_error error;
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 3);
    assert_false(spool_welcome(scene.spool, 0, 4, 4, NULL, 1, &error));
    assert_string_equal(error.text, "the server has applied 4 messages of 3");
    assert_false(spool_welcome(scene.spool, 1, UINT64_MAX, 4, NULL, 1, &error));
    scene_free(&scene);
}

/* ---- Who may have it ---- */

static void a_second_agent_is_refused(void **state)
{
    struct rasad_error error;
    struct spool *second;
    struct scene scene;
    char process[32];

    scene_make(&scene);
    scene_open(&scene);
    assert_false(spool_open(&scene.options, &second, &error));
    (void)snprintf(process, sizeof process, "process %ld (", (long)getpid());
    assert_non_null(strstr(error.text, "another agent has this spool, "));
    assert_non_null(strstr(error.text, process));
    scene.options.agent = "web-2"; /* nor one of another name */
    assert_false(spool_open(&scene.options, &second, &error));
    scene.options.agent = "web-1";
    scene_reopen(&scene);
    scene_free(&scene);
}

static void what_others_left_is_kept_and_told(void **state)
{
    struct scene scene;

    scene_make(&scene);
    scene_open(&scene);
    scene_take(&scene, 0, 2);
    scene_take(&scene, SPOOL_NO_SERVER, 3);
    scene_close(&scene);
    scene.options.agent = "web-2";
    scene_open(&scene);
    assert_true(
        scene_logged(&scene, "the spool keeps messages of another name agent=web-1 messages=5"));
    assert_int_equal(spool_counts(scene.spool).pending, 0);
    scene_close(&scene);
    scene.options.agent = "web-1";
    scene.options.servers = scene_servers + 1; /* without the first */
    scene.options.server_count = 1;
    scene_open(&scene);
    assert_true(
        scene_logged(&scene, "that isn't in the conf any more server=mon-1:5050 messages=2"));
    assert_int_equal(spool_counts(scene.spool).pending, 3);
    scene_move(&scene, 0);
    scene_expect(&scene, 0, 0, "3 4 5");
    scene_close(&scene);
    scene.options.servers = scene_servers;
    scene.options.server_count = 2;
    scene_open(&scene);
    scene_expect(&scene, 0, 0, "1 2");
    scene_free(&scene);
}

static void a_folder_that_can_not_be_is_an_error(void **state)
{
    struct rasad_error error;
    struct scene scene;

    scene_make(&scene);
    scene.options.folder = "/proc/nowhere/spool";
    assert_false(spool_open(&scene.options, &scene.spool, &error));
    assert_non_null(strstr(error.text, "/proc/nowhere: cannot make the folder: "));
    scene_free(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folders_are_named_by_agent_and_server),
        cmocka_unit_test(what_was_taken_is_there_after_the_process),
        cmocka_unit_test(a_stream_goes_on_with_its_numbers_and_chain),
        cmocka_unit_test(what_waits_for_a_server_keeps_its_order),
        cmocka_unit_test(what_a_server_was_given_stays_its_own),
        cmocka_unit_test(a_move_is_not_done_twice),
        cmocka_unit_test(what_was_ever_taken_is_counted_whatever_became_of_it),
        cmocka_unit_test(a_spool_in_memory_does_the_same),
        cmocka_unit_test(acknowledged_messages_stay_for_two_acks_and_a_minute),
        cmocka_unit_test(what_goes_between_hello_and_welcome_is_told_by_the_next_hello),
        cmocka_unit_test(acks_before_a_fall_do_not_count_for_the_window),
        cmocka_unit_test(what_is_acknowledged_is_kept_for_a_week_at_most),
        cmocka_unit_test(what_was_added_behind_an_ack_waits_for_its_own),
        cmocka_unit_test(the_window_gives_way_to_what_is_new),
        cmocka_unit_test(acks_are_noted_for_the_next_start),
        cmocka_unit_test(a_file_of_notes_is_kept),
        cmocka_unit_test(what_a_former_server_has_acknowledged_gives_way),
        cmocka_unit_test(a_full_spool_refuses_until_there_are_acks),
        cmocka_unit_test(a_full_spool_drops_its_oldest_and_counts_them),
        cmocka_unit_test(what_is_to_be_moved_is_not_dropped_to_make_room_for_that),
        cmocka_unit_test(what_was_dropped_before_it_came_here_is_a_hole_too),
        cmocka_unit_test(a_server_that_does_not_follow_binds_no_more_than_its_window),
        cmocka_unit_test(servers_that_stay_away_do_not_fill_the_spool),
        cmocka_unit_test(a_message_too_long_for_the_spool_is_known),
        cmocka_unit_test(a_tail_torn_at_any_byte_loses_nothing_that_was_whole),
        cmocka_unit_test(what_was_cut_off_never_comes_back),
        cmocka_unit_test(damaged_images_lose_nothing_silently),
        cmocka_unit_test(a_hole_in_the_middle_is_skipped_and_told),
        cmocka_unit_test(a_hole_in_the_inbox_counts_when_it_is_moved),
        cmocka_unit_test(lost_files_and_heads_are_holes),
        cmocka_unit_test(a_message_that_looks_like_an_entry_is_never_one),
        cmocka_unit_test(a_newer_format_is_refused_and_left_alone),
        cmocka_unit_test(a_forsaken_stream_goes_on_as_a_new_one_with_what_was_never_sent),
        cmocka_unit_test(of_two_generations_the_later_one_counts),
        cmocka_unit_test(a_server_that_has_applied_more_than_there_is_is_not_ours),
        cmocka_unit_test(a_second_agent_is_refused),
        cmocka_unit_test(what_others_left_is_kept_and_told),
        cmocka_unit_test(a_folder_that_can_not_be_is_an_error),
    };

    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
