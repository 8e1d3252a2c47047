/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * notice: a word to the service manager (sd_notify(3)), with a descriptor that it is to keep or
 * without one. sd_notify() itself waits while the manager's queue is full, and so may stop whoever
 * calls it for as long as the manager is busy; this doesn't unless it is told to.
 * Threads: any. Memory: none.
 */
#include <stdbool.h>

/* Whether there is a service manager that can be told. */
bool notice_is_heard(void);

/* Tells it, with the descriptor unless that is -1. False if it can't be told within `wait_ms`; with
 * 0 that is at once. */
bool notice_send(const char *words, int fd, int wait_ms);
