/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "base/nearest.h"

static void test_the_nearest_word(void **unused)
{
    static const char *const words[] = {"counter", "gauge", "histogram", "summary", "sum"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"guage", "gauge"},  /* neighbours swapped */
        {"gaug", "gauge"},   /* one left out */
        {"gaugee", "gauge"}, /* one too many */
        {"gaoge", "gauge"},  /* one replaced */
        {"Gauge", "gauge"},  /* letter case counts nothing */
        {"histogarm", "histogram"},
        {"histgrm", "histogram"}, /* two edits */
        {"hstgrm", NULL},         /* three */
        {"gauge", "gauge"},
        {"gg", NULL},   /* anything is near a short word */
        {"sun", "sum"}, /* one of three is fewer than half */
        {"", NULL},
        {"a_word_of_more_than_sixty_three_letters_is_nobodys_option_or_plugin", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = nearest_word(cases[i].word, words, sizeof words / sizeof *words);

        assert_string_equal(nearest != NULL ? nearest : "none",
                            cases[i].nearest != NULL ? cases[i].nearest : "none");
    }
}

static void test_the_first_of_equals_wins(void **unused)
{
    static const char *const words[] = {"name", "game", "fame"};

    assert_string_equal(nearest_word("lame", words, 3), "name");
    assert_string_equal(nearest_word("fame", words, 3), "fame");
    assert_null(nearest_word("lame", words, 0));
}

static void test_long_candidates_are_passed_over(void **unused)
{
    static const char *const words[] = {
        "nobody_calls_an_option_by_a_word_as_long_as_this_one_is_of_65_or_so", "name"};

    assert_string_equal(nearest_word("nmae", words, 2), "name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_nearest_word),
        cmocka_unit_test(test_the_first_of_equals_wins),
        cmocka_unit_test(test_long_candidates_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
