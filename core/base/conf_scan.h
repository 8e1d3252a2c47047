/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * conf_scan: a conf file in libconfuse's syntax, and all that it includes, as a tree of statements
 * that know their lines, with every syntax error there is.
 *
 * libconfuse reads our values (conf_schema.h), but its parser stops at the first error, knows no
 * lines afterwards, and takes a file whose last brace, comment or quote is never closed for a whole
 * one. So this scanner goes first. It is stricter than libconfuse: a text must end in the line
 * where it begins (or go on after a backslash) and sections don't nest, which is what finds a
 * forgotten quote or brace where it was forgotten; `+=` and functions other than include() are
 * refused.
 *
 *   include("conf.d/GLOB.conf")   relative to the folder of the file that says so; an empty glob is
 *                                 fine, a missing plain file an error, and so are a cycle and more
 *                                 than ten files deep. Only outside of sections.
 *
 * Whoever finds something wrong later adds it with conf_complain(), so that one report holds every
 * error of every file, by file and line: `FILE:LINE: what is wrong (what to write)`.
 * Threads: none inside. Memory: all of it is the tree's, until conf_tree_free().
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct conf_file {
    char *path;  /* as it was opened */
    char *bytes; /* NUL-terminated, with blanks in place of comments */
    size_t length;
    size_t order; /* 0 for the main file, then as they are included */
};

/* One value of an option. */
struct conf_value {
    char *text; /* without quotes and escapes, NUL-terminated UTF-8 */
    int line;
};

/* `name = value`, `name = { value, value }`, or `name "title" { statements }`. */
struct conf_statement {
    const struct conf_file *file;
    int line; /* of its name; lines count from 1 */
    char *name;
    bool is_section;
    bool is_list;              /* of an option: the values stand in braces */
    bool is_broken;            /* of an option: its syntax is wrong, so there is nothing to read */
    char *title;               /* of a section; NULL without one */
    struct conf_value *values; /* of an option; without one the scan has complained */
    size_t value_count;
    struct conf_statement *children; /* of a section, in file order; an include's in its place */
    size_t child_count;
    size_t start; /* bytes of the file, from the name to behind the value or brace */
    size_t end;
};

/* What is wrong at a line. */
struct conf_complaint {
    const struct conf_file *file;
    int line;
    bool is_syntax; /* so that nothing else in this line is worth a complaint */
    char *text;     /* what is wrong (what to write) */
};

struct conf_tree {
    struct conf_statement root; /* a section without name or title: the main file */
    struct conf_file **files;
    size_t file_count;
    struct conf_complaint *complaints;
    size_t complaint_count;
    bool failed; /* out of memory: tree and complaints are not complete */
};

/* Reads the file and what it includes. A tree comes in any case; see conf_tree_ok(). */
void conf_scan(const char *path, struct conf_tree *tree);

/* The same for bytes in memory under this name; files that they include are read. */
void conf_scan_bytes(const char *path, const char *bytes, size_t length, struct conf_tree *tree);

/* Whether nothing is wrong so far. */
bool conf_tree_ok(const struct conf_tree *tree);

/* Adds a line for every complaint, by file and line. */
void conf_tree_report(const struct conf_tree *tree, struct text *report);

/* Fits SCOPED. */
void conf_tree_free(struct conf_tree *tree);

/* Adds a complaint about a line. Control characters in it are escaped. */
__attribute__((format(printf, 4, 5))) void conf_complain(struct conf_tree *tree,
                                                         const struct conf_file *file, int line,
                                                         const char *format, ...);

/* The first statement of this name in a section (NULL: none); NULL if there is none. */
const struct conf_statement *conf_find(const struct conf_statement *section, const char *name);

/* Where a statement is, as seen from this file: "line 12", or "other.conf:12". */
void conf_place(const struct conf_statement *statement, const struct conf_file *from,
                char place[256]);
