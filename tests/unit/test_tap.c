/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "admin/json_add.h"
#include "admin/tap.h"
#include <cmocka.h>

/* A refusal: of an accepted sample, all else is the same but for its series. */
static struct verdict refusal(const char *agent, const char *key)
{
    return (struct verdict){
        .agent = agent,
        .address = "127.0.0.1:1",
        .key = key,
        .sample = "1",
        .sample_length = 1,
        .reason = REJECT_BAD_VALUE,
        .text = "no",
        .text_length = 2,
    };
}

static void tell(struct taps *taps, const char *agent, const char *key)
{
    struct verdict_writer writer = verdict_writer_make();
    const struct verdict verdict = refusal(agent, key);

    taps_tell(taps, &writer, &verdict, INT64_C(1700000000123000000), "agent");
    verdict_writer_free(&writer);
}

static size_t count_lines(const struct text *text)
{
    size_t count = 0;

    for (size_t i = 0; i < text->length; i++)
        count += text->at[i] == '\n';
    return count;
}

static bool rings(const struct tap *tap)
{
    struct pollfd polled = {.fd = tap->bell, .events = POLLIN};

    return poll(&polled, 1, 0) == 1;
}

static void test_a_filter_lets_through_what_it_says(void **unused)
{
    static const struct {
        struct tap_filter filter;
        const char *agent, *key;
        bool passes;
    } cases[] = {
        {{NULL, NULL, false}, "a", "k", true},        {{NULL, NULL, false}, "a", NULL, true},
        {{"a", NULL, false}, "a", "k", true},         {{"a", NULL, false}, "ab", "k", false},
        {{NULL, "req_*", false}, "a", "req_x", true}, {{NULL, "req_*", false}, "a", "k", false},
        {{NULL, "*", false}, "a", NULL, false}, /* a whole message has no key */
        {{NULL, NULL, true}, "a", "k", true},
    };
    struct taps taps;

    taps_open(&taps);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text lines = {0};
        struct rasad_error error;
        uint64_t skipped;
        struct tap tap;

        assert_true(tap_open(&taps, &tap, &cases[i].filter, &error));
        tell(&taps, cases[i].agent, cases[i].key);
        assert_int_equal(rings(&tap), cases[i].passes);
        tap_take(&taps, &tap, &lines, &skipped);
        if (count_lines(&lines) != cases[i].passes || skipped != 0)
            fail_msg("case %zu: %zu lines", i, count_lines(&lines));
        assert_false(rings(&tap));
        tap_close(&taps, &tap);
        text_free(&lines);
    }
    taps_close(&taps);
}

static void test_a_line_says_it_all(void **unused)
{
    static const struct tap_filter all = {NULL, NULL, false};
    struct text lines = {0};
    struct rasad_error error;
    uint64_t skipped;
    struct taps taps;
    struct tap tap;

    taps_open(&taps);
    assert_false(taps_are_open(&taps));
    assert_true(tap_open(&taps, &tap, &all, &error));
    assert_true(taps_are_open(&taps));
    tell(&taps, "web\"1", "k");
    tap_take(&taps, &tap, &lines, &skipped);
    assert_string_equal(text_end(&lines),
                        "{\"time\":1700000000.123,\"agent\":\"web\\\"1\","
                        "\"address\":\"127.0.0.1:1\",\"verdict\":\"refused\",\"key\":\"k\","
                        "\"sample\":\"1\",\"reason\":\"bad_value\",\"text\":\"no\"}\n");
    tap_close(&taps, &tap);
    assert_false(taps_are_open(&taps));
    text_free(&lines);
    taps_close(&taps);
}

static void test_what_finds_no_room_is_counted(void **unused)
{
    static const struct tap_filter all = {NULL, NULL, false};
    struct text lines = {0};
    struct rasad_error error;
    uint64_t skipped;
    size_t seen;
    struct taps taps;
    struct tap tap;

    taps_open(&taps);
    assert_true(tap_open(&taps, &tap, &all, &error));
    for (int i = 0; i < 10000; i++)
        tell(&taps, "a", "k");
    tap_take(&taps, &tap, &lines, &skipped);
    seen = count_lines(&lines);
    assert_in_range(lines.length, TAP_MOST_BYTES, TAP_MOST_BYTES + 4096);
    assert_int_equal(seen + skipped, 10000);
    assert_true(skipped > 0);
    tell(&taps, "a", "k"); /* and then there is room again */
    assert_true(rings(&tap));
    tap_take(&taps, &tap, &lines, &skipped);
    assert_int_equal(count_lines(&lines), 1);
    assert_int_equal(skipped, 0);
    tap_close(&taps, &tap);
    text_free(&lines);
    taps_close(&taps);
}

#define TOLD 20000

static void *tell_many(void *taps)
{
    for (int i = 0; i < TOLD; i++)
        tell(taps, "a", "k");
    return NULL;
}

static void test_several_shards_tell_several_watchers_exactly(void **unused)
{
    static const struct tap_filter all = {NULL, NULL, false};
    struct text lines = {0};
    uint64_t seen[2] = {0};
    struct rasad_error error;
    pthread_t threads[2];
    struct taps taps;
    struct tap tap[2];

    taps_open(&taps);
    for (int i = 0; i < 2; i++)
        assert_true(tap_open(&taps, &tap[i], &all, &error));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tell_many, &taps), 0);
    while (seen[0] < 2 * TOLD || seen[1] < 2 * TOLD) {
        struct pollfd polled[] = {{.fd = tap[0].bell, .events = POLLIN},
                                  {.fd = tap[1].bell, .events = POLLIN}};

        assert_true(poll(polled, 2, 20000) > 0);
        for (int i = 0; i < 2; i++) {
            uint64_t skipped;

            tap_take(&taps, &tap[i], &lines, &skipped);
            seen[i] += count_lines(&lines) + skipped;
        }
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(seen[i], 2 * TOLD);
        tap_close(&taps, &tap[i]);
    }
    text_free(&lines);
    taps_close(&taps);
}

static void test_a_long_sample_is_cut_between_characters(void **unused)
{
    char sample[VERDICT_MOST_SHOWN + 10];
    struct verdict_writer writer = verdict_writer_make();
    struct verdict verdict = refusal("a", "k");
    struct text out = {0};

    memset(sample, 'x', sizeof sample);
    memcpy(sample + VERDICT_MOST_SHOWN - 1, "\xe2\x82\xac", 3); /* the limit falls within it */
    verdict.sample = sample;
    verdict.sample_length = sizeof sample;
    verdict_write(&writer, &verdict, 0, "agent", &out);
    assert_non_null(strstr(text_end(&out), "x...\""));
    assert_null(strstr(text_end(&out), "\\\\x"));
    verdict.sample = "\xff\x1b";
    verdict.sample_length = 2;
    text_clear(&out);
    verdict_write(&writer, &verdict, 0, "agent", &out);
    assert_non_null(strstr(text_end(&out), "\"\\\\xff\\\\x1b\"")); /* no UTF-8, so made visible */
    text_free(&out);
    verdict_writer_free(&writer);
}

static void test_a_report_beyond_its_room_counts(void **unused)
{
    struct verdict_writer writer = verdict_writer_make();
    const struct verdict verdict = refusal("a", "k");
    struct text out = {0};
    struct report report = {.out = &out};
    size_t told;

    for (int i = 0; i < 1000; i++)
        verdict_report(&writer, &verdict, 0, "agent", &report);
    told = count_lines(&out);
    assert_in_range(out.length, REPORT_MOST_BYTES, REPORT_MOST_BYTES + 4096);
    assert_int_equal(told + report.refused, 1000);
    text_clear(&out);
    report_finish(&report);
    report_finish(&report); /* once is enough */
    assert_non_null(strstr(text_end(&out), "{\"@verdicts\":{\"accepted\":0,\"refused\":"));
    assert_int_equal(count_lines(&out), 1);
    text_free(&out);
    verdict_writer_free(&writer);
}

static void test_json_is_written_with_commas_where_they_belong(void **unused)
{
    struct text out = {0};

    json_add_open(&out, NULL, '{');
    json_add_open(&out, "a", '[');
    json_add_count(&out, NULL, 1);
    json_add_number(&out, NULL, 0.1);
    json_add_number(&out, NULL, __builtin_inf());
    json_add_open(&out, NULL, '{');
    json_add_close(&out, '}');
    json_add_open(&out, NULL, '[');
    json_add_close(&out, ']');
    json_add_close(&out, ']');
    json_add_string(&out, "s", "ends with {");
    json_add_string(&out, "n", NULL);
    json_add_bool(&out, "b", false);
    json_add_bytes(&out, "u", "\xff", 1);
    json_add_close(&out, '}');
    assert_string_equal(text_end(&out),
                        "{\"a\":[1,0.1,\"+Inf\",{},[]],\"s\":\"ends with {\",\"n\":null,"
                        "\"b\":false,\"u\":\"\\\\xff\"}");
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_filter_lets_through_what_it_says),
        cmocka_unit_test(test_a_line_says_it_all),
        cmocka_unit_test(test_what_finds_no_room_is_counted),
        cmocka_unit_test(test_several_shards_tell_several_watchers_exactly),
        cmocka_unit_test(test_a_long_sample_is_cut_between_characters),
        cmocka_unit_test(test_a_report_beyond_its_room_counts),
        cmocka_unit_test(test_json_is_written_with_commas_where_they_belong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
