/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "admin/selector.h"
#include <cmocka.h>

static void test_a_selector_wants_what_it_says(void **unused)
{
    static const char labels[] = "agent=\"web-1\",path=\"/a\\\"b,c\\\\\",q=\"x}\"";
    static const struct {
        const char *selector;
        const char *family;
        bool wants_family, wants_labels;
    } cases[] = {
        {NULL, "any", true, true},
        {"", "any", true, true},
        {"{}", "any", true, true},
        {"http_requests", "http_requests", true, true},
        {"http_requests", "http_request", false, true},
        {"http_requests_total", "http_requests", true, true}, /* as exported */
        {"http_*", "http_requests", true, true},
        {"*_total", "http_requests", true, true},
        {"http_?", "http_requests", false, true},
        {"[hg]*", "gauge", true, true},
        {"x{}", "x", true, true},
        {"x{agent=\"web-1\"}", "x", true, true},
        {"x{agent=\"web-2\"}", "x", true, false},
        {"x{agent=\"web-\"}", "x", true, false},   /* no prefix */
        {"x{agent=\"web-11\"}", "x", true, false}, /* and no more */
        {"{path=\"/a\\\"b,c\\\\\"}", "x", true, true},
        {"{path=\"/a\\\"b\"}", "x", true, false}, /* a comma or quote in a value ends no label */
        {"{c=\"\"}", "x", true, true},            /* nor begins one */
        {"{ q = \"x}\" , agent=\"web-1\", }", "x", true, true},
        {"{q=\"x}\",agent=\"other\"}", "x", true, false}, /* all must hold */
        {"{missing=\"x\"}", "x", true, false},
        {"{missing=\"\"}", "x", true, true},
        {"{agent=\"\"}", "x", true, false},
        {"{pat=\"\"}", "x", true, true}, /* "path" is another label */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = {""};
        struct selector selector;

        if (!selector_parse(cases[i].selector, &selector, &error))
            fail_msg("%s: %s", cases[i].selector, error.text);
        if (selector_wants_family(&selector, cases[i].family) != cases[i].wants_family ||
            selector_wants_labels(&selector, labels, strlen(labels)) != cases[i].wants_labels)
            fail_msg("case %zu: %s", i, cases[i].selector);
        selector_free(&selector);
    }
}

static void test_a_series_without_labels_has_none(void **unused)
{
    struct rasad_error error;
    struct selector selector;

    assert_true(selector_parse("{a=\"\"}", &selector, &error));
    assert_true(selector_wants_labels(&selector, NULL, 0));
    selector_free(&selector);
    assert_true(selector_parse("{a=\"x\"}", &selector, &error));
    assert_false(selector_wants_labels(&selector, NULL, 0));
    selector_free(&selector);
}

static void test_what_is_no_selector_is_refused_with_a_reason(void **unused)
{
    static const struct {
        const char *selector, *why;
    } cases[] = {
        {"x{", "a label is missing"},
        {"x{a", "a label is missing"},
        {"x{=\"b\"}", "a label is missing"},
        {"x{a=b}", "has no value in quotes"},
        {"x{a=\"b}", "has no value in quotes"},
        {"x{a=\"\\x\"}", "has no value in quotes"}, /* no escape of expositions */
        {"x{a=\"\\", "has no value in quotes"},
        {"x{a=\"b\"", "have no end"},
        {"x{a=\"b\" c=\"d\"}", "have no end"},
        {"x{a=\"b\"}y", "something follows"},
        {"x{,}", "a label is missing"},
        {"x{a!=\"b\"}", "a label is missing"},
        {"{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\",g=\"\",h=\"\",i=\"\",j=\"\",k=\"\",l=\"\","
         "m=\"\",n=\"\",o=\"\",p=\"\",q=\"\"}",
         "more than 16"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = {""};
        struct selector selector;

        if (selector_parse(cases[i].selector, &selector, &error) ||
            strstr(error.text, cases[i].why) == NULL)
            fail_msg("%s: \"%s\"", cases[i].selector, error.text);
        selector_free(&selector);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_selector_wants_what_it_says),
        cmocka_unit_test(test_a_series_without_labels_has_none),
        cmocka_unit_test(test_what_is_no_selector_is_refused_with_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
