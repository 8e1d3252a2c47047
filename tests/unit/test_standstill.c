/* SPDX-License-Identifier: Apache-2.0 */
/* Standstills of threads that take batches as shards do: each waits for its bell and works. */
#include "reload/standstill.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

enum { WORKERS = 4, ROUNDS = 1000 };

/* A thread of the test's; what it counts is no atomic, so that a race is one. */
struct worker {
    struct crowd *crowd;
    int index;
    pthread_t thread;
    sem_t bell;
    uint64_t batches;
    uint64_t tasks;   /* done on its own thread */
    bool is_ignorant; /* it doesn't look whether a standstill is wanted */
    sem_t ignored;    /* so often it would have come */
};

struct crowd {
    struct standstill standstill;
    struct worker workers[WORKERS];
    _Atomic bool stopping;
    int fails; /* the shard that can't do its task; -1: none */
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct crowd *crowd = worker->crowd;

    while (!atomic_load(&crowd->stopping)) {
        while (sem_wait(&worker->bell) != 0)
            continue;
        worker->batches++;
        if (!standstill_is_wanted(&crowd->standstill))
            continue;
        if (worker->is_ignorant)
            (void)sem_post(&worker->ignored);
        else
            standstill_join(&crowd->standstill, worker->index);
    }
    return NULL;
}

static void ring(struct crowd *crowd)
{
    for (int i = 0; i < WORKERS; i++)
        (void)sem_post(&crowd->workers[i].bell);
}

static void crowd_start(struct crowd *crowd)
{
    *crowd = (struct crowd){.fails = -1};
    standstill_open(&crowd->standstill, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &crowd->workers[i];

        worker->crowd = crowd;
        worker->index = i;
        (void)sem_init(&worker->bell, 0, 0);
        (void)sem_init(&worker->ignored, 0, 0);
        assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
    }
}

static void crowd_stop(struct crowd *crowd)
{
    atomic_store(&crowd->stopping, true);
    ring(crowd);
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(crowd->workers[i].thread, NULL);
        (void)sem_destroy(&crowd->workers[i].bell);
        (void)sem_destroy(&crowd->workers[i].ignored);
    }
    standstill_close(&crowd->standstill);
}

static bool begin(struct crowd *crowd)
{
    standstill_want(&crowd->standstill);
    ring(crowd);
    return standstill_begin(&crowd->standstill, clock_steady_ns() + 60 * NS_PER_S);
}

static bool task(void *context, int shard)
{
    struct crowd *crowd = context;
    struct worker *worker = &crowd->workers[shard];

    if (!pthread_equal(pthread_self(), worker->thread) || shard == crowd->fails)
        return false;
    worker->tasks++;
    return true;
}

static void assert_tasks(const struct crowd *crowd, uint64_t each)
{
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(crowd->workers[i].tasks, each);
}

static uint64_t sum_batches(const struct crowd *crowd)
{
    uint64_t sum = 0;

    for (int i = 0; i < WORKERS; i++)
        sum += crowd->workers[i].batches;
    return sum;
}

static void test_all_come_and_each_does_its_task_on_its_own_thread(void **state)
{
    struct crowd crowd;

    crowd_start(&crowd);
    assert_true(begin(&crowd));
    assert_tasks(&crowd, 0);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_true(standstill_run(&crowd.standstill, task, &crowd));
        assert_tasks(&crowd, i);
    }
    standstill_end(&crowd.standstill);
    assert_false(standstill_is_wanted(&crowd.standstill));
    crowd_stop(&crowd);
}

static void test_nobody_works_until_the_end_however_the_bell_rings(void **state)
{
    struct crowd crowd;
    uint64_t before;

    crowd_start(&crowd);
    assert_true(begin(&crowd));
    before = sum_batches(&crowd);
    for (int i = 0; i < 100; i++) {
        ring(&crowd);
        assert_true(standstill_run(&crowd.standstill, task, &crowd));
        assert_int_equal(sum_batches(&crowd), before);
    }
    standstill_end(&crowd.standstill);
    crowd_stop(&crowd);
    assert_true(sum_batches(&crowd) > before);
}

static void test_one_that_cannot_is_told_and_the_others_have_done_it(void **state)
{
    struct crowd crowd;

    crowd_start(&crowd);
    assert_true(begin(&crowd));
    crowd.fails = 2;
    assert_false(standstill_run(&crowd.standstill, task, &crowd));
    assert_int_equal(crowd.workers[2].tasks, 0);
    assert_int_equal(crowd.workers[0].tasks + crowd.workers[1].tasks + crowd.workers[3].tasks, 3);
    crowd.fails = -1;
    assert_true(standstill_run(&crowd.standstill, task, &crowd)); /* a failure is of its run only */
    standstill_end(&crowd.standstill);
    crowd_stop(&crowd);
}

static void test_one_that_is_late_makes_it_fail_and_harms_nothing(void **state)
{
    struct crowd crowd;
    struct worker *late = &crowd.workers[1];

    crowd_start(&crowd);
    assert_true(begin(&crowd)); /* all stand still, so that this may be changed */
    late->is_ignorant = true;
    standstill_end(&crowd.standstill);
    standstill_want(&crowd.standstill);
    ring(&crowd);
    while (sem_wait(&late->ignored) != 0)
        continue;
    assert_false(standstill_begin(&crowd.standstill, clock_steady_ns() + NS_PER_S / 100));
    assert_false(standstill_is_wanted(&crowd.standstill));
    standstill_join(&crowd.standstill, 1); /* it comes when all is over, and may go on at once */
    assert_false(standstill_begin(&crowd.standstill, 0)); /* and was not counted as there */
    assert_tasks(&crowd, 0);
    crowd_stop(&crowd);
    assert_int_equal(crowd.standstill.there, 0);
}

static void test_a_thousand_in_a_row_lose_nobody(void **state)
{
    struct crowd crowd;

    crowd_start(&crowd);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        assert_true(begin(&crowd));
        assert_true(standstill_run(&crowd.standstill, task, &crowd));
        assert_tasks(&crowd, i);
        standstill_end(&crowd.standstill);
    }
    crowd_stop(&crowd);
}

static void test_those_that_fail_and_those_that_do_not_alternate(void **state)
{
    struct crowd crowd;
    uint64_t done = 0;

    crowd_start(&crowd);
    for (int i = 0; i < ROUNDS; i++) {
        standstill_want(&crowd.standstill);
        ring(&crowd);
        /* At a deadline that is over only those can be there who were quick. */
        if (!standstill_begin(&crowd.standstill,
                              i % 2 == 0 ? 0 : clock_steady_ns() + 60 * NS_PER_S)) {
            assert_int_equal(i % 2, 0);
            continue;
        }
        assert_true(standstill_run(&crowd.standstill, task, &crowd));
        done++;
        assert_tasks(&crowd, done);
        standstill_end(&crowd.standstill);
    }
    assert_true(done >= ROUNDS / 2);
    crowd_stop(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_come_and_each_does_its_task_on_its_own_thread),
        cmocka_unit_test(test_nobody_works_until_the_end_however_the_bell_rings),
        cmocka_unit_test(test_one_that_cannot_is_told_and_the_others_have_done_it),
        cmocka_unit_test(test_one_that_is_late_makes_it_fail_and_harms_nothing),
        cmocka_unit_test(test_a_thousand_in_a_row_lose_nobody),
        cmocka_unit_test(test_those_that_fail_and_those_that_do_not_alternate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
