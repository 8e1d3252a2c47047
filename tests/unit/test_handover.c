/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "handover/durable.h"
#include "handover/handover_wire.h"

#define BYTES(text) ((struct handover_bytes){text, sizeof(text) - 1})

/* A frame that has looked at these bytes. */
static struct frame frame_behind(const char *bytes)
{
    struct frame frame = frame_make(1 << 20);
    size_t at, size;

    assert_int_equal(frame_next(&frame, bytes, strlen(bytes), &at, &size), FRAME_MORE);
    return frame;
}

static const char begun[] = "{\"A\": [1, \"\\ud8";

/* One of everything. */
static void write_sample(struct text *out)
{
    struct handover_number numbers[] = {{"messages", 7}, {"rejected bad_json", UINT64_MAX}};
    struct handover_family families[] = {{BYTES("A"), BYTES(""), 1, 2, 3, 4},
                                         {BYTES("g_x"), BYTES("g_x"), 5, 6, 7, 8}};
    struct handover_agent agents[] = {{BYTES("web-1"), true, -1, 2, 3, 4, 5, 6, 7}};
    int32_t workers[] = {4711};
    struct handover_connection connections[] = {
        {.fd = 17,
         .address = BYTES("127.0.0.1:41604"),
         .frame = frame_make(100),
         .again = BYTES("00112233445566778899aabbccddeeff")},
        {.fd = 18,
         .address = BYTES("[::1]:5"),
         .agent = BYTES("web-1"),
         .begun = true,
         .named = true,
         .shares_lines = true,
         .is_stored = true,
         .has_stream = true,
         .stream = {1, 2, 3},
         .applied = 99,
         .chain = 0xdeadbeef,
         .messages = 3,
         .acknowledged = 98,
         .frame = frame_behind(begun),
         .in = {begun, sizeof begun - 1},
         .out = BYTES("{\"@ack\":98}\n")},
    };
    const struct handover handover = {
        .version = BYTES("1.2.3"),
        .begun_ns = 12345,
        .asker = 9,
        .numbers = numbers,
        .number_count = 2,
        .families = families,
        .family_count = 2,
        .agents = agents,
        .agent_count = 1,
        .places = {{BYTES("127.0.0.1"), 5050, false, 2, {5, 6}},
                   {BYTES("unix:/x"), 0, true, 1, {7}}},
        .workers = workers,
        .worker_count = 1,
        .connections = connections,
        .connection_count = 2,
    };

    handover_write(&handover, out);
    assert_false(out->failed);
}

static void assert_bytes(struct handover_bytes bytes, const char *text)
{
    assert_int_equal(bytes.length, strlen(text));
    assert_memory_equal(bytes.at, text, bytes.length);
}

static void test_what_was_written_is_read(void **state)
{
    struct text bytes = {0}, again = {0};
    struct rasad_error error = {""};
    struct handover handover;

    write_sample(&bytes);
    assert_true(handover_read(bytes.at, bytes.length, &handover, &error));
    assert_bytes(handover.version, "1.2.3");
    assert_int_equal(handover.begun_ns, 12345);
    assert_int_equal(handover.asker, 9);
    assert_string_equal(handover.numbers[1].name, "rejected bad_json");
    assert_true(handover.numbers[1].value == UINT64_MAX);
    assert_bytes(handover.families[1].key, "g_x");
    assert_int_equal(handover.families[1].render_errors, 8);
    assert_int_equal(handover.agents[0].forks, 7);
    assert_int_equal(handover.places[HANDOVER_LISTEN].fds[1], 6);
    assert_int_equal(handover.places[HANDOVER_ADMIN].count, 0);
    assert_int_equal(handover.workers[0], 4711);
    assert_int_equal(handover.connection_count, 2);
    assert_bytes(handover.connections[0].again, "00112233445566778899aabbccddeeff");
    assert_bytes(handover.connections[1].in, begun);
    assert_int_equal(handover.connections[1].chain, 0xdeadbeef);
    handover_write(&handover, &again); /* which shows that nothing was left out */
    assert_int_equal(again.length, bytes.length);
    assert_memory_equal(again.at, bytes.at, bytes.length);
    handover_free(&handover);
    text_free(&bytes);
    text_free(&again);
}

static void test_a_frame_goes_on_where_it_was(void **state)
{
    static const char rest[] = "3d\\ude00\"]} {}";
    struct text bytes = {0}, in = {0};
    struct rasad_error error = {""};
    struct handover handover;
    struct frame frame;
    size_t at, size;

    write_sample(&bytes);
    assert_true(handover_read(bytes.at, bytes.length, &handover, &error));
    text_add(&in, handover.connections[1].in.at, handover.connections[1].in.length);
    text_add_string(&in, rest);
    frame = handover.connections[1].frame;
    assert_int_equal(frame_next(&frame, in.at, in.length, &at, &size), FRAME_OBJECT);
    assert_int_equal(size, in.length - 3);
    assert_int_equal(frame_next(&frame, in.at, in.length, &at, &size), FRAME_OBJECT);
    handover_free(&handover);
    text_free(&bytes);
    text_free(&in);
}

static void refuse(const char *bytes, size_t length, const char *what, size_t where)
{
    /* A copy of just this length, so that sanitizers see a read behind it. */
    char *copy = malloc(length + 1);
    struct rasad_error error = {""};
    struct handover handover;

    memcpy(copy, bytes, length);
    copy = realloc(copy, length > 0 ? length : 1);
    if (handover_read(copy, length, &handover, &error))
        fail_msg("%s at %zu was taken", what, where);
    assert_true(error.text[0] != '\0');
    free(copy);
}

static void test_every_truncation_and_every_flipped_bit_is_refused(void **state)
{
    struct text bytes = {0};

    write_sample(&bytes);
    for (size_t length = 0; length < bytes.length; length++)
        refuse(bytes.at, length, "a truncation", length);
    for (size_t bit = 0; bit < 8 * bytes.length; bit++) {
        bytes.at[bit / 8] = (char)(bytes.at[bit / 8] ^ 1 << bit % 8);
        refuse(bytes.at, bytes.length, "a flipped bit", bit);
        bytes.at[bit / 8] = (char)(bytes.at[bit / 8] ^ 1 << bit % 8);
    }
    text_add_char(&bytes, 0);
    refuse(bytes.at, bytes.length, "a byte too many", bytes.length);
    text_free(&bytes);
}

/* Makes the checksum right again. */
static void seal(struct text *bytes)
{
    uint32_t crc = crc32c(0, bytes->at + HANDOVER_HEAD_BYTES, bytes->length - HANDOVER_HEAD_BYTES);
    uint64_t length = bytes->length - HANDOVER_HEAD_BYTES;

    memcpy(bytes->at + 12, &crc, sizeof crc);
    memcpy(bytes->at + 16, &length, sizeof length);
}

/* Damage that the checksum doesn't see is refused or harmless, and read within its bounds. */
static void test_no_sealed_bytes_do_any_harm(void **state)
{
    struct text bytes = {0};

    write_sample(&bytes);
    for (size_t bit = 8 * HANDOVER_HEAD_BYTES; bit < 8 * bytes.length; bit++) {
        struct rasad_error error = {""};
        struct handover handover;
        char *copy;

        bytes.at[bit / 8] = (char)(bytes.at[bit / 8] ^ 1 << bit % 8);
        seal(&bytes);
        copy = malloc(bytes.length);
        memcpy(copy, bytes.at, bytes.length);
        if (handover_read(copy, bytes.length, &handover, &error)) {
            for (size_t i = 0; i < handover.connection_count; i++)
                assert_true(handover.connections[i].frame.next <=
                            handover.connections[i].in.length);
            handover_free(&handover);
        }
        free(copy);
        bytes.at[bit / 8] = (char)(bytes.at[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t cut = bytes.length - 1; cut > HANDOVER_HEAD_BYTES; cut--) {
        bytes.length = cut;
        seal(&bytes);
        refuse(bytes.at, bytes.length, "a sealed truncation", cut);
    }
    text_free(&bytes);
}

static void test_another_version_is_told_by_its_number(void **state)
{
    struct text bytes = {0};
    struct rasad_error error = {""};
    struct handover handover;
    uint32_t version = HANDOVER_VERSION + 1;

    write_sample(&bytes);
    memcpy(bytes.at + 8, &version, sizeof version);
    assert_false(handover_read(bytes.at, bytes.length, &handover, &error));
    assert_non_null(strstr(error.text, "the handover has format 4, but rasadd " RASAD_VERSION
                                       " reads format 3 (restart the server instead)"));
    text_free(&bytes);
}

static void test_frames_that_cannot_be_are_refused(void **state)
{
    static const struct frame wrong[] = {
        {.start = 1, .next = 0, .verdict = FRAME_OBJECT},    /* it begins behind what was seen */
        {.next = 4, .verdict = FRAME_OBJECT},                /* more was seen than is there */
        {.state = 255, .verdict = FRAME_OBJECT},             /* no such state */
        {.depth = 33, .verdict = FRAME_OBJECT},              /* too deep */
        {.verdict = FRAME_MORE},                             /* no verdict */
        {.verdict = 99},                                     /* likewise */
        {.verdict = FRAME_OBJECT, .in_key = 3},              /* no such place in a key */
        {.verdict = FRAME_OBJECT, .utf8_left = 4},           /* no character is so long */
        {.verdict = FRAME_OBJECT, .state = 5, .literal = 9}, /* no such literal */
        {.verdict = FRAME_OBJECT, .state = 5, .literal = 0, .matched = 9}, /* behind its end */
        {.verdict = FRAME_OBJECT, .state = 6},               /* a value within nothing */
        {.verdict = FRAME_OBJECT, .state = 2, .counted = 5}, /* beyond max_message */
    };
    const struct frame fine = frame_make(0);

    assert_true(frame_is_sound(&fine, 3));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (frame_is_sound(&wrong[i], 3))
            fail_msg("frame %zu", i);
    }
}

static void test_without_a_folder_for_state_an_upgrade_is_refused(void **state)
{
    struct conf conf = {.state_dir = (char[]){"/var/lib/rasad"}};
    struct rasad_error error = {""};

    assert_true(durable_is_wanted(&conf, &error));
    conf.state_dir = (char[]){""};
    assert_false(durable_is_wanted(&conf, &error));
    assert_string_equal(error.text, "state_dir is \"\", so an upgrade would lose all counts (set "
                                    "state_dir, or restart the server)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_a_frame_goes_on_where_it_was),
        cmocka_unit_test(test_every_truncation_and_every_flipped_bit_is_refused),
        cmocka_unit_test(test_no_sealed_bytes_do_any_harm),
        cmocka_unit_test(test_another_version_is_told_by_its_number),
        cmocka_unit_test(test_frames_that_cannot_be_are_refused),
        cmocka_unit_test(test_without_a_folder_for_state_an_upgrade_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
