/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scoped.h"

/* Writes the tree as one line: name=[values] and name'title'{ children }. */
static void dump(const struct conf_statement *section, struct text *out)
{
    for (size_t i = 0; i < section->child_count; i++) {
        const struct conf_statement *child = &section->children[i];

        text_printf(out, "%d:%s", child->line, child->name);
        if (child->title != NULL)
            text_printf(out, "'%s'", child->title);
        if (child->is_section) {
            text_add_char(out, '{');
            dump(child, out);
            text_add_string(out, "} ");
            continue;
        }
        text_add_string(out, child->is_list ? "={" : "=(");
        for (size_t j = 0; j < child->value_count; j++)
            text_printf(out, "%s<%s>", j > 0 ? " " : "", child->values[j].text);
        text_add_string(out, child->is_list ? "} " : ") ");
    }
}

static const struct {
    const char *input;
    const char *tree;
    const char *report;
    const char *why;
} cases[] = {
    {"", "", "", "an empty file"},
    {"a = 1", "1:a=(<1>) ", "", "no line feed at the end"},
    {"a=1 b=2\nc=3", "1:a=(<1>) 1:b=(<2>) 2:c=(<3>) ", "", "several in a line"},
    {"\xef\xbb\xbf"
     "a = 1\r\n",
     "1:a=(<1>) ", "", "a byte order mark and carriage returns"},
    {"a = x//y", "1:a=(<x//y>) ", "", "slashes within a word, as libconfuse reads them"},
    {"# c\n// c\n/* c\nc */ a = 1 # c", "4:a=(<1>) ", "", "every kind of comment"},
    {"a = { # c\n 1, /* c */ 2,\n}", "1:a={<1> <2>} ", "",
     "comments in a list, where libconfuse 3.3 stumbles; a comma behind the last"},
    {"a = {}", "1:a={} ", "", "an empty list"},
    {"s { a = 1 }\nt \"x y\" { }", "1:s{1:a=(<1>) } 2:t'x y'{} ", "", "sections"},
    {"a = b s { } c = d\ns { }", "1:a=(<b>) 1:s{} 1:c=(<d>) 2:s{} ", "",
     "a value without quotes in front of a section without title"},
    {"a =\ns { }\nb =\nt \"x\" { }", "1:a=() 2:s{} 3:b=() 4:t'x'{} ",
     "F:1: \"a\" has no value (write a = …)\nF:3: \"b\" has no value (write b = …)\n",
     "a value forgotten in front of a section"},
    {"t x { }", "1:t'x'{} ", "", "a title without quotes"},
    {"a = \"\\n\\t\\x41\\101\\q\\\"\\\\\\\nx\"", "1:a=(<\n\tAAq\"\\x>) ", "",
     "the escapes of libconfuse, and a text that goes on in the next line"},
    {"a = '\\n\\'\\\\'", "1:a=(<\\n'\\>) ", "", "single quotes keep most backslashes"},
    {"a = \"${RASAD_TEST_X}-${RASAD_NONE:-d}-${RASAD_NONE}\"", "1:a=(<ex-d->) ", "", "variables"},
    {"a = ${RASAD_TEST_X}", "1:a=(<ex>) ", "", "a variable without quotes"},
    {"a = \"${\"", "1:a=(<${>) ", "", "not a variable"},

    {"s {\n a = 1\n", "1:s{2:a=(<1>) } ",
     "F:1: the section \"s\" that begins here is never closed (write } at its end)\n",
     "the opener's line, not the end's"},
    {"s {\n a = 1\nt {\n}\n", "1:s{2:a=(<1>) } 3:t{} ",
     "F:1: the section \"s\" that begins here is never closed (write } before line 3)\n",
     "found where the next section begins, not at the end"},
    {"a = 1\n}\nb = 2", "1:a=(<1>) 3:b=(<2>) ",
     "F:2: unexpected } (no section is open here: remove it)\n", "a brace too many"},
    {"a = 1\n/* b = 2\n", "1:a=(<1>) ",
     "F:2: the comment that begins here is never closed (write */ at its end)\n",
     "libconfuse would skip the rest"},
    {"s { a = \"x }\nb = \"y\"\n", "1:s{1:a=(<x>) } 2:b=(<y>) ",
     "F:1: the text that begins here has no closing quote (write \" at its end, or \\n for a line "
     "break)\n",
     "the rest of the line, and the next one, are still understood"},
    {"a = 'x\nb = 2", "1:a=(<x>) 2:b=(<2>) ",
     "F:1: the text that begins here has no closing quote (write ' at its end, or \\n for a line "
     "break)\n",
     "single quotes"},
    {"a = { 1, 2\nb = 3", "1:a={<1> <2>} 2:b=(<3>) ",
     "F:1: the list of \"a\" is never closed (write } at its end)\n", "a list's brace"},
    {"a = { 1, 2", "1:a={<1> <2>} ",
     "F:1: the list of \"a\" is never closed (write } at its end)\n", "at the end of the file"},
    {"a = { 1 2 }", "1:a={<1> <2>} ",
     "F:1: missing \",\" in the list of \"a\" (write one in front of \"2\")\n", "a comma"},
    {"a 5\nb \"x\"\nc { 1, 2 }", "1:a=(<5>) 2:b=(<x>) 3:c={<1> <2>} ",
     "F:1: missing \"=\" after \"a\" (write a = 5)\nF:2: missing \"=\" after \"b\" (write b = "
     "\"x\")\nF:3: missing \"=\" after \"c\" (write c = { … })\n",
     "three errors, not just the first"},
    {"a =\nb = 2\nc = =\nd\ne = 5", "1:a=() 2:b=(<2>) 3:c=() 4:d=() 5:e=(<5>) ",
     "F:1: \"a\" has no value (write a = …)\nF:3: \"c\" has no value (write c = …)\nF:4: \"d\" has "
     "no value (write d = …)\n",
     "no value"},
    {"a += { 1 }", "1:a={<1>} ", "F:1: \"+=\" can't be used (write a = and the whole list)\n",
     "appending"},
    {"a = 1 2\n\"b\" = 3\n{ x = 1 }\nc = 4", "1:a=(<1>) 4:c=(<4>) ",
     "F:1: unexpected 2 (the name of an option or section is wanted here)\n"
     "F:2: unexpected \"b\" (the name of an option or section is wanted here)\n"
     "F:3: unexpected { (the name of an option or section is wanted here)\n",
     "what can't begin a statement"},
    {"f(1)\ninclude()\ninclude \"x\"\na = 1", "4:a=(<1>) ",
     "F:1: unknown function \"f\" (there is include(\"FILE\") only)\n"
     "F:2: include wants one file or glob (write include(\"conf.d/*.conf\"))\n"
     "F:3: include wants one file or glob (write include(\"conf.d/*.conf\"))\n",
     "functions"},
    {"a = \"\\400\"\nb = \"\\9\"\nc = \"\\0\"\nd = \"\\xff\"\ne = x*", NULL,
     "F:1: \"\\400\" is no character (write \\\\ for a backslash)\n"
     "F:2: \"\\9\" is no character (write \\\\ for a backslash)\n"
     "F:3: a text can't hold a NUL (leave out the \\0)\n"
     "F:4: this text is not UTF-8 (write it in UTF-8)\n"
     "F:5: unexpected \"*\" (put a text that holds it in quotes)\n",
     "texts that can't be"},
    {"\x1b[31m = 1\na 5\x07", NULL,
     "F:1: unexpected \\x1b[31m (the name of an option or section is wanted here)\n"
     "F:2: missing \"=\" after \"a\" (write a = 5\\x07)\n",
     "no control character of a file gets to the terminal"},
};

static void check_case(size_t i)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text shown = {0}, report = {0};

    conf_scan_bytes("F", cases[i].input, strlen(cases[i].input), &tree);
    conf_tree_report(&tree, &report);
    dump(&tree.root, &shown);
    if (strcmp(text_end(&report), cases[i].report) != 0 ||
        (cases[i].tree != NULL && strcmp(text_end(&shown), cases[i].tree) != 0))
        fail_msg("%s: %s\ntree:\n%s\nreport:\n%s", cases[i].why, cases[i].input, text_end(&shown),
                 text_end(&report));
    assert_int_equal(conf_tree_ok(&tree), cases[i].report[0] == '\0');
}

static void test_what_is_written_is_found_and_so_is_every_error(void **unused)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
}

static void test_a_nul_byte_is_an_error(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text report = {0};

    conf_scan_bytes("F", "a = 1\n\0b = 2", 12, &tree);
    conf_tree_report(&tree, &report);
    assert_string_equal(text_end(&report),
                        "F:2: a NUL byte (is this a text file? remove the byte)\n");
}

static void write_file(const char *path, const char *content)
{
    SCOPED(fclose_at) FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
}

static void check_files(const char *tree_wanted, const char *report_wanted)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text shown = {0}, report = {0};

    conf_scan("d[1]/main", &tree);
    conf_tree_report(&tree, &report);
    dump(&tree.root, &shown);
    assert_string_equal(text_end(&report), report_wanted);
    assert_string_equal(text_end(&shown), tree_wanted);
}

static void test_globs_include_in_order_and_relative_to_the_file(void **unused)
{
    assert_int_equal(mkdir("d[1]/sub", 0700), 0);
    write_file("d[1]/main", "a = 1\ninclude(\"sub/*.conf\")\ninclude(\"none/*\")\nb = 2");
    write_file("d[1]/sub/2.conf", "two = 2");
    write_file("d[1]/sub/1.conf", "include(\"plain\")");
    write_file("d[1]/sub/plain", "one = 1");
    check_files("1:a=(<1>) 1:one=(<1>) 1:two=(<2>) 4:b=(<2>) ", "");
}

static void test_errors_of_all_files_come_by_file_and_line(void **unused)
{
    write_file("d[1]/main", "include(\"sub/*.conf\")\ninclude(\"gone\")\n}");
    write_file("d[1]/sub/1.conf", "\na 1");
    write_file("d[1]/sub/2.conf", "b = ");
    check_files("2:a=(<1>) 1:b=() ",
                "d[1]/main:2: cannot open \"d[1]/gone\": No such file or directory (is its name "
                "right?)\n"
                "d[1]/main:3: unexpected } (no section is open here: remove it)\n"
                "d[1]/sub/1.conf:2: missing \"=\" after \"a\" (write a = 1)\n"
                "d[1]/sub/2.conf:1: \"b\" has no value (write b = …)\n");
}

static void test_a_cycle_ends(void **unused)
{
    write_file("d[1]/main", "a = 1\ninclude(\"cycle\")");
    write_file("d[1]/cycle", "b = 2\ninclude(\"main\")\nc = 3");
    check_files("1:a=(<1>) 1:b=(<2>) 3:c=(<3>) ",
                "d[1]/cycle:2: \"d[1]/main\" includes itself (remove this include)\n");
}

static void test_includes_have_a_depth(void **unused)
{
    char path[32], content[32];

    write_file("d[1]/main", "include(\"deep1\")");
    for (int i = 1; i <= 11; i++) {
        (void)snprintf(path, sizeof path, "d[1]/deep%d", i);
        (void)snprintf(content, sizeof content, i < 11 ? "include(\"deep%d\")" : "a = %d", i + 1);
        write_file(path, content);
    }
    check_files("", "d[1]/deep10:1: too many includes (at most 10 deep, and 1000 files)\n");
}

static void test_a_folder_is_no_file(void **unused)
{
    write_file("d[1]/main", "include(\"sub\")");
    check_files("", "d[1]/main:1: cannot read \"d[1]/sub\": Is a directory\n");
}

static void test_an_include_in_an_open_section_shows_the_missing_brace(void **unused)
{
    write_file("d[1]/main", "s {\n x = 1\ninclude(\"none/*\")\nt { }");
    check_files("1:s{2:x=(<1>) } 4:t{} ",
                "d[1]/main:1: the section \"s\" that begins here is never closed (write } before "
                "line 3)\n");
}

static void test_complaints_have_an_end(void **unused)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};
    SCOPED(text_free) struct text input = {0}, report = {0};

    for (int i = 0; i < 5000; i++)
        text_add_string(&input, "}\n");
    conf_scan_bytes("F", input.at, input.length, &tree);
    conf_tree_report(&tree, &report);
    assert_int_equal(tree.complaint_count, 1000);
    assert_non_null(strstr(text_end(&report), "there may be more"));
}

/* The tests have a folder of their own, whose name is a glob that doesn't match itself. */
static int make_folder(void **state)
{
    static char folder[] = "/tmp/rasad-test-XXXXXX";

    *state = mkdtemp(folder);
    return *state == NULL || setenv("RASAD_TEST_X", "ex", 1) != 0 || chdir(folder) != 0 ||
           mkdir("d[1]", 0700) != 0;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)snprintf(command, sizeof command, "rm -r %s", (const char *)*state);
    return chdir("/") != 0 || system(command) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_found_and_so_is_every_error),
        cmocka_unit_test(test_a_nul_byte_is_an_error),
        cmocka_unit_test(test_globs_include_in_order_and_relative_to_the_file),
        cmocka_unit_test(test_errors_of_all_files_come_by_file_and_line),
        cmocka_unit_test(test_a_cycle_ends),
        cmocka_unit_test(test_includes_have_a_depth),
        cmocka_unit_test(test_a_folder_is_no_file),
        cmocka_unit_test(test_an_include_in_an_open_section_shows_the_missing_brace),
        cmocka_unit_test(test_complaints_have_an_end),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
