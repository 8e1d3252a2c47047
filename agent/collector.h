/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * collector: a shared object that measures something on this host, loaded and found complete. What
 * a collector is, rasad/collector.h tells.
 * Threads: all from one.
 */
#include <rasad/collector.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/module.h"

struct collector {
    struct module module;
    struct rasad_collector api; /* the collector's own struct, zero where it is an older one */
    void *state;                /* owned; NULL if it has none */
};

/*
 * Loads NAME.so from the first folder that has it, with a fresh state. If none has it:
 * `unknown collector "memroy" (did you mean "memory"?)`. To be ended with collector_close().
 */
bool collector_open(const char *const *folders, size_t folder_count, const char *name,
                    struct collector **out, struct rasad_error *error);

void collector_close(struct collector *collector);

/* For SCOPED. */
void collector_close_at(struct collector **collector);

/* Row `i` of the table of keys, whole even if the collector was made for a smaller row. */
struct rasad_key collector_key(const struct collector *collector, size_t i);

/* Whether the collector says that it sends this key. */
bool collector_sends(const struct collector *collector, const char *key);
