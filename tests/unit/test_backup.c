/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of a backup: what is written is read as it was, and no bit of it can be changed, and no
 * byte be missing or too many, without the reader telling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "series.h"
#include "store/backup.h"

static const struct record_layout layout = {
    .title = "req_*",
    .key = "req_\"a\\b\"",
    .name = "req__a_b_",
    .plugin = "counter",
    .shape = "buckets = { 1 }\n",
    .aside_ns = INT64_MAX,
    .kind = RASAD_COUNTER,
    .state_version = UINT32_MAX,
    .exact_size = 7,
    .is_glob = 1,
    .label_count = 3,
    .labels = {"path", "code", "zone"},
};

/* What was read, as lines again. */
static struct text copy;

static bool copy_layout(void *context, uint32_t id, const struct record_layout *record,
                        struct rasad_error *error)
{
    assert_true(backup_add_layout(&copy, id, record, error));
    text_add_char(&copy, '\n');
    return true;
}

static bool copy_series(void *context, uint64_t id, const struct record_series *record,
                        struct rasad_error *error)
{
    assert_true(backup_add_series(&copy, id, record, &layout, error));
    text_add_char(&copy, '\n');
    return true;
}

static bool copy_stream(void *context, const struct record_stream *record,
                        struct rasad_error *error)
{
    backup_add_stream(&copy, record);
    text_add_char(&copy, '\n');
    return true;
}

static const struct backup_taker taker = {copy_layout, copy_series, copy_stream};

/* A whole backup of every kind of line, with values at their ends. */
static struct text make_backup(void)
{
    const struct backup_header header = {
        .version = "1.2.3", .time_ns = INT64_MAX, .commit = {UINT64_MAX, INT64_MIN}};
    const struct record_stream stream = {.agent = "web \"1\"",
                                         .agent_length = 7,
                                         .id = {0, 1, 2, 0xfe, 0xff},
                                         .applied = UINT64_MAX,
                                         .chain = 0x00c0ffee,
                                         .last_used_ns = -1,
                                         .last_seen_ns = INT64_MIN + 1};
    static unsigned char labels[64];
    unsigned char *end = labels;
    struct record_series series = {.layout = 3,
                                   .flags = RECORD_AGENT | RECORD_NAMED,
                                   .created_ns = INT64_MAX - 1,
                                   .updated_ns = -5,
                                   .agent = "\xc3\xa9",
                                   .agent_length = 2,
                                   .labels = labels,
                                   .state = "\0\xff\x80states",
                                   .state_size = 7};
    struct rasad_error error;
    struct text out = {0};

    end = series_put_label(end, "\0\n\"\\\x7f", 5);
    end = series_put_label(end, "", 0);
    end = series_put_label(end, "\xf0\x9f\xa6\x80", 4);
    backup_add_header(&out, &header);
    text_add_char(&out, '\n');
    assert_true(backup_add_layout(&out, 3, &layout, &error));
    text_add_char(&out, '\n');
    series.labels_size = (uint32_t)(end - labels);
    assert_true(backup_add_series(&out, 1, &series, &layout, &error));
    text_add_char(&out, '\n');
    series.labels_size = 0;
    series.flags = RECORD_OVERFLOW;
    assert_true(backup_add_series(&out, INT64_MAX, &series, &layout, &error));
    text_add_char(&out, '\n');
    backup_add_stream(&out, &stream);
    text_add_char(&out, '\n');
    backup_add_end(&out, 5, crc32c(0, out.at, out.length));
    text_add_char(&out, '\n');
    assert_false(out.failed);
    return out;
}

/* Whether all of it is taken, to its end. */
static bool take(const char *at, size_t length, struct backup_reader *reader,
                 struct rasad_error *error)
{
    const char *end = at + length, *line_end;
    bool fine = backup_reader_open(reader, &taker, NULL, error);

    assert_true(fine);
    text_clear(&copy);
    while (fine && (line_end = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        fine = backup_reader_take(reader, at, (size_t)(line_end + 1 - at), error);
        at = line_end + 1;
    }
    fine = fine && at == end && reader->stage == BACKUP_END;
    backup_reader_close(reader);
    return fine;
}

static void test_what_is_read_is_what_was_written(void **context)
{
    struct text backup = make_backup();
    struct rasad_error error = {""};
    struct backup_reader reader;
    const char *body = memchr(backup.at, '\n', backup.length);

    if (!take(backup.at, backup.length, &reader, &error))
        fail_msg("line %d: %s", (int)reader.lines + 1, error.text);
    assert_memory_equal(copy.at, body + 1, copy.length);
    assert_int_equal(reader.header.time_ns, INT64_MAX);
    assert_int_equal(reader.header.commit.number, UINT64_MAX);
    assert_int_equal(reader.header.commit.uptime_ns, INT64_MIN);
    assert_string_equal(reader.header.version, "1.2.3");
    assert_int_equal(reader.series_count, 2);
    text_free(&backup);
}

static void test_each_bit_counts(void **context)
{
    struct text backup = make_backup();
    struct rasad_error error;
    struct backup_reader reader;

    for (size_t i = 0; i < 8 * backup.length; i++) {
        backup.at[i / 8] ^= (char)(1 << i % 8);
        if (take(backup.at, backup.length, &reader, &error))
            fail_msg("bit %zu of byte %zu does not count", i % 8, i / 8);
        backup.at[i / 8] ^= (char)(1 << i % 8);
    }
    text_free(&backup);
}

static void test_each_byte_must_be_there_once(void **context)
{
    struct text backup = make_backup();
    struct rasad_error error;
    struct backup_reader reader;

    for (size_t i = 0; i < backup.length; i++) {
        struct text other = {0};

        if (take(backup.at, i, &reader, &error))
            fail_msg("a backup cut off after %zu bytes is taken", i);
        text_add(&other, backup.at, i);
        text_add(&other, backup.at + i + 1, backup.length - i - 1);
        if (take(other.at, other.length, &reader, &error))
            fail_msg("byte %zu needn't be there", i);
        text_clear(&other);
        text_add(&other, backup.at, i + 1);
        text_add(&other, backup.at + i, backup.length - i);
        if (take(other.at, other.length, &reader, &error))
            fail_msg("byte %zu may be there twice", i);
        text_free(&other);
    }
    text_free(&backup);
}

static void test_a_series_needs_its_layout(void **context)
{
    static const char broken[] = "{\"series\":{\"id\":1,\"layout\":1}}\n";
    struct text backup = make_backup();
    struct rasad_error error = {""};
    struct backup_reader reader;
    const char *head_end = memchr(backup.at, '\n', backup.length);

    assert_true(backup_reader_open(&reader, &taker, NULL, &error));
    assert_true(backup_reader_take(&reader, backup.at, (size_t)(head_end + 1 - backup.at), &error));
    assert_false(backup_reader_take(&reader, broken, strlen(broken), &error));
    assert_string_equal(error.text, "there is no layout 1");
    backup_reader_close(&reader);
    text_free(&backup);
}

static void test_what_json_cannot_hold_is_not_written(void **context)
{
    struct record_layout other = layout;
    struct record_series series = {.layout = 3, .state = "1234567", .state_size = 7};
    struct rasad_error error = {""};
    struct text out = {0};

    other.shape = "\xff";
    assert_false(backup_add_layout(&out, 3, &other, &error));
    assert_string_equal(error.text, "a text of layout 3 is no UTF-8");
    other = layout;
    other.kind = 5;
    assert_false(backup_add_layout(&out, 3, &other, &error));
    series.labels = (const unsigned char *)"\5\0abc";
    series.labels_size = 5;
    assert_false(backup_add_series(&out, 1, &series, &layout, &error));
    assert_string_equal(error.text, "the labels of series 1 are none");
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read_is_what_was_written),
        cmocka_unit_test(test_each_bit_counts),
        cmocka_unit_test(test_each_byte_must_be_there_once),
        cmocka_unit_test(test_a_series_needs_its_layout),
        cmocka_unit_test(test_what_json_cannot_hold_is_not_written),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    text_free(&copy);
    return failed;
}
