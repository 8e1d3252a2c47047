/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/frame.h"

#define NOW_NS (INT64_C(1700000000) * NS_PER_S)
#define REFUSED 0

static const struct {
    const char *value; /* of the member "k" */
    uint32_t type;     /* REFUSED: reason and text count */
    double number;
    const char *text;
    enum reject reason;
} cases[] = {
    {"1", RASAD_NUMBER, 1, "", 0},
    {"-0", RASAD_NUMBER, 0, "", 0},
    {"2.5e3", RASAD_NUMBER, 2500, "", 0},
    {"9007199254740993", RASAD_NUMBER, 9007199254740992.0, "", 0},
    /* json-c alone would clamp these two to what fits 64 bits */
    {"123456789012345678901234567890", RASAD_NUMBER, 123456789012345678901234567890.0, "", 0},
    {"-99999999999999999999", RASAD_NUMBER, -99999999999999999999.0, "", 0},
    {"1e999", REFUSED, 0, "too large", REJECT_BAD_VALUE},
    {"-1e999", REFUSED, 0, "too large", REJECT_BAD_VALUE},
    {"\"1\"", RASAD_NUMBER, 1, "1", 0},
    {"\"1.5e1\"", RASAD_NUMBER, 15, "1.5e1", 0},
    {"\" 1\"", RASAD_TEXT, 0, " 1", 0},
    {"\"01\"", RASAD_TEXT, 0, "01", 0},
    {"\"inf\"", RASAD_TEXT, 0, "inf", 0},
    {"\"1e999\"", REFUSED, 0, "too large", REJECT_BAD_VALUE},
    {"\"\"", RASAD_TEXT, 0, "", 0},
    {"\"A\\u00e9\"", RASAD_TEXT, 0, "A\xc3\xa9", 0},
    {"\"A\xc3\xa9\"", RASAD_TEXT, 0, "A\xc3\xa9", 0}, /* which a strict json-c 0.18 refuses */
    {"true", REFUSED, 0, "got true", REJECT_BAD_VALUE},
    {"null", REFUSED, 0, "got null", REJECT_BAD_VALUE},
    {"[]", REFUSED, 0, "an array", REJECT_BAD_VALUE}, /* an element of an array */
    {"{}", REFUSED, 0, "neither", REJECT_BAD_VALUE},
    {"{\"value\": 3}", RASAD_NUMBER, 3, "", 0},
    {"{\"value\": \"x\"}", RASAD_TEXT, 0, "x", 0},
    {"{\"add\": -3}", RASAD_CHANGE, -3, "", 0},
    {"{\"add\": \"4\"}", RASAD_CHANGE, 4, "", 0},
    {"{\"add\": \"x\"}", REFUSED, 0, "\"add\"", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"add\": 1}", REFUSED, 0, "both", REJECT_BAD_VALUE},
    {"{\"value\": [1]}", REFUSED, 0, "an array", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"lables\": {}}", REFUSED, 0, "lables", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"labels\": 5}", REFUSED, 0, "no object", REJECT_BAD_LABEL},
    {"{\"value\": 1, \"labels\": {\"a\": 5}}", REFUSED, 0, "label a", REJECT_BAD_LABEL},
    {"{\"value\": 1, \"time\": \"soon\"}", REFUSED, 0, "time", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"time\": -1}", REFUSED, 0, "time", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"exemplar\": 1}", REFUSED, 0, "exemplar", REJECT_BAD_VALUE},
    {"{\"value\": 1, \"exemplar\": {\"trace_id\": 1}}", REFUSED, 0, "trace_id", REJECT_BAD_LABEL},
};

/* The member "k" of this object, which the frame has found well-formed. */
static json_object *read_member(struct message_reader *reader, const char *bytes, const char *key)
{
    struct frame frame = frame_make(1 << 20);
    json_object *member = NULL;
    size_t at, size;

    assert_int_equal(frame_next(&frame, bytes, strlen(bytes), &at, &size), FRAME_OBJECT);
    assert_true(json_object_object_get_ex(message_read(reader, bytes + at, size, frame.traits), key,
                                          &member));
    return member;
}

static void check(struct message_reader *reader, size_t i)
{
    struct sample *sample = calloc(1, sizeof *sample);
    struct rasad_error error = {""};
    enum reject reason = REJECT_COUNT;
    char bytes[256];
    bool taken;

    (void)snprintf(bytes, sizeof bytes, "{\"k\": %s}", cases[i].value);
    taken = message_read_sample(read_member(reader, bytes, "k"), NOW_NS, sample, &reason, &error);
    if (taken != (cases[i].type != REFUSED))
        fail_msg("%s: %s", cases[i].value, taken ? "taken" : error.text);
    if (!taken && (reason != cases[i].reason || strstr(error.text, cases[i].text) == NULL))
        fail_msg("%s: %s: %s", cases[i].value, reject_word(reason), error.text);
    if (taken && (sample->value.type != cases[i].type || sample->value.number != cases[i].number ||
                  strcmp(sample->value.text, cases[i].text) != 0 ||
                  sample->value.length != strlen(cases[i].text) || sample->value.time_ns != NOW_NS))
        fail_msg("%s: type %u, number %g, text \"%s\"", cases[i].value, sample->value.type,
                 sample->value.number, sample->value.text);
    free(sample);
}

static void test_values_mean_what_the_contract_says(void **state)
{
    struct message_reader *reader = message_reader_new();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(reader, i);
    message_reader_free(reader);
}

static void test_labels_time_and_exemplar_come_along(void **state)
{
    struct message_reader *reader = message_reader_new();
    struct sample *sample = calloc(1, sizeof *sample);
    struct rasad_error error = {""};
    enum reject reason;
    json_object *member =
        read_member(reader,
                    "{\"k\": {\"labels\": {\"path\": \"/\", \"m\": \"a\\u0000b\"}, \"value\": 1,"
                    " \"time\": \"1600000000.5\", \"exemplar\": {\"trace_id\": \"ab\"}}}",
                    "k");

    assert_true(message_read_sample(member, NOW_NS, sample, &reason, &error));
    assert_int_equal(sample->label_count, 2);
    assert_string_equal(sample->labels[0].name, "path");
    assert_string_equal(sample->labels[0].value, "/");
    assert_int_equal(sample->labels[1].length, 3);
    assert_memory_equal(sample->labels[1].value, "a\0b", 3);
    assert_int_equal(sample->value.time_ns, INT64_C(1600000000500000000));
    assert_int_equal(sample->value.exemplar->label_count, 1);
    assert_string_equal(sample->value.exemplar->labels[0].value, "ab");
    assert_false(sample->clamped);
    free(sample);
    message_reader_free(reader);
}

static void test_a_time_far_ahead_is_clamped(void **state)
{
    struct message_reader *reader = message_reader_new();
    struct sample *sample = calloc(1, sizeof *sample);
    struct rasad_error error = {""};
    enum reject reason;
    json_object *member = read_member(reader, "{\"k\": {\"value\": 1, \"time\": 1e300}}", "k");

    assert_true(message_read_sample(member, NOW_NS, sample, &reason, &error));
    assert_true(sample->clamped);
    assert_int_equal(sample->value.time_ns, NOW_NS + 5 * 60 * NS_PER_S);
    free(sample);
    message_reader_free(reader);
}

static void test_a_name_with_a_nul_is_no_other_name(void **state)
{
    static const char bytes[] = "{\"k\\u0000\": 1, \"k\": 123456789012345678901, \"\\\\u0000\": 2}";
    struct message_reader *reader = message_reader_new();
    json_object *member = read_member(reader, bytes, "k");

    assert_true(json_object_get_double(member) == 123456789012345678901.0);
    member = read_member(reader, bytes, "\\u0000"); /* a backslash and five letters: no NUL */
    assert_int_equal(json_object_get_int(member), 2);
    member = read_member(reader, bytes, "k\xef\xbf\xbf");
    assert_non_null(member);
    assert_true(message_name_has_nul("k\xef\xbf\xbf", FRAME_HAS_NUL));
    assert_false(message_name_has_nul("k\xef\xbf\xbf", 0));
    assert_false(message_name_has_nul("k", FRAME_HAS_NUL));
    message_reader_free(reader);
}

static void test_a_member_can_be_had_as_it_was_written(void **state)
{
    static const struct {
        const char *bytes, *value;
    } rows[] = {
        {"{\"@ping\":1}", "1"},
        {"{ \"@ping\" : -0 }", "-0"},
        {"{\"@ping\":12345678901234567890}", "12345678901234567890"},
        {"{\"a\":{\"@ping\":1},\"@ping\":{\"b\":[\"}\",{}]},\"c\":2}", "{\"b\":[\"}\",{}]}"},
        {"{\"@ping\":1,\"@ping\":\"a\\\"b\\u0000\"}", "\"a\\\"b\\u0000\""},
        {"{\"@ping\":[ 1, 2 ]\n}", "[ 1, 2 ]"},
        {"{}", NULL},
        {"{\"a\":\"@ping\"}", NULL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = 0;
        const char *raw = message_raw_member(rows[i].bytes, strlen(rows[i].bytes), "@ping", &size);

        if (rows[i].value == NULL)
            assert_null(raw);
        else if (raw == NULL || size != strlen(rows[i].value) ||
                 memcmp(raw, rows[i].value, size) != 0)
            fail_msg("%s: %.*s", rows[i].bytes, (int)size, raw != NULL ? raw : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_mean_what_the_contract_says),
        cmocka_unit_test(test_labels_time_and_exemplar_come_along),
        cmocka_unit_test(test_a_time_far_ahead_is_clamped),
        cmocka_unit_test(test_a_name_with_a_nul_is_no_other_name),
        cmocka_unit_test(test_a_member_can_be_had_as_it_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
