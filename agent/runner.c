/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <stdlib.h>

#include "base/clock.h"

#define SECOND_CALL_NS (500 * NS_PER_MS)

bool runner_add(struct runner *runner, struct collector *collector, int64_t interval_ns,
                struct rasad_error *error)
{
    struct runner_task *grown =
        reallocarray(runner->tasks, runner->task_count + 1, sizeof *runner->tasks);

    if (grown == NULL)
        return rasad_fail_memory(error);
    runner->tasks = grown;
    grown[runner->task_count++] = (struct runner_task){
        .collector = collector,
        .interval_ns = interval_ns > 0 ? interval_ns : collector->api.interval_ns,
    };
    return true;
}

int64_t runner_due_ns(const struct runner *runner)
{
    int64_t first_ns = INT64_MAX;

    for (size_t i = 0; i < runner->task_count; i++) {
        if (runner->tasks[i].due_ns < first_ns)
            first_ns = runner->tasks[i].due_ns;
    }
    return first_ns;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(struct runner *runner)
{
    uint64_t z = runner->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void sink_push(void *user, const char *bytes, size_t length)
{
    const struct runner *runner = user;

    runner->sink.push(runner->sink.user, bytes, length);
}

static void sink_ping(void *user)
{
    const struct runner *runner = user;

    runner->sink.ping(runner->sink.user, runner->current);
}

/* Readies the output for a call of the current task. */
static void begin(struct runner *runner, const struct sink *sink, int64_t now_ns)
{
    output_begin(&runner->output, runner->tasks[runner->current].collector, sink, runner->proc,
                 now_ns, next_random(runner));
}

/* Sends what the current task left, and says what went wrong: once, until it goes well again. */
static void end(struct runner *runner, bool fine)
{
    struct runner_task *task = &runner->tasks[runner->current];
    const char *name = task->collector->api.name;

    if (!output_end(&runner->output))
        log_error(runner->log, "out of memory: samples are lost", log_text("collector", name));
    if (runner->output.undeclared && !task->undeclared)
        log_error(runner->log, "collector sends a key that it doesn't declare",
                  log_text("collector", name));
    task->undeclared = task->undeclared || runner->output.undeclared;
    if (!fine && !task->complained)
        log_warning(runner->log, "collector fails", log_text("collector", name),
                    log_text("reason", runner->output.base.error));
    if (fine && task->complained)
        log_info(runner->log, "collector works again", log_text("collector", name));
    task->complained = !fine;
}

static void run_task(struct runner *runner, size_t i, int64_t now_ns)
{
    const struct sink sink = {.user = runner, .push = sink_push, .ping = sink_ping};
    struct runner_task *task = &runner->tasks[i];
    int64_t step_ns = task->interval_ns;

    if (!task->primed) {
        task->due_ns = now_ns;
        if (step_ns > SECOND_CALL_NS)
            step_ns = SECOND_CALL_NS;
    }
    task->primed = true;
    runner->current = i;
    begin(runner, &sink, now_ns);
    end(runner, task->collector->api.collect(task->collector->state, &runner->output.base));
    task->due_ns += step_ns;
    if (task->due_ns <= now_ns) /* late by more than one */
        task->due_ns = now_ns + task->interval_ns;
}

void runner_run(struct runner *runner, int64_t now_ns)
{
    for (size_t i = 0; i < runner->task_count; i++) {
        if (runner->tasks[i].due_ns <= now_ns)
            run_task(runner, i, now_ns);
    }
}

void runner_pong(struct runner *runner, uint64_t token, int64_t rtt_ns, int64_t now_ns)
{
    const struct sink sink = {.user = runner, .push = sink_push, .ping = sink_ping};
    struct runner_task *task;

    if (token >= runner->task_count || runner->tasks[token].collector->api.pong == NULL)
        return;
    task = &runner->tasks[token];
    runner->current = token;
    begin(runner, &sink, now_ns);
    task->collector->api.pong(task->collector->state, rtt_ns, &runner->output.base);
    end(runner, !task->complained); /* a pong says nothing of how collect() does */
}

void runner_free(struct runner *runner)
{
    for (size_t i = 0; i < runner->task_count; i++)
        collector_close(runner->tasks[i].collector);
    free(runner->tasks);
    output_free(&runner->output);
    runner->tasks = NULL;
    runner->task_count = 0;
}
