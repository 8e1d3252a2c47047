/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publisher between shards and a disk that fails: when commits come, what is tried again, and
 * what is told. The shards are real ones with threads of their own, whose samples and rubbish come
 * through connections.
 */
#include "publisher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>

#include "disk_faults.h"
#include "store_scene.h"

static const struct section sections[] = {{.title = "m", .labels = {"l"}},
                                          {.title = "k", .plugin = &count_2},
                                          {.title = "o", .plugin = &other},
                                          {.title = NULL}};

enum { SHARDS = 2, PATIENCE_MS = 20000 };

struct desk {
    struct scene scene; /* of its shards only the conf and the families are used */
    struct shard_common common;
    struct shard *shards;
    struct publisher publisher;
};

static struct desk *desk_new(int64_t commit_interval_ns)
{
    struct desk *desk = calloc(1, sizeof *desk);
    struct rasad_error error;
    struct conf *conf;

    assert_non_null(desk);
    scene_begin(&desk->scene);
    desk->scene.now_ns = clock_steady_ns();
    scene_start(&desk->scene, sections, "agent", SHARDS);
    conf = &desk->scene.crossing->made->conf;
    conf->commit_interval_ns = commit_interval_ns;
    conf->state_keep_ns = 3600 * NS_PER_S;
    desk->shards = calloc(SHARDS, sizeof *desk->shards);
    desk->common = (struct shard_common){
        .conf = conf,
        .log = &silent,
        .families = &desk->scene.crossing->families,
        .shard_count = SHARDS,
        .shards = desk->shards,
        .take_cut = publisher_take_cut,
        .note = publisher_note,
        .take_cut_context = &desk->publisher,
        .series_ids = store_ids(desk->scene.store),
    };
    standstill_open(&desk->common.standstill, SHARDS);
    for (int i = 0; i < SHARDS; i++)
        assert_true(shard_open(&desk->shards[i], &desk->common, i, &error));
    assert_true(publisher_open(&desk->publisher, &desk->scene.crossing->view, &desk->common,
                               desk->scene.store, &error));
    return desk;
}

/* All run. */
static void desk_start(struct desk *desk)
{
    struct rasad_error error;

    for (int i = 0; i < SHARDS; i++)
        assert_true(shard_start(&desk->shards[i], &error));
    assert_true(publisher_start(&desk->publisher, &error));
}

static void desk_free(struct desk *desk)
{
    publisher_stop(&desk->publisher);
    shards_stop(desk->shards, SHARDS);
    shards_close_connections(desk->shards, SHARDS, "it stops");
    publisher_close(&desk->publisher);
    for (int i = 0; i < SHARDS; i++)
        shard_close(&desk->shards[i]);
    standstill_close(&desk->common.standstill);
    scene_end(&desk->scene);
    free(desk->shards);
    free(desk);
}

/* A connection to a shard; our end. */
static int dial(struct desk *desk)
{
    int ends[2];
    struct connection *connection;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    connection = connection_new(ends[1], "here", 1 << 20);
    assert_non_null(connection);
    (void)atomic_fetch_add(&desk->common.connection_count, 1);
    shard_give(&desk->shards[0], connection);
    return ends[0];
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Whether a reply with this in it comes in so many milliseconds. */
static bool hears(int fd, const char *wanted, int64_t patience_ms)
{
    char heard[4096] = "";
    size_t length = 0;
    int64_t end_ns = clock_steady_ns() + patience_ms * NS_PER_MS;

    while (strstr(heard, wanted) == NULL) {
        int64_t left_ms = (end_ns - clock_steady_ns()) / NS_PER_MS;
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (left_ms <= 0 || length == sizeof heard - 1)
            return false;
        if (poll(&polled, 1, (int)left_ms) <= 0)
            continue;
        got = recv(fd, heard + length, sizeof heard - 1 - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
        heard[length] = '\0';
    }
    return true;
}

static int dial_numbered(struct desk *desk)
{
    int fd = dial(desk);

    say(fd, "{\"@hello\":{\"agent\":\"a\",\"stream\":\"000102030405060708090a0b0c0d0e0f\"}}\n");
    assert_true(hears(fd, "\"applied\":0", PATIENCE_MS));
    return fd;
}

static void break_disk(int code)
{
    disk.code = code;
    disk.stays = true;
    atomic_store(&disk.left, 0);
}

static void wait_for_errors(struct desk *desk, uint64_t count)
{
    int64_t end_ns = clock_steady_ns() + PATIENCE_MS * NS_PER_MS;

    while (atomic_load(&desk->publisher.errors) < count) {
        assert_true(clock_steady_ns() < end_ns);
        (void)usleep(1000);
    }
}

static void wait_for_a_commit(struct desk *desk)
{
    int64_t end_ns = clock_steady_ns() + PATIENCE_MS * NS_PER_MS;

    while (atomic_load(&desk->publisher.took.sum_ns) == 0) {
        assert_true(clock_steady_ns() < end_ns);
        (void)usleep(1000);
    }
}

static size_t pending_cuts(struct desk *desk)
{
    size_t count = 0;

    publisher_pause(&desk->publisher);
    for (const struct cut *cut = desk->publisher.pending; cut != NULL; cut = cut->next)
        count++;
    publisher_resume(&desk->publisher);
    return count;
}

static void test_what_is_on_disk_is_acknowledged(void **state)
{
    struct desk *desk = desk_new(NS_PER_MS);
    int fd;

    desk_start(desk);
    fd = dial_numbered(desk);
    for (int i = 1; i <= 20; i++) {
        char ack[32];

        say(fd, i % 2 == 0 ? "{\"m\":{\"add\":1}}\n" : "{\"nobody\":1}\n");
        (void)snprintf(ack, sizeof ack, "{\"@ack\":%d}", i);
        assert_true(hears(fd, ack, PATIENCE_MS));
    }
    assert_true(store_commits(desk->scene.store) >= 20);
    (void)close(fd);
    desk_free(desk);
}

static void test_commits_keep_their_distance(void **state)
{
    struct desk *desk = desk_new(3600 * NS_PER_S);
    int fd;

    desk_start(desk);
    fd = dial_numbered(desk);
    wait_for_a_commit(desk); /* the first comes at once: that the stream is in use */
    say(fd, "{\"m\":{\"add\":1}}\n");
    assert_false(hears(fd, "@ack", 300));
    (void)close(fd);
    desk_free(desk);
}

static void test_while_the_disk_fails_nothing_piles_up_and_nobody_hears_acks(void **state)
{
    static const int codes[] = {ENOSPC, EIO};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct desk *desk = desk_new(NS_PER_MS);
        int fd;

        desk_start(desk);
        fd = dial_numbered(desk);
        say(fd, "{\"m\":{\"add\":1}}\n");
        assert_true(hears(fd, "{\"@ack\":1}", PATIENCE_MS));
        break_disk(codes[i]);
        say(fd, "{\"m\":{\"add\":1}}\n");
        wait_for_errors(desk, 6);
        assert_in_range(pending_cuts(desk), SHARDS, 2 * SHARDS); /* and once more with all */
        assert_false(hears(fd, "@ack", 1));
        disk_is_fine();
        assert_true(hears(fd, "{\"@ack\":2}", PATIENCE_MS));
        (void)close(fd);
        desk_free(desk);
    }
}

static void test_what_a_reload_left_over_is_tried_again(void **state)
{
    struct desk *desk = desk_new(NS_PER_MS);
    struct rasad_error error;
    int fd;

    desk_start(desk);
    fd = dial_numbered(desk);
    say(fd, "{\"m\":{\"add\":1}}\n");
    assert_true(hears(fd, "{\"@ack\":1}", PATIENCE_MS));
    publisher_pause(&desk->publisher);
    say(fd, "{\"m\":{\"add\":1}}\n{\"@ping\":1}\n");
    assert_true(hears(fd, "@pong", PATIENCE_MS));
    for (int i = 0; i < SHARDS; i++)
        shard_want_cut(&desk->shards[i], ++desk->publisher.ticket, false);
    (void)usleep(200000);
    break_disk(ENOSPC);
    assert_false(publisher_settle(&desk->publisher, false, &error));
    disk_is_fine();
    publisher_resume(&desk->publisher);
    assert_true(hears(fd, "{\"@ack\":2}", PATIENCE_MS));
    (void)close(fd);
    desk_free(desk);
}

static void test_rubbish_that_changes_nothing_waits_for_no_commit(void **state)
{
    static char rubbish[1 << 20];
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    struct desk *desk = desk_new(3600 * NS_PER_S);
    int fd;

    memset(rubbish, ' ', sizeof rubbish);
    memcpy(rubbish, "{\"nobody\":1}", 12);
    rubbish[sizeof rubbish - 2] = '\n';
    rubbish[sizeof rubbish - 1] = '\0';
    desk_start(desk);
    fd = dial(desk);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
    for (uint64_t bytes = 0; bytes < SHARDS_MOST_UNSETTLED; bytes += sizeof rubbish) {
        size_t sent = 0;

        while (sent < sizeof rubbish - 1) {
            ssize_t got = send(fd, rubbish + sent, sizeof rubbish - 1 - sent, MSG_NOSIGNAL);

            assert_true(got > 0);
            sent += (size_t)got;
        }
    }
    say(fd, "{\"@ping\":1}\n");
    assert_true(hears(fd, "@pong", PATIENCE_MS));
    (void)close(fd);
    desk_free(desk);
}

static void test_the_last_commit_brings_all_to_a_disk_that_had_failed(void **state)
{
    struct desk *desk = desk_new(NS_PER_MS);
    struct rasad_error error;
    int fd;

    desk_start(desk);
    fd = dial_numbered(desk);
    say(fd, "{\"m\":{\"add\":1}}\n");
    assert_true(hears(fd, "{\"@ack\":1}", PATIENCE_MS));
    break_disk(EIO);
    say(fd, "{\"m\":{\"add\":1}}\n{\"k\":{\"add\":1}}\n{\"@ping\":1}\n");
    assert_true(hears(fd, "@pong", PATIENCE_MS));
    wait_for_errors(desk, 1);
    publisher_stop(&desk->publisher);
    shards_stop(desk->shards, SHARDS);
    disk_is_fine();
    publisher_pause(&desk->publisher); /* as server.c has it */
    publisher_prepare_settle(&desk->publisher);
    for (int i = 0; i < SHARDS; i++)
        publisher_take_cut(&desk->publisher, i, shard_cut(&desk->shards[i]),
                           desk->publisher.ticket);
    if (!publisher_settle(&desk->publisher, false, &error))
        fail_msg("%s", error.text);
    publisher_resume(&desk->publisher);
    shards_close_connections(desk->shards, SHARDS, "it stops");
    assert_true(hears(fd, "{\"@ack\":3}", PATIENCE_MS));
    (void)close(fd);
    desk_free(desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_on_disk_is_acknowledged),
        cmocka_unit_test(test_commits_keep_their_distance),
        cmocka_unit_test(test_while_the_disk_fails_nothing_piles_up_and_nobody_hears_acks),
        cmocka_unit_test(test_what_a_reload_left_over_is_tried_again),
        cmocka_unit_test(test_rubbish_that_changes_nothing_waits_for_no_commit),
        cmocka_unit_test(test_the_last_commit_brings_all_to_a_disk_that_had_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
