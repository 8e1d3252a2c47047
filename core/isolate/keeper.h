/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * keeper: the main process of an isolated metric's worker, as the server sees it. It is started
 * with posix_spawn, loads and configures the plugin once, and from then on only forks: a *hand* for
 * each lane that asks, which is what runs the plugin's code, sandboxed. So a hand that died is
 * replaced by a fork of a small process. A keeper that died is started again when it is needed. It
 * ends with the server, however that ends: their socket tells it. Threads: any; a lock lets one ask
 * at a time. Memory: owns copies of what it is told.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"

/* How long the plugin may take to be loaded and configured, and a hand to come. */
#define KEEPER_PATIENCE_NS (INT64_C(10) * 1000000000)

/* How long the process may take to fork or to wait for a hand, which is nothing but that: a shard
 * stands still meanwhile. */
#define KEEPER_REPLY_NS (INT64_C(2) * 1000000000)

struct keeper {
    pthread_mutex_t lock; /* on all that follows */
    int plugin;           /* the plugin's private copy; owned */
    char *name;           /* the plugin's */
    char *path;           /* where it was found, for messages */
    char *section;        /* of the conf */
    int link;             /* to the process; -1: there is none */
    int process;          /* its pidfd */
    pid_t pid;
    int64_t rest_until_ns; /* steady: it could not be started, and isn't tried before */
    struct text fresh;     /* a fresh state, as the first process gave it */
};

/* A process that runs the plugin's code for one lane. */
struct hand {
    pid_t pid;
    int process; /* pidfd; -1: there is none */
};

/*
 * Starts the process, which loads and configures the plugin, and learns what a fresh state is:
 * keeper->fresh. The descriptor is copied. On false the error says what the plugin or its
 * configure() had to say. To be ended with keeper_close(), even on false.
 */
bool keeper_open(struct keeper *keeper, int plugin, const char *name, const char *path,
                 const char *section, struct rasad_error *error);

/* Ends the process, and with it its hands. */
void keeper_close(struct keeper *keeper);

/* Has it start a hand for this lane on this memory. */
bool keeper_start_hand(struct keeper *keeper, uint32_t lane, int memory, size_t request_bytes,
                       size_t answer_bytes, struct hand *hand, struct rasad_error *error);

/* Kills the hand and says how it ended, as wait(2) has it; -1 if nobody knows. */
int keeper_end_hand(struct keeper *keeper, struct hand *hand);

/*
 * Starts a worker's process with this verb and its arguments (a list that ends with NULL), the
 * plugin at descriptor WORKER_PLUGIN and one end of a new socket at WORKER_LINK; nothing else is
 * inherited but where messages of sanitizers go. `*link` is the other end.
 */
bool keeper_spawn(const char *verb, const char *name, const char *path, int plugin, int *link,
                  int *process, pid_t *pid, struct rasad_error *error);

/* Waits for the process until then (steady nanoseconds), kills it if it is late, and takes it out
 * of the table of processes. How it ended, as wait(2) has it; -1 if nobody knows. */
int keeper_reap(int process, int64_t deadline_ns);

/* "it was ended by SIGSEGV", "it ended with status 1": how a process ended, for people. */
void keeper_say_end(int status, char text[64]);
