/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "grid.h"
#include "output.h"
#include <cmocka.h>

static const struct grid_column columns[] = {
    {"NAME", "name", GRID_TEXT},
    {"COUNT", "count", GRID_NUMBER},
    {"AGE", "age", GRID_SECONDS},
    {"LAST", "last", GRID_TEXT},
};

/* What the rows look like as a table. */
static struct text make_grid(const char *json)
{
    json_object *rows = json_tokener_parse(json);
    struct text out = {0};

    assert_non_null(rows);
    grid_add(&out, rows, columns, sizeof columns / sizeof *columns);
    json_object_put(rows);
    return out;
}

static void test_each_table_looks_as_it_should(void **unused)
{
    static const struct {
        const char *rows, *table;
    } cases[] = {
        /* no rows: the titles alone */
        {"[]", "NAME  COUNT  AGE  LAST\n"},
        /* text to the left, numbers to the right, nothing behind the last column */
        {"[{\"name\":\"a\",\"count\":5,\"age\":0.25,\"last\":\"x\"},"
         "{\"name\":\"longer\",\"count\":1234567,\"age\":59.9,\"last\":\"yy\"}]",
         "NAME      COUNT    AGE  LAST\n"
         "a             5   0.2s  x\n"
         "longer  1234567  59.9s  yy\n"},
        /* what is missing, null or empty */
        {"[{\"name\":null,\"last\":\"\"}]", "NAME  COUNT  AGE  LAST\n"
                                            "-         -    -  -\n"},
        /* spans of time */
        {"[{\"name\":\"m\",\"age\":302},{\"name\":\"h\",\"age\":11520},"
         "{\"name\":\"d\",\"age\":187200},{\"name\":\"n\",\"age\":-1}]",
         "NAME  COUNT    AGE  LAST\n"
         "m         -  5m02s  -\n"
         "h         -  3h12m  -\n"
         "d         -  2d04h  -\n"
         "n         -   0.0s  -\n"},
        /* doubles as short as they can be; strings among numbers to the right as well */
        {"[{\"name\":\"x\",\"count\":0.1},{\"name\":\"y\",\"count\":\"+Inf\"},"
         "{\"name\":\"z\",\"count\":601.0}]",
         "NAME  COUNT  AGE  LAST\n"
         "x       0.1    -  -\n"
         "y      +Inf    -  -\n"
         "z       601    -  -\n"},
        /* a name that would clear the screen, forge a row, or reverse the line */
        {"[{\"name\":\"\\u001b[2J\",\"last\":\"a\\nb\"},{\"name\":\"\\u202e\\u009b\"}]",
         "NAME            COUNT  AGE  LAST\n"
         "\\x1b[2J             -    -  a\\nb\n"
         "\\u{202e}\\u{9b}      -    -  -\n"},
        /* wide and combining characters take two cells and none */
        {"[{\"name\":\"\\u65e5\\u672c\",\"count\":1},{\"name\":\"e\\u0301\",\"count\":2},"
         "{\"name\":\"\\u0631\\u0635\\u062f\",\"count\":3}]",
         "NAME  COUNT  AGE  LAST\n"
         "\xe6\x97\xa5\xe6\x9c\xac      1    -  -\n"
         "e\xcc\x81         2    -  -\n"
         "\xd8\xb1\xd8\xb5\xd8\xaf       3    -  -\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text out = make_grid(cases[i].rows);

        if (strcmp(text_end(&out), cases[i].table) != 0)
            fail_msg("%s\nis\n%s\nand should be\n%s", cases[i].rows, text_end(&out),
                     cases[i].table);
        text_free(&out);
    }
}

static void test_a_width_is_what_a_terminal_shows(void **unused)
{
    static const struct {
        const char *text;
        size_t length, width;
    } cases[] = {
        {"", 0, 0},          {"abc", 3, 3}, {"\xc3\xa9", 2, 1}, {"\xe6\x97\xa5", 3, 2}, /* é, 日 */
        {"\xff\xfe", 2, 2},  /* no UTF-8: a cell a byte */
        {"e\xcc\x81", 3, 1}, /* e and an accent */
        {"\xe6\x97", 2, 2},  /* cut */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (grid_width(cases[i].text, cases[i].length) != cases[i].width)
            fail_msg("case %zu: %zu", i, grid_width(cases[i].text, cases[i].length));
    }
}

static void test_rows_are_sorted_by_a_member_and_then_by_agent(void **unused)
{
    json_object *rows = json_tokener_parse("[{\"s\":\"b\",\"agent\":\"1\"},{\"agent\":\"3\"},"
                                           "{\"s\":\"a\",\"agent\":\"2\"},"
                                           "{\"s\":\"a\",\"agent\":\"1\"}]");

    output_sort(rows, "s");
    assert_string_equal(json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN),
                        "[{\"agent\":\"3\"},{\"s\":\"a\",\"agent\":\"1\"},"
                        "{\"s\":\"a\",\"agent\":\"2\"},{\"s\":\"b\",\"agent\":\"1\"}]");
    json_object_put(rows);
}

static void test_a_verdict_reads_as_a_line(void **unused)
{
    static const struct {
        const char *verdict;
        bool in_full;
        const char *line;
    } cases[] = {
        {"{\"key\":\"G\",\"sample\":\"0.42\",\"series\":\"G{agent=\\\"me\\\"}\",\"value\":0.42}",
         false, "accepted  G{agent=\"me\"} = 0.42"},
        {"{\"key\":\"G\",\"sample\":\"0.42\",\"series\":\"G{agent=\\\"me\\\"}\",\"value\":0.42}",
         true, "accepted  G: 0.42  G{agent=\"me\"} = 0.42"},
        /* a distribution; sub-series, of which there is no one value */
        {"{\"key\":\"H\",\"sample\":\"1\",\"series\":\"H\",\"count\":7,\"sum\":3.5}", false,
         "accepted  H = 7 (sum 3.5)"},
        {"{\"key\":\"T\",\"sample\":\"1\",\"series\":\"T\"}", false, "accepted  T"},
        {"{\"key\":\"G\",\"sample\":\"\\\"x\\\"\",\"reason\":\"bad_value\",\"text\":\"no\"}", false,
         "refused   bad_value  G: no"},
        {"{\"key\":\"G\",\"sample\":\"\\\"x\\\"\",\"reason\":\"bad_value\",\"text\":\"no\"}", true,
         "refused   bad_value  G: \"x\"  no"},
        /* a whole message, which tells by itself what is wrong with it */
        {"{\"sample\":\"rubb\\u001bish\",\"reason\":\"bad_json\",\"text\":\"\"}", false,
         "refused   bad_json  rubb\\x1bish"},
        {"{\"sample\":\"rubbish\",\"reason\":\"bad_json\",\"text\":\"\"}", true,
         "refused   bad_json  rubbish"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_object *verdict = json_tokener_parse(cases[i].verdict);
        struct text out = {0};

        output_add_verdict(&out, verdict, cases[i].in_full);
        if (strcmp(text_end(&out), cases[i].line) != 0)
            fail_msg("%s\nis     %s\nnot    %s", cases[i].verdict, text_end(&out), cases[i].line);
        json_object_put(verdict);
        text_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_table_looks_as_it_should),
        cmocka_unit_test(test_a_width_is_what_a_terminal_shows),
        cmocka_unit_test(test_rows_are_sorted_by_a_member_and_then_by_agent),
        cmocka_unit_test(test_a_verdict_reads_as_a_line),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
