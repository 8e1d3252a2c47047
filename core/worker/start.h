/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * start: what a worker that tries a plugin begins with: limits, so that a plugin gone wild harms
 * the machine no more than the server; the plugin itself; and the words to whoever started the
 * worker (probe.h has their grammar).
 * Threads: one.
 */
#include <stdbool.h>

#include "plugin.h"

/* Limits this process for good: no core file, few descriptors, so much processor time, and (unless
 * a sanitizer needs its address space) little memory. It ends with the thread that started it. */
void start_limit(unsigned cpu_s);

/* Says a line to whoever started the worker. */
__attribute__((format(printf, 1, 2))) void start_say(const char *format, ...);

/* The plugin at the descriptor, loaded; to be ended with start_unload(). On NULL it has said why
 * not. From then on the process dies of its signals, whatever handled them before. */
struct plugin *start_load(int fd, const char *path, const char *name);

/* Ends it. */
void start_unload(struct plugin *plugin);
