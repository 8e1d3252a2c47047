/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the database: what is written is read again, and nothing else is. */
#include "store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"

/* One record as bytes, and how to read it: false if it is refused. */
struct sealed {
    struct text bytes;
    struct record_key key;
    bool (*read)(struct record_key key, const void *at, size_t size, struct rasad_error *error);
};

static const uint32_t layout_id = 7;
static const uint64_t series_id = UINT64_C(0x123456789a);

static const struct record_layout layout = {
    .title = "requests*",
    .key = "requests_web",
    .name = "requests_web",
    .plugin = "histogram",
    .shape = "buckets = { 1, 2 }",
    .aside_ns = 77,
    .kind = 3,
    .state_version = 2,
    .exact_size = 40,
    .is_glob = 1,
    .label_count = 2,
    .labels = {"path", ""},
};

static const struct record_series series = {
    .layout = 7,
    .flags = RECORD_AGENT | RECORD_NAMED,
    .created_ns = 1,
    .updated_ns = -2,
    .agent_length = 5,
    .labels_size = 6,
    .state_size = 8,
    .agent = "web-1",
    .labels = (const unsigned char *)"\1\0x\1\0y",
    .state = "12345678",
};

static const struct record_stream stream = {
    .agent = "web-1",
    .agent_length = 5,
    .id = "0123456789abcde",
    .applied = UINT64_C(1) << 60,
    .chain = 0xdeadbeef,
    .last_used_ns = -5,
    .last_seen_ns = 6,
};

/* ---- Every kind ---- */

static bool read_format(struct record_key key, const void *at, size_t size,
                        struct rasad_error *error)
{
    return record_read_format(at, size, error);
}

static bool read_commit(struct record_key key, const void *at, size_t size,
                        struct rasad_error *error)
{
    struct record_commit read;

    if (!record_read_commit(at, size, &read, error))
        return false;
    assert_int_equal(read.number, 42);
    assert_int_equal(read.uptime_ns, 43);
    return true;
}

static bool read_layout(struct record_key key, const void *at, size_t size,
                        struct rasad_error *error)
{
    struct record_layout read;

    if (!record_read_layout(key, at, size, &read, error))
        return false;
    assert_true(record_layout_equals(&read, &layout));
    assert_int_equal(read.aside_ns, layout.aside_ns);
    return true;
}

static bool read_series(struct record_key key, const void *at, size_t size,
                        struct rasad_error *error)
{
    struct record_series read;

    if (!record_read_series(key, at, size, &read, error))
        return false;
    assert_int_equal(read.layout, series.layout);
    assert_int_equal(read.flags, series.flags);
    assert_int_equal(read.created_ns, series.created_ns);
    assert_int_equal(read.updated_ns, series.updated_ns);
    assert_int_equal(read.agent_length, series.agent_length);
    assert_memory_equal(read.agent, series.agent, series.agent_length);
    assert_int_equal(read.labels_size, series.labels_size);
    assert_memory_equal(read.labels, series.labels, series.labels_size);
    assert_int_equal(read.state_size, series.state_size);
    assert_memory_equal(read.state, series.state, series.state_size);
    return true;
}

static bool read_stream(struct record_key key, const void *at, size_t size,
                        struct rasad_error *error)
{
    struct record_stream read;

    if (!record_read_stream(key, at, size, &read, error))
        return false;
    assert_int_equal(read.agent_length, stream.agent_length);
    assert_memory_equal(read.agent, stream.agent, stream.agent_length);
    assert_memory_equal(read.id, stream.id, sizeof stream.id);
    assert_int_equal(read.applied, stream.applied);
    assert_int_equal(read.chain, stream.chain);
    assert_int_equal(read.last_used_ns, stream.last_used_ns);
    assert_int_equal(read.last_seen_ns, stream.last_seen_ns);
    return true;
}

enum { KINDS = 5 };

/* One of each; to be freed with free_all(). */
static void seal_all(struct sealed sealed[KINDS], unsigned char room[RECORD_STREAM_KEY])
{
    memset(sealed, 0, KINDS * sizeof *sealed);
    sealed[0].read = read_format;
    record_add_format(&sealed[0].bytes);
    sealed[1].read = read_commit;
    record_add_commit(&sealed[1].bytes, &(struct record_commit){.number = 42, .uptime_ns = 43});
    sealed[2].read = read_layout;
    sealed[2].key = (struct record_key){&layout_id, sizeof layout_id};
    record_add_layout(&sealed[2].bytes, layout_id, &layout);
    sealed[3].read = read_series;
    sealed[3].key = (struct record_key){&series_id, sizeof series_id};
    assert_true(text_reserve(&sealed[3].bytes, record_series_size(&series)));
    record_put_series(sealed[3].bytes.at, series_id, &series);
    sealed[3].bytes.length = record_series_size(&series);
    sealed[4].read = read_stream;
    sealed[4].key = record_stream_key(&stream, room);
    record_add_stream(&sealed[4].bytes, &stream);
}

static void free_all(struct sealed sealed[KINDS])
{
    for (int i = 0; i < KINDS; i++)
        text_free(&sealed[i].bytes);
}

/* Reads bytes that lie in a block of just their size, so that a read beyond it is noticed. */
static bool read_copy(const struct sealed *sealed, const char *bytes, size_t size)
{
    char *copy = malloc(size + (size == 0));
    struct rasad_error error = {""};
    bool fine;

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    fine = sealed->read(sealed->key, copy, size, &error);
    assert_true(fine == (error.text[0] == '\0'));
    free(copy);
    return fine;
}

static void test_what_is_written_is_read(void **state)
{
    unsigned char room[RECORD_STREAM_KEY];
    struct sealed sealed[KINDS];

    seal_all(sealed, room);
    for (int i = 0; i < KINDS; i++)
        assert_true(read_copy(&sealed[i], sealed[i].bytes.at, sealed[i].bytes.length));
    free_all(sealed);
}

static void test_records_that_are_cut_or_longer_are_refused(void **state)
{
    unsigned char room[RECORD_STREAM_KEY];
    struct sealed sealed[KINDS];

    seal_all(sealed, room);
    for (int i = 0; i < KINDS; i++) {
        for (size_t size = 0; size < sealed[i].bytes.length; size++)
            assert_false(read_copy(&sealed[i], sealed[i].bytes.at, size));
        text_add(&sealed[i].bytes, "", 1);
        assert_false(read_copy(&sealed[i], sealed[i].bytes.at, sealed[i].bytes.length));
    }
    free_all(sealed);
}

static void test_each_flipped_bit_is_noticed(void **state)
{
    unsigned char room[RECORD_STREAM_KEY];
    struct sealed sealed[KINDS];

    seal_all(sealed, room);
    for (int i = 0; i < KINDS; i++) {
        for (size_t bit = 0; bit < 8 * sealed[i].bytes.length; bit++) {
            sealed[i].bytes.at[bit / 8] ^= (char)(1 << bit % 8);
            assert_false(read_copy(&sealed[i], sealed[i].bytes.at, sealed[i].bytes.length));
            sealed[i].bytes.at[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    free_all(sealed);
}

static void test_a_record_under_another_key_is_refused(void **state)
{
    unsigned char room[RECORD_STREAM_KEY];
    struct sealed sealed[KINDS];

    seal_all(sealed, room);
    for (int i = 2; i < KINDS; i++) {
        unsigned char key[RECORD_STREAM_KEY + 1];
        size_t size = sealed[i].key.size;

        memcpy(key, sealed[i].key.at, size);
        sealed[i].key.at = key;
        for (size_t bit = 0; bit < 8 * size; bit++) {
            key[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(read_copy(&sealed[i], sealed[i].bytes.at, sealed[i].bytes.length));
            key[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        for (sealed[i].key.size = 0; sealed[i].key.size < size; sealed[i].key.size++)
            assert_false(read_copy(&sealed[i], sealed[i].bytes.at, sealed[i].bytes.length));
    }
    free_all(sealed);
}

/* ---- The format ---- */

/* Where things stand in the record "format". */
enum { FORMAT_AT = 4, MAGIC_AT = 8, BYTE_ORDER_AT = 16 };

/* Makes the sum right again. */
static void seal_format(struct text *bytes)
{
    uint32_t crc = crc32c(crc32c(0, "format", 6), bytes->at + 4, bytes->length - 4);

    memcpy(bytes->at, &crc, sizeof crc);
}

static void check_refused(const struct text *bytes, const char *part)
{
    struct rasad_error error = {""};

    assert_false(record_read_format(bytes->at, bytes->length, &error));
    if (strstr(error.text, part) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.text, part);
}

static void test_a_newer_format_is_told_whatever_else_it_has(void **state)
{
    const uint32_t newer = RECORD_FORMAT + 1;
    struct text bytes = {0};

    record_add_format(&bytes);
    memcpy(bytes.at + FORMAT_AT, &newer, sizeof newer);
    check_refused(&bytes, "install the newer version");
    text_add_string(&bytes, "more");
    check_refused(&bytes, "install the newer version");
    text_free(&bytes);
}

static void test_another_byte_order_and_another_magic_are_told(void **state)
{
    struct text bytes = {0};

    record_add_format(&bytes);
    for (int i = 0; i < 2; i++) {
        char byte = bytes.at[BYTE_ORDER_AT + i];

        bytes.at[BYTE_ORDER_AT + i] = bytes.at[BYTE_ORDER_AT + 3 - i];
        bytes.at[BYTE_ORDER_AT + 3 - i] = byte;
    }
    seal_format(&bytes);
    check_refused(&bytes, "another byte order");
    text_clear(&bytes);
    record_add_format(&bytes);
    bytes.at[MAGIC_AT] = 'R';
    seal_format(&bytes);
    check_refused(&bytes, "no state of Rasad's");
    text_free(&bytes);
}

/* ---- Bounds ---- */

static void test_what_is_as_long_as_can_be_is_read(void **state)
{
    static char agent[UINT16_MAX], name[255];
    struct record_series long_series = {.agent = agent, .agent_length = sizeof agent, .state = ""};
    struct record_stream long_stream = {.agent = name, .agent_length = sizeof name}, read_stream;
    struct record_series read;
    unsigned char room[RECORD_STREAM_KEY];
    struct record_key key = {&series_id, sizeof series_id};
    struct text bytes = {0};
    struct rasad_error error;

    memset(agent, 'a', sizeof agent);
    memset(name, 'n', sizeof name);
    assert_true(text_reserve(&bytes, record_series_size(&long_series)));
    record_put_series(bytes.at, series_id, &long_series);
    assert_true(record_read_series(key, bytes.at, record_series_size(&long_series), &read, &error));
    assert_int_equal(read.agent_length, sizeof agent);
    text_clear(&bytes);
    record_add_stream(&bytes, &long_stream);
    assert_true(record_read_stream(record_stream_key(&long_stream, room), bytes.at, bytes.length,
                                   &read_stream, &error));
    assert_int_equal(read_stream.agent_length, sizeof name);
    text_free(&bytes);
}

static void test_layouts_differ_in_anything_but_their_age(void **state)
{
    struct record_layout others[11];

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        others[i] = layout;
    others[0].title = "x";
    others[1].key = "x";
    others[2].name = "x";
    others[3].plugin = "x";
    others[4].shape = "x";
    others[5].kind++;
    others[6].state_version++;
    others[7].exact_size++;
    others[8].is_glob = 0;
    others[9].label_count = 1;
    others[10].labels[1] = "code";
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(record_layout_equals(&others[i], &layout));
    others[0] = layout;
    others[0].aside_ns = 0;
    assert_true(record_layout_equals(&others[0], &layout));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_records_that_are_cut_or_longer_are_refused),
        cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_a_record_under_another_key_is_refused),
        cmocka_unit_test(test_a_newer_format_is_told_whatever_else_it_has),
        cmocka_unit_test(test_another_byte_order_and_another_magic_are_told),
        cmocka_unit_test(test_what_is_as_long_as_can_be_is_read),
        cmocka_unit_test(test_layouts_differ_in_anything_but_their_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
