/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_values: what a conf says, put into structs by the rows of a schema's tables, each value read
 * by libconfuse out of the bytes in memory that were scanned. How to use it, conf_schema.h tells.
 * Threads: libconfuse has global state, so all of it from one thread at a time.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_scan.h"

/*
 * Puts the section's values, or else presets, at the rows' offsets in the struct at `into`, which
 * was zeroed before. A section of NULL gives presets only. Texts and lists are allocated; whatever
 * it returns, conf_empty() frees them. On false it has complained, or tree->failed is set.
 */
bool conf_fill(struct conf_tree *tree, const struct conf_statement *section,
               const struct rasad_option *options, size_t count, void *into);

/* Frees the texts and lists of a struct that conf_fill() filled. */
void conf_empty(const struct rasad_option *options, size_t count, void *filled);

/* Whether presets and bounds of the rows can be read at all; for tables that aren't ours. */
bool conf_check_rows(const struct rasad_option *options, size_t count, struct rasad_error *error);
