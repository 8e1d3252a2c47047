/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_schema: what a conf file may hold, as tables, and from these tables the checks; the values
 * (conf_values.h) and the effective conf (conf_show.h) come from the same ones. A row of a table is
 * a struct rasad_option, the same that a plugin declares its options with, so whatever is true of a
 * plugin's option is true of the main file's: the row names the member of a struct where the value
 * lands, its type, its preset and bounds.
 *
 *   struct agent_conf { struct rasad_texts server; const char *name; int64_t interval; };
 *   static const struct rasad_option rows[] = {
 *       RASAD_OPTION_TEXTS(struct agent_conf, server, .preset = "", .help = "…"),
 *       RASAD_OPTION_TEXT(struct agent_conf, name, .preset = "", .help = "…"),
 *       RASAD_OPTION_DURATION(struct agent_conf, interval, .preset = "1s", .min = "10ms", …),
 *   };
 *   static const struct conf_section sections[] = {
 *       {.name = "collector", .is_titled = true, .options = collector_rows, .option_count = 2},
 *   };
 *   static const struct conf_section schema = {
 *       .options = rows, .option_count = 3, .sections = sections, .section_count = 1};
 *
 *   SCOPED(conf_tree_free) struct conf_tree tree = {0};
 *   conf_scan(path, &tree);
 *   conf_check(&tree, &schema);                  complains of all that the tables can tell
 *   ...                                          own checks, with conf_complain()
 *   if (!conf_tree_ok(&tree)) { conf_tree_report(&tree, report); return false; }
 *   conf_fill(&tree, &tree.root, rows, 3, &agent_conf)      and for each child section:
 *   for (i < tree.root.child_count) if (strcmp(child->name, "collector") == 0) …
 *       conf_fill(&tree, child, collector_rows, 2, &collector)        title: child->title
 *   ...
 *   conf_empty(rows, 3, &agent_conf);            frees what conf_fill() allocated
 *
 * conf_fill() reads each value with libconfuse out of the bytes in memory that were scanned.
 * Rules beyond rasad/plugin.h: a preset of NULL makes the option a must; a duration whose `min` is
 * "never" may be "never", which is 0; a list may be written as one value without braces.
 * Threads: libconfuse has global state, so all of it from one thread at a time.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/conf_scan.h"

/* What a section may hold; the root is one without a name. */
struct conf_section {
    const char *name;
    bool is_titled; /* it must have a title, unlike all others of its name; else it is there once */
    bool is_deferred; /* its options are not checked here, but by the caller's conf_check_options()
                       */
    const struct rasad_option *options;
    size_t option_count;
    const struct conf_section *sections;
    size_t section_count;
};

/* Complains of everything in the tree that the schema doesn't allow. */
void conf_check(struct conf_tree *tree, const struct conf_section *schema);

/* The same for the options of one section. `others`: unknown options pass, since who knows them
 * could not be found out. */
void conf_check_options(struct conf_tree *tree, const struct conf_statement *section,
                        const struct rasad_option *options, size_t count, bool others);
