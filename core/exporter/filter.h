/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * filter: the name[] parameters of a scrape: which families it wants.
 */
#include <stdbool.h>
#include <stddef.h>

struct filter {
    const char *const *names; /* lent */
    size_t count;             /* 0: all families */
};

/* Whether it wants the family of this name: by that name, or by that of one of its samples. */
bool filter_wants(const struct filter *filter, const char *name);

/* Whether it wants the family NAME_created, which in text 0.0.4 is one of its own beside it. */
bool filter_wants_created(const struct filter *filter, const char *name);
