/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * family_index: the ways to a metric family under one conf: by its exported name, by a plain title,
 * and whether a name is free beside those that other families' samples have. Inside of family.
 * Threads: as family says. Memory: an index owns its entries; families and conf are lent.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "conf/conf.h"
#include "table.h"

/* Room for a family name made of the longest key, with its NUL. */
#define MAX_FAMILY_NAME 4096

struct family;

struct family_index {
    const struct conf *conf;
    struct table names; /* by exported name */
    struct table keys;  /* plain titles */
    size_t *made;       /* families of each section */
};

/* An empty one; false if there is no memory. To be ended with family_index_free(), even then. */
bool family_index_open(struct family_index *index, const struct conf *conf);
void family_index_free(struct family_index *index);

/* The family of this plain title, whose hash_bytes() is `hash`; NULL if there is none. */
struct family *family_index_key(const struct family_index *index, const char *key, size_t length,
                                uint32_t hash);

/* The family of this name; NULL if there is none. */
struct family *family_index_name(const struct family_index *index, const char *name);

/* Whether a family of this kind may be called `name`: no samples would have the name of another
 * family's. */
bool family_index_is_free(const struct family_index *index, const char *name, uint32_t kind);

/* Enters a family of this section under its name; fails if the name is taken. */
bool family_index_add_name(struct family_index *index, const char *name, struct family *family,
                           const struct conf_metric *metric, struct rasad_error *error);

/* Enters a plain title. */
bool family_index_add_key(struct family_index *index, const char *key, struct family *family,
                          struct rasad_error *error);
