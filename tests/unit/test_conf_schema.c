/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/conf_show.h"
#include "base/conf_values.h"
#include "base/scoped.h"

struct values {
    double number;
    int64_t integer;
    bool flag;
    const char *text;
    int64_t span;
    int64_t pause;
    struct rasad_numbers numbers;
    struct rasad_texts texts;
};

static const struct rasad_option rows[] = {
    RASAD_OPTION_NUMBER(struct values, number, .preset = "0.5", .min = "-inf", .max = "1e3"),
    RASAD_OPTION_INTEGER(struct values, integer, .preset = "7", .min = "1", .max = "10"),
    RASAD_OPTION_BOOL(struct values, flag, .preset = "true"),
    RASAD_OPTION_TEXT(struct values, text, .preset = "a, b"),
    RASAD_OPTION_DURATION(struct values, span, .preset = "90s", .min = "1s", .max = "1d"),
    RASAD_OPTION_DURATION(struct values, pause, .preset = "never", .min = "never"),
    RASAD_OPTION_NUMBERS(struct values, numbers, .preset = "1, 2.5,inf", .min = "0"),
    RASAD_OPTION_TEXTS(struct values, texts, .preset = "x, y"),
};
enum { ROWS = sizeof rows / sizeof *rows };

static const struct conf_section sections[] = {
    {.name = "once", .options = rows, .option_count = ROWS},
    {.name = "titled", .is_titled = true, .options = rows, .option_count = 1},
};
static const struct conf_section schema = {
    .options = rows, .option_count = ROWS, .sections = sections, .section_count = 2};

static const struct {
    const char *input;
    const char *report;
    const char *why;
} cases[] = {
    {"number = -1.5 integer = 10 flag = off text = x span = 1500ms pause = never\nnumbers = {0, "
     "inf} texts = { }\nonce { flag = yes }\ntitled \"a\" { } titled \"b\" { number = -inf }",
     "", "all is fine"},
    {"numbers = 3\ntexts = a", "", "a list of one, as libconfuse allows it"},
    {"integer = \"5\"\npause = 0", "", "a number in quotes; a duration that may be never"},
    {"nunber = 1\ntitle \"x\" { }\nxyz = 3",
     "F:1: unknown option \"nunber\" (did you mean \"number\"?)\n"
     "F:2: unknown section \"title\" (did you mean \"titled\"?)\n"
     "F:3: unknown option \"xyz\" (remove it)\n",
     "near misses"},
    {"once {\n intger = 3\n}", "F:2: unknown option \"intger\" (did you mean \"integer\"?)\n",
     "in a section"},
    {"number = x\ninteger = 1.5\nflag = 1\nspan = 5\npause = soon\nnumbers = { 1, x }",
     "F:1: \"number\" must be a number, got \"x\" (write number = 0.5)\n"
     "F:2: \"integer\" must be a whole number, got \"1.5\" (write integer = 10)\n"
     "F:3: \"flag\" must be true or false, got \"1\" (write flag = true)\n"
     "F:4: \"span\" must be a duration, got \"5\" (write span = \"5m\"; units: ms, s, m, h, d)\n"
     "F:5: \"pause\" must be a duration or \"never\", got \"soon\" (write pause = \"5m\"; units: "
     "ms, s, m, h, d)\n"
     "F:6: \"numbers\" must be a list, each of it a number, got \"x\" (write numbers = { 0.5, 1 "
     "})\n",
     "every type"},
    {"integer = 010\nonce { integer = 0x8 }",
     "F:1: \"integer\" must be a whole number, got \"010\" (write integer = 10)\n"
     "F:2: \"integer\" must be a whole number, got \"0x8\" (write integer = 10)\n",
     "libconfuse would read 8"},
    {"number = nan", "F:1: \"number\" must be a number, got \"nan\" (write number = 0.5)\n",
     "strtod() would take it"},
    {"integer = 99999999999999999999",
     "F:1: \"integer\" must be a whole number, got \"99999999999999999999\" (write integer = "
     "10)\n",
     "more than 64 bits"},
    {"number = 1001\ninteger = 0\nspan = 2d\nnumbers = { 1,\n-1 }",
     "F:1: \"number\" is 1001, which is too large (write at most 1e3)\n"
     "F:2: \"integer\" is 0, which is too small (write at least 1)\n"
     "F:3: \"span\" is 2d, which is too large (write at most 1d)\n"
     "F:5: \"numbers\" is -1, which is too small (write at least 0)\n",
     "bounds, also of each number in a list, with its own line"},
    {"number = { 1 }\nonce = 3\ninteger { }",
     "F:1: \"number\" takes one value, not a list (write number = 0.5)\n"
     "F:2: \"once\" is a section, not an option (write once { … })\n"
     "F:3: \"integer\" is an option, not a section (write integer = 10)\n",
     "of another form"},
    {"number = 1\nnumber = 2\nnumber = 3\nonce { }\nonce { }\ntitled a { }\ntitled a { }",
     "F:2: \"number\" is set twice, first in line 1 (remove one)\n"
     "F:3: \"number\" is set twice, first in line 1 (remove one)\n"
     "F:5: \"once\" is there twice, first in line 4 (make one section of both)\n"
     "F:7: titled \"a\" is there twice, first in line 6 (remove one, or change its title)\n",
     "twice, where libconfuse lets the last win"},
    {"titled { }\ntitled \"\" { }\ntitled \"\" { }\ntitled \"a\\n\" { }\ntitled \"\xc2\x85\" { }\n"
     "once \"x\" { }",
     "F:1: \"titled\" has no title (write titled \"TITLE\" { … })\n"
     "F:2: \"titled\" has an empty title (write titled \"TITLE\" { … })\n"
     "F:3: \"titled\" has an empty title (write titled \"TITLE\" { … })\n"
     "F:4: \"titled\" has a control character in its title (write titled \"TITLE\" { … })\n"
     "F:5: \"titled\" has a control character in its title (write titled \"TITLE\" { … })\n"
     "F:6: \"once\" takes no title (write once { … })\n",
     "titles"},
    {"once {\n integer = x\nnumber = y\ntitled { ",
     "F:1: the section \"once\" that begins here is never closed (write } before line 4)\n"
     "F:2: \"integer\" must be a whole number, got \"x\" (write integer = 10)\n"
     "F:3: \"number\" must be a number, got \"y\" (write number = 0.5)\n"
     "F:4: the section \"titled\" that begins here is never closed (write } at its end)\n"
     "F:4: \"titled\" has no title (write titled \"TITLE\" { … })\n",
     "errors of the syntax and of the schema in one run"},
};

static void check_case(size_t i)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text report = {0};

    conf_scan_bytes("F", cases[i].input, strlen(cases[i].input), &tree);
    conf_check(&tree, &schema);
    conf_tree_report(&tree, &report);
    if (strcmp(text_end(&report), cases[i].report) != 0)
        fail_msg("%s: %s\nreport:\n%s", cases[i].why, cases[i].input, text_end(&report));
}

static void test_every_error_is_told(void **unused)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
}

static void scan(const char *input, struct conf_tree *tree)
{
    conf_scan_bytes("F", input, strlen(input), tree);
    conf_check(tree, &schema);
    assert_true(conf_tree_ok(tree));
}

static void test_presets_fill_what_the_conf_leaves_out(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    struct values values = {0};

    scan("", &tree);
    assert_true(conf_fill(&tree, NULL, rows, ROWS, &values));
    assert_true(values.number == 0.5 && values.integer == 7 && values.flag);
    assert_string_equal(values.text, "a, b"); /* a text is not split */
    assert_true(values.span == INT64_C(90000000000) && values.pause == 0);
    assert_int_equal(values.numbers.count, 3);
    assert_true(values.numbers.at[1] == 2.5 && values.numbers.at[2] == INFINITY);
    assert_int_equal(values.texts.count, 2);
    assert_string_equal(values.texts.at[1], "y");
    conf_empty(rows, ROWS, &values);
    assert_null(values.text);
}

static void test_libconfuse_reads_every_type(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    struct values values = {0};

    scan("number = -1e2 /* c */ integer = 3 flag = No text = \"\\x41 \\\"b\\\"\"\nspan = 2h pause "
         "= \"0.5s\" numbers = { 3, # three\n 4, } texts = { a, 'b c' }",
         &tree);
    assert_true(conf_fill(&tree, &tree.root, rows, ROWS, &values));
    assert_true(values.number == -100 && values.integer == 3 && !values.flag);
    assert_string_equal(values.text, "A \"b\"");
    assert_true(values.span == INT64_C(7200000000000) && values.pause == INT64_C(500000000));
    assert_int_equal(values.numbers.count, 2);
    assert_true(values.numbers.at[0] == 3 && values.numbers.at[1] == 4);
    assert_int_equal(values.texts.count, 2);
    assert_string_equal(values.texts.at[1], "b c");
    conf_empty(rows, ROWS, &values);
}

static void test_an_error_that_only_libconfuse_finds_has_its_line(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text report = {0};
    struct values values = {0};

    scan("text = x\nnumbers = { 1,\n  1e-320 }", &tree);
    assert_false(conf_fill(&tree, &tree.root, rows, ROWS, &values));
    conf_empty(rows, ROWS, &values);
    conf_tree_report(&tree, &report);
    assert_string_equal(text_end(&report), "F:3: floating point value for option 'numbers' is out "
                                           "of range (correct the value)\n");
}

static void test_what_is_shown_is_a_conf_with_the_same_values(void **unused)
{
    static const char *const inputs[] = {
        "",
        ("number = -inf integer = 1 flag = off text = \"a\\\"b\\\\c\\n${\\x07 é\" span = 90s\n"
         "pause = \"1.5ms\" numbers = { 1e15, 0.0000001, inf, \"1e+300\" }\n"
         "texts = { \"\", \"'\", x }"),
        "span = 1h pause = \"0.0001ms\" numbers = {} texts = {}",
    };

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        SCOPED(conf_tree_free) struct conf_tree tree = {0};
        SCOPED(conf_tree_free) struct conf_tree again = {0};
        SCOPED(text_free) struct text shown = {0}, shown_again = {0};
        struct values values = {0}, values_again = {0};

        scan(inputs[i], &tree);
        assert_true(conf_fill(&tree, &tree.root, rows, ROWS, &values));
        conf_show(NULL, rows, ROWS, &values, 2, &shown);
        scan(text_end(&shown), &again);
        assert_true(conf_fill(&again, &again.root, rows, ROWS, &values_again));
        conf_show(NULL, rows, ROWS, &values_again, 2, &shown_again);
        assert_string_equal(text_end(&shown), text_end(&shown_again));
        assert_true(values.number == values_again.number && values.pause == values_again.pause);
        assert_string_equal(values.text, values_again.text);
        conf_empty(rows, ROWS, &values);
        conf_empty(rows, ROWS, &values_again);
    }
}

static void test_where_a_value_comes_from_is_shown(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text shown = {0};
    struct values values = {0};

    scan("\ninteger = 3", &tree);
    assert_true(conf_fill(&tree, &tree.root, rows, 2, &values));
    conf_show(&tree.root, rows, 2, &values, 4, &shown);
    assert_string_equal(text_end(&shown), "    number = 0.5 # default\n    integer = 3 # F:2\n");
}

static void test_tables_that_are_wrong_are_found(void **unused)
{
    static const struct rasad_option wrong[] = {
        RASAD_OPTION_NUMBER(struct values, number, .preset = "much"),
        RASAD_OPTION_NUMBER(struct values, number, .preset = "5", .max = "4"),
        RASAD_OPTION_NUMBER(struct values, number, .min = "low"),
        RASAD_OPTION_DURATION(struct values, span, .max = "1y"),
        RASAD_OPTION_NUMBERS(struct values, numbers, .preset = "1,,2"),
    };
    struct rasad_error error;

    assert_true(conf_check_rows(rows, ROWS, &error));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error.text[0] = '\0';
        if (conf_check_rows(&wrong[i], 1, &error) || strstr(error.text, wrong[i].name) == NULL)
            fail_msg("row %zu passes: %s", i, error.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_is_told),
        cmocka_unit_test(test_presets_fill_what_the_conf_leaves_out),
        cmocka_unit_test(test_libconfuse_reads_every_type),
        cmocka_unit_test(test_an_error_that_only_libconfuse_finds_has_its_line),
        cmocka_unit_test(test_what_is_shown_is_a_conf_with_the_same_values),
        cmocka_unit_test(test_where_a_value_comes_from_is_shown),
        cmocka_unit_test(test_tables_that_are_wrong_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
