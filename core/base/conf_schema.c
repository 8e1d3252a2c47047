/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_schema.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_cell.h"
#include "base/nearest.h"
#include "base/scoped.h"
#include "base/text.h"
#include "base/utf8.h"

/* What a value of the row looks like in the conf. */
static const char *example(const struct rasad_option *row)
{
    static const char *const examples[] = {
        [RASAD_OPTION_TYPE_NUMBER] = "0.5",      [RASAD_OPTION_TYPE_INTEGER] = "10",
        [RASAD_OPTION_TYPE_BOOL] = "true",       [RASAD_OPTION_TYPE_TEXT] = "\"…\"",
        [RASAD_OPTION_TYPE_DURATION] = "\"5m\"", [RASAD_OPTION_TYPE_NUMBERS] = "{ 0.5, 1 }",
        [RASAD_OPTION_TYPE_TEXTS] = "{ \"…\" }",
    };

    return examples[row->type];
}

static void complain_type(struct conf_tree *tree, const struct conf_statement *option,
                          const struct rasad_option *row, const struct conf_value *value)
{
    static const char *const names[] = {
        [RASAD_OPTION_TYPE_NUMBER] = "a number",    [RASAD_OPTION_TYPE_INTEGER] = "a whole number",
        [RASAD_OPTION_TYPE_BOOL] = "true or false", [RASAD_OPTION_TYPE_DURATION] = "a duration",
        [RASAD_OPTION_TYPE_TEXT] = "a text",
    };
    uint32_t type = conf_type_of_one(row->type);

    conf_complain(
        tree, option->file, value->line, "\"%s\" must be %s%s%s, got \"%.60s\" (write %s = %s%s)",
        row->name, conf_is_list(row->type) ? "a list, each of it " : "", names[type],
        conf_may_be_never(row) ? " or \"never\"" : "", value->text, row->name, example(row),
        type == RASAD_OPTION_TYPE_DURATION ? "; units: ms, s, m, h, d" : "");
}

static void check_value(struct conf_tree *tree, const struct conf_statement *option,
                        const struct rasad_option *row, const struct conf_value *value)
{
    struct conf_cell cell = {0};

    if (!conf_cell_parse(row, value->text, &cell))
        complain_type(tree, option, row, value);
    else if (conf_cell_is_beyond(row, &cell, -1))
        conf_complain(tree, option->file, value->line,
                      "\"%s\" is %.60s, which is too small (write at least %s)", row->name,
                      value->text, row->min);
    else if (conf_cell_is_beyond(row, &cell, 1))
        conf_complain(tree, option->file, value->line,
                      "\"%s\" is %.60s, which is too large (write at most %s)", row->name,
                      value->text, row->max);
}

static void check_option(struct conf_tree *tree, const struct conf_statement *option,
                         const struct rasad_option *row)
{
    if (option->is_section) {
        conf_complain(tree, option->file, option->line,
                      "\"%s\" is an option, not a section (write %s = %s)", row->name, row->name,
                      example(row));
        return;
    }
    if (option->is_list && !conf_is_list(row->type)) {
        conf_complain(tree, option->file, option->line,
                      "\"%s\" takes one value, not a list (write %s = %s)", row->name, row->name,
                      example(row));
        return;
    }
    for (size_t i = 0; i < option->value_count; i++)
        check_value(tree, option, row, &option->values[i]);
}

static bool has_control_character(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f ||
            ((unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0))
            return true; /* C0, DEL, and C1 in UTF-8 */
    }
    return false;
}

static void check_title(struct conf_tree *tree, const struct conf_statement *section,
                        const struct conf_section *schema)
{
    const char *what = NULL;

    if (!schema->is_titled) {
        if (section->title != NULL)
            conf_complain(tree, section->file, section->line,
                          "\"%s\" takes no title (write %s { … })", section->name, section->name);
        return;
    }
    if (section->title == NULL)
        what = "has no title";
    else if (section->title[0] == '\0')
        what = "has an empty title";
    else if (has_control_character(section->title))
        what = "has a control character in its title";
    if (what != NULL)
        conf_complain(tree, section->file, section->line, "\"%s\" %s (write %s \"TITLE\" { … })",
                      section->name, what, section->name);
}

static const struct rasad_option *find_row(const struct conf_section *schema, const char *name)
{
    for (size_t i = 0; i < schema->option_count; i++) {
        if (strcmp(schema->options[i].name, name) == 0)
            return &schema->options[i];
    }
    return NULL;
}

static const struct conf_section *find_section(const struct conf_section *schema, const char *name)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        if (strcmp(schema->sections[i].name, name) == 0)
            return &schema->sections[i];
    }
    return NULL;
}

static void complain_unknown(struct conf_tree *tree, const struct conf_section *schema,
                             const struct conf_statement *statement)
{
    size_t count = 0;
    const char *nearest = NULL;
    const char *what = statement->is_section ? "section" : "option";
    SCOPED(free_at)
    const char **words =
        calloc(schema->option_count + schema->section_count + 1, sizeof(const char *));

    for (size_t i = 0; words != NULL && i < schema->option_count; i++)
        words[count++] = schema->options[i].name;
    for (size_t i = 0; words != NULL && i < schema->section_count; i++)
        words[count++] = schema->sections[i].name;
    if (words != NULL)
        nearest = nearest_word(statement->name, words, count);
    if (nearest != NULL)
        conf_complain(tree, statement->file, statement->line,
                      "unknown %s \"%s\" (did you mean \"%s\"?)", what, statement->name, nearest);
    else
        conf_complain(tree, statement->file, statement->line, "unknown %s \"%s\" (remove it)", what,
                      statement->name);
}

/* By name, title, and place: what is there twice comes side by side, the first one first. */
static int compare_statements(const void *left, const void *right)
{
    const struct conf_statement *a = *(const struct conf_statement *const *)left;
    const struct conf_statement *b = *(const struct conf_statement *const *)right;
    int names = strcmp(a->name, b->name);
    int titles = strcmp(a->title != NULL ? a->title : "", b->title != NULL ? b->title : "");

    if (names != 0 || titles != 0)
        return names != 0 ? names : titles;
    return (a > b) - (a < b); /* both are in one array, in file order */
}

static void complain_twice(struct conf_tree *tree, const struct conf_statement *first,
                           const struct conf_statement *again)
{
    char place[256];

    conf_place(first, again->file, place);
    if (!again->is_section)
        conf_complain(tree, again->file, again->line,
                      "\"%s\" is set twice, first in %s (remove one)", again->name, place);
    else if (again->title == NULL)
        conf_complain(tree, again->file, again->line,
                      "\"%s\" is there twice, first in %s (make one section of both)", again->name,
                      place);
    else
        conf_complain(tree, again->file, again->line,
                      "%s \"%.60s\" is there twice, first in %s (remove one, or change its title)",
                      again->name, again->title, place);
}

/* What may not be there again: not a section that is unknown or lacks its title, which is another
 * complaint. */
static bool is_unique(const struct conf_section *schema, const struct conf_statement *statement)
{
    const struct conf_section *sub = find_section(schema, statement->name);

    if (!statement->is_section)
        return true;
    return sub != NULL &&
           (!sub->is_titled || (statement->title != NULL && statement->title[0] != '\0'));
}

static void check_twice(struct conf_tree *tree, const struct conf_statement *section,
                        const struct conf_section *schema)
{
    const struct conf_statement *first = NULL;
    size_t count = 0;
    SCOPED(free_at)
    const struct conf_statement **sorted =
        calloc(section->child_count + 1, sizeof(const struct conf_statement *));

    if (sorted == NULL) {
        tree->failed = true;
        return;
    }
    for (size_t i = 0; i < section->child_count; i++) {
        if (is_unique(schema, &section->children[i]))
            sorted[count++] = &section->children[i];
    }
    qsort(sorted, count, sizeof(const struct conf_statement *), compare_statements);
    for (size_t i = 0; i < count; i++) {
        const char *title = sorted[i]->title;

        if (first != NULL && strcmp(first->name, sorted[i]->name) == 0 &&
            strcmp(first->title != NULL ? first->title : "", title != NULL ? title : "") == 0)
            complain_twice(tree, first, sorted[i]);
        else
            first = sorted[i];
    }
}

static void check_missing(struct conf_tree *tree, const struct conf_statement *section,
                          const struct rasad_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].preset == NULL && conf_find(section, options[i].name) == NULL)
            conf_complain(tree, section->file, section->line, "\"%s\" is missing (write %s = %s)",
                          options[i].name, options[i].name, example(&options[i]));
    }
}

static void check_children(struct conf_tree *tree, const struct conf_statement *section,
                           const struct conf_section *schema, bool others);

static void check_child(struct conf_tree *tree, const struct conf_statement *child,
                        const struct conf_section *schema, bool others)
{
    const struct rasad_option *row = find_row(schema, child->name);
    const struct conf_section *sub = find_section(schema, child->name);

    if (row != NULL) {
        check_option(tree, child, row);
    } else if (sub == NULL) {
        if (!others || child->is_section)
            complain_unknown(tree, schema, child);
    } else if (!child->is_section) {
        conf_complain(tree, child->file, child->line,
                      "\"%s\" is a section, not an option (write %s%s { … })", child->name,
                      child->name, sub->is_titled ? " \"TITLE\"" : "");
    } else {
        check_title(tree, child, sub);
        if (!sub->is_deferred)
            check_children(tree, child, sub, false);
    }
}

static void check_children(struct conf_tree *tree, const struct conf_statement *section,
                           const struct conf_section *schema, bool others)
{
    check_missing(tree, section, schema->options, schema->option_count);
    for (size_t i = 0; i < section->child_count; i++)
        check_child(tree, &section->children[i], schema, others);
    check_twice(tree, section, schema);
}

void conf_check(struct conf_tree *tree, const struct conf_section *schema)
{
    if (tree->root.file != NULL)
        check_children(tree, &tree->root, schema, false);
}

void conf_check_options(struct conf_tree *tree, const struct conf_statement *section,
                        const struct rasad_option *options, size_t count, bool others)
{
    struct conf_section schema = {.options = options, .option_count = count};

    check_children(tree, section, &schema, others);
}
