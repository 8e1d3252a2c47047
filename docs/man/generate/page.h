/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * page: a manual page made of a template and of option tables, so that the manual of a conf can't
 * differ from what its schema checks. For programs of the build, not installed.
 *
 * A template is a page in the man macros in which a line `.\" TABLE NAME` stands for the part of
 * that name. The same input gives the same page to the byte.
 * Threads: one. Memory: a part's text is owned by whoever made it.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_schema.h"
#include "base/error.h"
#include "base/text.h"

struct page_part {
    const char *name;
    struct text text;
};

/* Fits SCOPED. */
void page_part_free(struct page_part *part);

/* Adds an entry for each option: how it is written, its help, its bounds and its preset. */
bool page_add_options(struct text *out, const struct rasad_option *options, size_t count,
                      struct rasad_error *error);

/* The same for a section of this name. */
bool page_add_section(struct text *out, const struct conf_section *schema, const char *name,
                      struct rasad_error *error);

/* Adds a running text as roff would have it, sentences in lines of their own, with a full stop at
 * its end and a line feed. */
void page_add_prose(struct text *out, const char *prose);

/* Puts every part into its place, once each, and writes the page. */
bool page_write(const char *template_path, const char *page_path, const struct page_part *parts,
                size_t count, struct rasad_error *error);
