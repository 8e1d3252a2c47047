/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump: what standard input becomes, whatever pieces it comes in, and that a server's frame
 * finds in its lines just the messages that the pump counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scoped.h"
#include "base/text.h"
#include "pump.h"

/* Notes a result as "MESSAGE\n" or "!reason\n", and a message also as a sender's line. */
static void note(const struct pump_found *found, enum pump_result result, struct text *notes,
                 struct text *wire)
{
    if (result == PUMP_REFUSED) {
        text_printf(notes, "!%s\n", found->reason);
        return;
    }
    text_add(notes, found->bytes, found->length);
    text_add_char(notes, '\n');
    text_add(wire, found->bytes, found->length);
    text_add_char(wire, '\n');
}

/* Feeds the bytes in pieces of this size. */
static void run(const char *bytes, size_t length, size_t piece, struct text *notes,
                struct text *wire)
{
    SCOPED(pump_free) struct pump pump = pump_make();
    struct pump_found found;
    enum pump_result result;

    for (size_t at = 0; at < length; at += piece) {
        assert_true(pump_feed(&pump, bytes + at, length - at < piece ? length - at : piece));
        while ((result = pump_next(&pump, &found)) != PUMP_MORE)
            note(&found, result, notes, wire);
    }
    while ((result = pump_end(&pump, &found)) != PUMP_MORE)
        note(&found, result, notes, wire);
}

/* Each message must be one message to a server as well, of the same bytes. */
static void check_wire(const struct text *wire, size_t messages)
{
    struct frame frame = frame_make(PUMP_MAX_MESSAGE);
    enum frame_kind kind;
    size_t at, size, from = 0;

    while ((kind = frame_next(&frame, wire->at, wire->length, &at, &size)) != FRAME_MORE) {
        assert_int_not_equal(kind, FRAME_DISCONNECT);
        assert_int_not_equal(kind, FRAME_TOO_LONG);
        if (kind == FRAME_OBJECT)
            assert_int_equal(at, from);
        from = at + size + 1; /* behind the line feed */
        messages--;
    }
    assert_int_equal(frame_end(&frame), FRAME_MORE);
    assert_int_equal(messages, 0);
}

#define HEADER "7                                                               "
#define HEADER14 "14                                                              "

static void input_becomes_the_messages_that_a_server_sees(void **state)
{
    static const struct {
        const char *input;
        const char *notes;
    } rows[] = {
        {"", ""},
        {"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n"},
        {"{\"a\":1}{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"}, /* run together */
        {"{\"a\":\n1}", "{\"a\":\n1}\n"},                 /* over two lines */
        {"1 2.5e3\n-7 {\"a\":1} 8", "{\"a\":1}\n"},       /* bare numbers are skipped */
        {HEADER "{\"a\":1}" HEADER "{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"},      /* the old header */
        {"nonsense {\"a\":1}\n{\"b\":2}\n", "nonsense {\"a\":1}\n{\"b\":2}\n"}, /* one, as a line */
        {"12 nonsense\r\n{}", "nonsense\r\n{}\n"}, /* without the number */
        {"{\"a\":1,}\n{}", "{\"a\":1,}\n{}\n"},
        {"[1,\n2] {}", "[1,\n2]\n{}\n"}, /* refused where it ends */
        {"true \"x\" {}", "true\n\"x\"\n{}\n"},
        {"nonsense", "nonsense\n"}, /* the end ends it */
        {"\xff\xfe\n{}", "\xff\xfe\n{}\n"},
        {"{\"@hello\":{}}{\"a\":1,\"@x\":1}{\"a\":{\"@x\":1}}",
         "!protocol\n!protocol\n{\"a\":{\"@x\":1}}\n"},       /* only at the top */
        {HEADER14 "{\"a\":1}{\"b\":2}{}", "!bad_json\n{}\n"}, /* would become two */
        {"{\"a\":1}\n{\"b\":", "{\"a\":1}\n!truncated\n"},
        {"{} [1,2", "{}\n!truncated\n"},
        {"{}!DISCONNECT{\"a\":1}", "{}\n"}, /* goodbye */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t length = strlen(rows[i].input);

        for (size_t piece = 1; piece <= length + 1; piece++) {
            SCOPED(text_free) struct text notes = {0};
            SCOPED(text_free) struct text wire = {0};

            run(rows[i].input, length, piece, &notes, &wire);
            if (strcmp(text_end(&notes), rows[i].notes) != 0)
                fail_msg("row %zu in pieces of %zu: %s", i, piece, text_end(&notes));
        }
    }
}

static void long_and_endless_input_is_refused_in_bounded_memory(void **state)
{
    static const struct {
        const char *head, *filling, *tail; /* the filling comes 3 MiB long */
        const char *notes;
    } rows[] = {
        {"{\"a\":\"", "x", "\"}\n{}", "!too_long\n{}\n"},
        {"", " ", "{}", "{}\n"},
        {"", "\n", "{}", "{}\n"},
        {"nonsense", "x", "\n{}", "!too_long\n{}\n"},
        {"[", "1,", "1]{}", "!too_long\n{}\n"},
        {"", "7 ", "{}", "{}\n"},
        {"", "7", " {}\n{}", "!too_long\n{}\n"},
        {"{\"a\":\"", "x", "", "!too_long\n"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        SCOPED(pump_free) struct pump pump = pump_make();
        SCOPED(text_free) struct text notes = {0};
        SCOPED(text_free) struct text wire = {0};
        struct pump_found found;
        enum pump_result result;
        char chunk[4096];

        for (size_t j = 0; j < sizeof chunk; j++)
            chunk[j] = rows[i].filling[j % strlen(rows[i].filling)];
        assert_true(pump_feed(&pump, rows[i].head, strlen(rows[i].head)));
        for (int j = 0; j < 3 * 256; j++) {
            assert_true(pump_feed(&pump, chunk, sizeof chunk));
            while ((result = pump_next(&pump, &found)) != PUMP_MORE)
                note(&found, result, &notes, &wire);
            assert_true(pump.kept.capacity <= 2 * PUMP_MAX_MESSAGE + 65536);
        }
        assert_true(pump_feed(&pump, rows[i].tail, strlen(rows[i].tail)));
        while ((result = pump_next(&pump, &found)) != PUMP_MORE)
            note(&found, result, &notes, &wire);
        while ((result = pump_end(&pump, &found)) != PUMP_MORE)
            note(&found, result, &notes, &wire);
        if (strcmp(text_end(&notes), rows[i].notes) != 0)
            fail_msg("row %zu: %.200s", i, text_end(&notes));
    }
}

/* Random pieces of JSON and of its wreckage: the server must count what the pump counted. */
static void a_server_counts_what_the_pump_counts(void **state)
{
    static const char *const pieces[] = {
        "{\"a\":1}", "{\"b\":[1,{}]}",
        "{",         "}",
        "[",         "]",
        "\"",        "\n",
        "\n",        " ",
        "12",        "true",
        "\\",        "\xc3\xa9",
        "\xff",      "{\"a\":\"x\"}",
        HEADER,      "nonsense",
        ",",         ":",
        "-",         "{}",
        "1e5",       "\r\n",
    };

    srand(11);
    for (int round = 0; round < 20000; round++) {
        SCOPED(text_free) struct text input = {0};
        SCOPED(text_free) struct text notes = {0};
        SCOPED(text_free) struct text wire = {0};
        SCOPED(pump_free) struct pump pump = pump_make();
        struct pump_found found;
        enum pump_result result;
        size_t messages = 0;

        for (int i = rand() % 12; i >= 0; i--)
            text_add_string(&input, pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)]);
        for (size_t at = 0; at < input.length;) {
            size_t piece = 1 + (size_t)rand() % 40;

            piece = piece < input.length - at ? piece : input.length - at;
            assert_true(pump_feed(&pump, input.at + at, piece));
            at += piece;
            while ((result = pump_next(&pump, &found)) != PUMP_MORE) {
                note(&found, result, &notes, &wire);
                messages += result == PUMP_MESSAGE;
            }
        }
        while ((result = pump_end(&pump, &found)) != PUMP_MORE) {
            note(&found, result, &notes, &wire);
            messages += result == PUMP_MESSAGE;
        }
        if (wire.at != NULL)
            check_wire(&wire, messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_becomes_the_messages_that_a_server_sees),
        cmocka_unit_test(long_and_endless_input_is_refused_in_bounded_memory),
        cmocka_unit_test(a_server_counts_what_the_pump_counts),
    };

    return cmocka_run_group_tests_name("pump", tests, NULL, NULL);
}
