/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes are a conf file: the scan and the schema must come to an end, and what they find fine
 * libconfuse must read with the same values. Included files are not read: '(' is taken out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/conf_schema.h"
#include "base/conf_show.h"
#include "base/conf_values.h"
#include "base/scoped.h"

struct values {
    double number;
    int64_t integer;
    bool flag;
    const char *text;
    int64_t span;
    struct rasad_numbers numbers;
    struct rasad_texts texts;
};

static const struct rasad_option rows[] = {
    RASAD_OPTION_NUMBER(struct values, number, .preset = "0.5", .min = "-inf", .max = "1e3"),
    RASAD_OPTION_INTEGER(struct values, integer, .preset = "7", .min = "1", .max = "10"),
    RASAD_OPTION_BOOL(struct values, flag, .preset = "true"),
    RASAD_OPTION_TEXT(struct values, text, .preset = "a"),
    RASAD_OPTION_DURATION(struct values, span, .preset = "90s", .min = "never"),
    RASAD_OPTION_NUMBERS(struct values, numbers, .preset = "1"),
    RASAD_OPTION_TEXTS(struct values, texts, .preset = "x"),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct conf_section sections[] = {
    {.name = "s", .options = rows, .option_count = ROWS},
    {.name = "t", .is_titled = true, .options = rows, .option_count = ROWS},
};
static const struct conf_section schema = {
    .options = rows, .option_count = ROWS, .sections = sections, .section_count = 2};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* What the scan decoded is what libconfuse reads. */
static void check_same(const struct conf_statement *section, const struct values *values)
{
    const struct conf_statement *text = conf_find(section, "text");
    const struct conf_statement *texts = conf_find(section, "texts");

    check(text == NULL || strcmp(text->values[0].text, values->text) == 0);
    check(texts == NULL || texts->value_count == values->texts.count);
    for (size_t i = 0; texts != NULL && i < texts->value_count; i++)
        check(strcmp(texts->values[i].text, values->texts.at[i]) == 0);
}

/* What is shown of the values can be read again, and is shown the same. */
static void check_shown(struct values *values)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text shown = {0}, again = {0};
    struct values second = {0};

    conf_show(NULL, rows, ROWS, values, 0, &shown);
    conf_scan_bytes("shown", text_end(&shown), shown.length, &tree);
    conf_check(&tree, &schema);
    check(conf_tree_ok(&tree));
    if (conf_fill(&tree, &tree.root, rows, ROWS, &second)) {
        conf_show(NULL, rows, ROWS, &second, 0, &again);
        check(strcmp(text_end(&shown), text_end(&again)) == 0);
    } else {
        check(!conf_tree_ok(&tree));
    }
    conf_empty(rows, ROWS, &second);
}

static void read_section(struct conf_tree *tree, const struct conf_statement *section)
{
    struct values values = {0};

    if (conf_fill(tree, section, rows, ROWS, &values)) {
        check_same(section, &values);
        check_shown(&values);
    } else {
        check(!conf_tree_ok(tree));
    }
    conf_empty(rows, ROWS, &values);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text input = {0}, report = {0};

    text_add(&input, bytes, length);
    for (size_t i = 0; i < input.length; i++) {
        if (input.at[i] == '(')
            input.at[i] = '\n';
    }
    conf_scan_bytes("fuzz", length > 0 ? input.at : "", input.length, &tree);
    conf_check(&tree, &schema);
    check(!tree.failed);
    if (conf_tree_ok(&tree)) {
        read_section(&tree, &tree.root);
        for (size_t i = 0; i < tree.root.child_count; i++) {
            if (tree.root.children[i].is_section)
                read_section(&tree, &tree.root.children[i]);
        }
    }
    conf_tree_report(&tree, &report);
    return 0;
}
