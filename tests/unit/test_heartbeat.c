/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "crash.h"
#include "heartbeat.h"

#define SHARDS 2

/* Shards that are nothing but a pulse, and a service manager who listens. */
struct scene {
    struct shard shards[SHARDS];
    struct shard_common common;
    struct view view;
    _Atomic uint64_t lost_lines;
    struct log log;
    struct crash_place place;
    int socket;
    char folder[32], path[64];
};

static void begin(struct scene *scene)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(scene, 0, sizeof *scene);
    scene->log = log_make(-1, &scene->lost_lines);
    scene->common.log = &scene->log;
    scene->common.shards = scene->shards;
    scene->common.shard_count = SHARDS;
    view_open(&scene->view);
    standstill_open(&scene->common.standstill, SHARDS);
    scene->place = (struct crash_place){.plugin = "peak", .family = "rtt"};
    for (int i = 0; i < SHARDS; i++) {
        scene->shards[i].bell = -1;
        scene->shards[i].place = &scene->place;
    }
    (void)strcpy(scene->folder, "/tmp/rasad-beats-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    (void)snprintf(scene->path, sizeof scene->path, "%s/notify", scene->folder);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", scene->path);
    scene->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(scene->socket, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", scene->path, 1), 0);
}

static void end(struct scene *scene)
{
    view_close(&scene->view);
    standstill_close(&scene->common.standstill);
    (void)close(scene->socket);
    (void)unlink(scene->path);
    (void)rmdir(scene->folder);
    (void)unsetenv("NOTIFY_SOCKET");
}

/* Lets these shards come by and turns the heart; whether it beat. */
static bool turn(struct scene *scene, struct heartbeat *heartbeat, int64_t now_s, bool first,
                 bool second)
{
    char words[64];
    ssize_t length;

    scene->shards[0].pulse += first;
    scene->shards[1].pulse += second;
    heartbeat_turn(heartbeat, &scene->common, now_s * NS_PER_S);
    length = recv(scene->socket, words, sizeof words, 0);
    if (length < 0)
        return false;
    assert_int_equal(length, strlen("WATCHDOG=1"));
    assert_memory_equal(words, "WATCHDOG=1", length);
    return true;
}

static void it_beats_while_all_shards_come_by(void **state)
{
    struct scene scene;
    struct heartbeat heartbeat = heartbeat_make(&scene.view, 10 * NS_PER_S, 0);

    begin(&scene);
    assert_false(turn(&scene, &heartbeat, 9, true, true)); /* it isn't time */
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 9 * NS_PER_S), 1001);
    assert_true(turn(&scene, &heartbeat, 10, false, false)); /* they came before */
    assert_true(turn(&scene, &heartbeat, 20, true, true));
    assert_null(crash_place.plugin);
    assert_false(turn(&scene, &heartbeat, 30, true, false)); /* one hangs */
    assert_string_equal(crash_place.plugin, "peak");
    assert_true(crash_place.hangs);
    assert_false(turn(&scene, &heartbeat, 40, true, false));
    assert_true(turn(&scene, &heartbeat, 50, true, true)); /* not for ever */
    assert_null(crash_place.plugin);
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 61 * NS_PER_S), 0);
    end(&scene);
}

/* A beat that was left out must not cost the whole deadline, of which it has used up a part. */
static void who_has_come_by_again_is_told_of_soon(void **state)
{
    struct scene scene;
    struct heartbeat heartbeat = heartbeat_make(&scene.view, 20 * NS_PER_S, 0);
    struct heartbeat brief = heartbeat_make(&scene.view, NS_PER_S / 2, 0);

    begin(&scene);
    assert_true(turn(&scene, &heartbeat, 20, true, true));
    assert_false(turn(&scene, &heartbeat, 40, true, false));
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 40 * NS_PER_S), 2501);
    assert_false(turn(&scene, &heartbeat, 42, true, true));
    assert_true(turn(&scene, &heartbeat, 43, true, true));
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 43 * NS_PER_S), 20001);
    /* A shard comes by twice a second, so a look that comes sooner would tell nothing. */
    heartbeat = heartbeat_make(&scene.view, 4 * NS_PER_S, 0);
    assert_false(turn(&scene, &heartbeat, 4, true, false));
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 4 * NS_PER_S), 1001);
    assert_false(turn(&scene, &brief, 1, true, false));
    assert_int_equal(heartbeat_wait_ms(&brief, NS_PER_S), 501); /* never later than it was due */
    end(&scene);
}

/* Until the manager's queue is full; returns how many words it holds. */
static int fill(const struct scene *scene)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), count = 0;

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", scene->path);
    while (sendto(from, "X=1", 3, 0, (struct sockaddr *)&address, sizeof address) == 3)
        count++;
    (void)close(from);
    return count;
}

static void what_the_manager_did_not_hear_is_said_again_soon(void **state)
{
    struct scene scene;
    struct heartbeat heartbeat = heartbeat_make(&scene.view, 4 * NS_PER_S, 0);
    char words[64];

    begin(&scene);
    for (int count = fill(&scene), i = 0; i < 2; i++) { /* as long as it takes */
        scene.shards[0].pulse++;
        scene.shards[1].pulse++;
        heartbeat_turn(&heartbeat, &scene.common, (4 + i) * NS_PER_S);
        assert_int_equal(heartbeat_wait_ms(&heartbeat, (4 + i) * NS_PER_S), 501);
        assert_false(heartbeat.is_missing);
        for (; i == 1 && count > 0; count--)
            assert_int_equal(recv(scene.socket, words, sizeof words, 0), 3);
    }
    /* They were well when they were looked at: that is what it says. */
    assert_true(turn(&scene, &heartbeat, 6, false, false));
    assert_int_equal(heartbeat_wait_ms(&heartbeat, 6 * NS_PER_S), 4001);
    end(&scene);
}

static void shards_may_stand_still_for_a_minute(void **state)
{
    struct scene scene;
    struct heartbeat heartbeat = heartbeat_make(&scene.view, 10 * NS_PER_S, 0);

    begin(&scene);
    assert_true(turn(&scene, &heartbeat, 10, true, true));
    for (int round = 0; round < 2; round++) { /* each time anew */
        int64_t start_s = 20 + 100 * round;

        standstill_want(&scene.common.standstill);
        for (int64_t s = 0; s < 60; s += 10)
            assert_true(turn(&scene, &heartbeat, start_s + s, false, false));
        assert_false(turn(&scene, &heartbeat, start_s + 60, false, false));
        standstill_end(&scene.common.standstill);
        assert_true(turn(&scene, &heartbeat, start_s + 70, true, true));
    }
    end(&scene);
}

/* A scrape that a plugin holds up, until it is let go. */
struct reader {
    struct view *view;
    sem_t begun, over;
};

static void *read_view(void *argument)
{
    struct reader *reader = argument;

    view_begin(reader->view);
    crash_enter("tally", "T");
    (void)sem_post(&reader->begun);
    (void)sem_wait(&reader->over);
    crash_leave();
    view_end(reader->view);
    return NULL;
}

static void *shut_view(void *argument)
{
    view_shut(argument);
    view_end(argument);
    return NULL;
}

static void a_scrape_that_does_not_end_is_a_hang(void **state)
{
    struct reader reader;
    struct scene scene;
    struct heartbeat heartbeat;
    pthread_t threads[2];
    int64_t now_s;

    begin(&scene);
    heartbeat = heartbeat_make(&scene.view, 10 * NS_PER_S, 0);
    reader.view = &scene.view;
    (void)sem_init(&reader.begun, 0, 0);
    (void)sem_init(&reader.over, 0, 0);
    assert_int_equal(pthread_create(&threads[0], NULL, read_view, &reader), 0);
    (void)sem_wait(&reader.begun);
    now_s = clock_steady_ns() / NS_PER_S;
    assert_true(turn(&scene, &heartbeat, now_s + 100, true, true)); /* nobody waits for it */
    assert_int_equal(pthread_create(&threads[1], NULL, shut_view, &scene.view), 0);
    while (atomic_load(&scene.view.wanted_ns) == 0)
        (void)sched_yield();
    now_s = clock_steady_ns() / NS_PER_S;
    heartbeat.next_ns = 0;
    assert_true(turn(&scene, &heartbeat, now_s + 29, true, true)); /* it may be a large one */
    assert_null(crash_place.plugin);
    assert_false(turn(&scene, &heartbeat, now_s + 40, true, true));
    assert_string_equal(crash_place.plugin, "tally");
    assert_true(crash_place.hangs);
    (void)sem_post(&reader.over);
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    assert_true(turn(&scene, &heartbeat, now_s + 50, true, true));
    assert_null(crash_place.plugin);
    (void)sem_destroy(&reader.begun);
    (void)sem_destroy(&reader.over);
    end(&scene);
}

static void who_is_not_asked_says_nothing(void **state)
{
    struct scene scene;
    struct heartbeat heartbeat = heartbeat_make(&scene.view, 0, 0);

    begin(&scene);
    assert_int_equal(heartbeat_wait_ms(&heartbeat, NS_PER_S), -1);
    assert_false(turn(&scene, &heartbeat, 100, true, true));
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_beats_while_all_shards_come_by),
        cmocka_unit_test(who_has_come_by_again_is_told_of_soon),
        cmocka_unit_test(what_the_manager_did_not_hear_is_said_again_soon),
        cmocka_unit_test(shards_may_stand_still_for_a_minute),
        cmocka_unit_test(a_scrape_that_does_not_end_is_a_hang),
        cmocka_unit_test(who_is_not_asked_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
