/* SPDX-License-Identifier: Apache-2.0 */
#include "base/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/text.h"

#define MAX_MESSAGE 200
#define BLANKS_62 "                                                              "

/* What is found is written as one letter a message and, of an object, its bytes. */
static const char letters[] = {
    [FRAME_BAD_JSON] = 'J',  [FRAME_BAD_UTF8] = 'U',   [FRAME_TOO_LONG] = 'L',
    [FRAME_TRUNCATED] = 'T', [FRAME_DISCONNECT] = 'D',
};

static const struct {
    const char *input;
    const char *found;
    const char *why;
} cases[] = {
    {"", "", "an empty stream"},
    {" \n\t\r ", "", "white space only"},
    {"{}", "{}", "the empty object"},
    {"{\"a\":1}{\"b\":2}", "{\"a\":1}{\"b\":2}", "objects run together"},
    {" {\"a\" : [1, 2.5e-3, \"x\", true, false, null, {}] }\n",
     "{\"a\" : [1, 2.5e-3, \"x\", true, "
     "false, null, {}] }",
     "every kind of value"},
    {"{\"a\":\"}{\\\"\"}", "{\"a\":\"}{\\\"\"}", "braces and quotes in a string"},
    {"12 {\"a\":1}", "{\"a\":1}", "a bare number is skipped"},
    {"12{\"a\":1}-3.5e7", "{\"a\":1}", "without a blank, too"},
    {"7 " BLANKS_62 "{\"a\":1}{}", "{\"a\":1}{}", "a length header"},
    {"9 " BLANKS_62 " {\"a\":1} {}", "{\"a\":1}{}", "blanks in the counted bytes"},
    {"8 " BLANKS_62 "{\"a\":1}{}\n{}", "JJ{}", "a wrong length"},
    {"7 " BLANKS_62 "{\"a\":1,{}", "J{}", "malformed up to the end of its counted bytes"},
    {"4 " BLANKS_62 "{}{}{}", "J{}", "two objects are not one message"},
    {"0 " BLANKS_62 "{}", "J{}", "a length of nothing"},
    {"0 " BLANKS_62, "J", "which is refused at once"},
    {"71" BLANKS_62 "7 " BLANKS_62 "{\"C\":1}{}", "J{}", "a header in counted bytes is none"},
    {"3 " BLANKS_62 "\xff\xff\xff{}", "J{}", "rubbish in counted bytes"},
    {"8 " BLANKS_62 "{\"a\":\"\xff\"{}", "U{}", "malformed UTF-8 in them"},
    {"999" BLANKS_62, "L", "an over-long length is refused at once"},
    {"11" BLANKS_62 "!DISCONNECT", "D", "a framed goodbye"},
    {"!DISCONNECT", "D", "a bare goodbye"},
    {"!DISCO{}\n{}", "J{}", "no goodbye"},
    {"-7 " BLANKS_62 "{}", "{}", "a negative number is no length"},
    {"nonsense\n{}", "J{}", "a malformed run ends with its line"},
    {"{\"a\":tru}{}\n{}", "J{}", "up to the line feed, whatever it holds"},
    {"{\"a\":\"x\n{}", "J{}", "a line feed in a string ends both"},
    {"[1,2]{}", "J{}", "another value is refused where it ends"},
    {"\"x\"true null false{}", "JJJJ{}", "so are strings and literals"},
    {"{\"a\":01}\n", "J", "a leading zero"},
    {"{\"a\":+1}\n", "J", "a plus sign"},
    {"{\"a\":.5}\n", "J", "no digit before the point"},
    {"{\"a\":5.}\n", "J", "no digit behind it"},
    {"{\"a\":1e}\n", "J", "no digit in the exponent"},
    {"{\"a\":-}\n", "J", "a lone minus"},
    {"{\"a\":NaN}\n", "J", "NaN is no JSON"},
    {"{\"a\":1,}\n", "J", "a trailing comma"},
    {"[1,]\n", "J", "in an array, too"},
    {"{'a':1}\n", "J", "single quotes"},
    {"{\"a\" 1}\n", "J", "no colon"},
    {"{\"a\":1 \"b\":2}\n", "J", "no comma"},
    {"{\"a\":/*x*/1}\n", "J", "a comment"},
    {"\xef\xbb\xbf{}\n{}", "J{}", "a byte order mark"},
    {"{\"a\":\"\x01\"}\n", "J", "a raw control character"},
    {"{\"a\":\"\\x\"}\n", "J", "an unknown escape"},
    {"{\"a\":\"\\u12g4\"}\n", "J", "no hexadecimal digit"},
    {"{\"a\":\"\\ud83d\\ude00\"}", "{\"a\":\"\\ud83d\\ude00\"}", "a surrogate pair"},
    {"{\"a\":\"\\ud83d\"}\n", "J", "a lone high surrogate"},
    {"{\"a\":\"\\ud83d\\n\"}\n", "J", "a high surrogate before another escape"},
    {"{\"a\":\"\\ude00\"}\n", "J", "a lone low surrogate"},
    {"{\"a\":\"\\ud83d\\ud83d\"}\n", "J", "two high ones"},
    {"{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}", "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}", "UTF-8"},
    {"{\"a\":\"\xc0\x80\"}\n{}", "U{}", "overlong"},
    {"{\"a\":\"\xe0\x80\x80\"}\n{}", "U{}", "overlong in three bytes"},
    {"{\"a\":\"\xed\xa0\x80\"}\n{}", "U{}", "a surrogate in UTF-8"},
    {"{\"a\":\"\xf5\x80\x80\x80\"}\n{}", "U{}", "beyond U+10FFFF"},
    {"{\"a\":\"\xc3\"}\n{}", "U{}", "a cut character"},
    {"{\"a\":\"\xc3\n{}", "U{}", "cut by the line's end"},
    {"{\"a\":\"\x80\"}\n{}", "U{}", "a lone continuation byte"},
    {"\xff\xfe\n{}", "U{}", "bytes that are no text at all"},
    {"{\"a\":1", "T", "the stream ends in an object"},
    {"{\"a\":tru", "T", "in a literal"},
    {"garbage", "J", "in a malformed run"},
    {"!DISC", "T", "in a goodbye"},
    {"123", "", "in a bare number, which is nothing"},
    {"12" BLANKS_62 "{\"a\"", "T", "in counted bytes"},
};

static void add_found(struct text *found, enum frame_kind kind, const char *at, size_t size)
{
    if (kind == FRAME_OBJECT)
        text_add(found, at, size);
    else if (kind != FRAME_MORE)
        text_add_char(found, letters[kind]);
}

/* Feeds the input in pieces of `first` and then `then` bytes, as a connection would. */
static void feed(struct text *found, const char *input, size_t length, size_t first, size_t then)
{
    struct frame frame = frame_make(MAX_MESSAGE);
    struct text bytes = {0};
    size_t piece = first;

    for (size_t i = 0; i < length; i += piece, piece = then) {
        enum frame_kind kind;
        size_t at, size, drop;

        if (piece > length - i)
            piece = length - i;
        text_add(&bytes, input + i, piece);
        while ((kind = frame_next(&frame, bytes.at, bytes.length, &at, &size)) != FRAME_MORE) {
            assert_true(at + size <= bytes.length);
            add_found(found, kind, bytes.at + at, size);
        }
        drop = frame_drop(&frame);
        memmove(bytes.at, bytes.at + drop, bytes.length - drop);
        bytes.length -= drop;
        assert_true(bytes.length <= MAX_MESSAGE);
    }
    add_found(found, frame_end(&frame), NULL, 0);
    text_free(&bytes);
}

static void check(const char *input, size_t length, const char *expected, const char *why)
{
    for (size_t first = 1; first <= length + 1; first++) {
        struct text found = {0};

        feed(&found, input, length, first, length);
        if (strcmp(text_end(&found), expected) != 0)
            fail_msg("%s: \"%s\" cut after %zu bytes: found %s instead of %s", why, input, first,
                     text_end(&found), expected);
        text_clear(&found);
        feed(&found, input, length, 1, first);
        if (strcmp(text_end(&found), expected) != 0)
            fail_msg("%s: \"%s\" in pieces of %zu: found %s instead of %s", why, input, first,
                     text_end(&found), expected);
        text_free(&found);
    }
}

static void test_every_cut_of_a_stream_yields_the_same_messages(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].input, strlen(cases[i].input), cases[i].found, cases[i].why);
}

static void test_nul_bytes_are_malformed_json(void **state)
{
    check("\0\n{}", 4, "J{}", "a NUL between values");
    check("{\"a\0\":1}\n{}", 11, "J{}", "a NUL in a name");
}

static void test_nesting_is_bounded(void **state)
{
    struct text deep = {0};

    for (int i = 0; i < 10000; i++)
        text_add_string(&deep, i == 0 ? "{\"a\":" : "[");
    text_add_string(&deep, "\n{}");
    {
        struct text found = {0};

        feed(&found, deep.at, deep.length, 100, 100);
        assert_string_equal(text_end(&found), "J{}");
        text_free(&found);
    }
    text_free(&deep);
    check("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", 69,
          "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", "depth 32");
}

static void test_a_long_message_is_refused_whole_and_not_kept(void **state)
{
    static const char *const heads[] = {"{\"a\":\"", "{\"a\":[", "{", "[", "\"", "x"};
    static const char *const tails[] = {"\"}", "1]}", "}", "1]", "\"", "\n"};
    static const char fill[] = {'x', ' ', ' ', ' ', 'x', 'x'};
    static const char kinds[] = {'L', 'L', 'L', 'J', 'J', 'J'};

    for (size_t i = 0; i < sizeof fill; i++) {
        struct text input = {0}, found = {0};
        char expected[] = {kinds[i], '{', '}', '\0'};

        text_add_string(&input, heads[i]);
        for (int k = 0; k < 100000; k++)
            text_add_char(&input, fill[i]);
        text_add_string(&input, tails[i]);
        text_add_string(&input, "{}");
        feed(&found, input.at, input.length, 100, 100); /* which checks what is kept */
        assert_string_equal(text_end(&found), expected);
        text_clear(&found);
        feed(&found, input.at, input.length, input.length, 1);
        assert_string_equal(text_end(&found), expected);
        text_free(&input);
        text_free(&found);
    }
}

static void test_the_bytes_of_a_refused_header_are_passed_over(void **state)
{
    struct text input = {0}, found = {0};

    text_add_string(&input, "1000" BLANKS_62);
    input.length -= 2;
    for (int i = 0; i < 1000; i++)
        text_add_char(&input, '{');
    text_add_string(&input, "{\"b\":2}");
    feed(&found, input.at, input.length, 100, 100);
    assert_string_equal(text_end(&found), "L{\"b\":2}");
    text_free(&input);
    text_free(&found);
}

static void test_numbered_messages_are_reported_where_they_end(void **state)
{
    char input[64 + 1000 + 3];
    size_t at, size;

    (void)snprintf(input, sizeof input, "1000%60s", "");
    memset(input + 64, '{', 1000);
    memcpy(input + 1064, "{}", 3);
    for (size_t cut = 1; cut < sizeof input - 1; cut++) {
        struct frame frame = frame_make(MAX_MESSAGE);

        frame.numbered = true;
        assert_int_equal(frame_next(&frame, input, cut < 1064 ? cut : 1063, &at, &size),
                         FRAME_MORE);
        assert_int_equal(frame_next(&frame, input, 1066, &at, &size), FRAME_TOO_LONG);
        assert_int_equal(frame.chain, crc32c(0, input + 64, 1000));
        assert_int_equal(frame_next(&frame, input, 1066, &at, &size), FRAME_OBJECT);
        assert_int_equal(at, 1064);
    }
}

static void test_an_endless_number_is_not_kept(void **state)
{
    struct text input = {0}, found = {0};

    for (int i = 0; i < 100000; i++)
        text_add_char(&input, '1');
    text_add_string(&input, "\n{}");
    feed(&found, input.at, input.length, 100, 100); /* which checks what is kept */
    assert_string_equal(text_end(&found), "L{}");
    text_free(&input);
    text_free(&found);
}

static void test_a_torn_message_ends_with_its_line(void **state)
{
    static const char input[] = "1, \"!DISCONNECT\": [}\n{\"a\":1}";
    struct frame frame = frame_make_torn(MAX_MESSAGE);
    size_t at, size, line = strcspn(input, "\n");

    assert_false(frame_is_between(&frame));
    assert_int_equal(frame_end(&frame), FRAME_TRUNCATED);
    for (size_t length = 1; length <= line; length++)
        assert_int_equal(frame_next(&frame, input, length, &at, &size), FRAME_MORE);
    assert_int_equal(frame_next(&frame, input, sizeof input - 1, &at, &size), FRAME_TRUNCATED);
    assert_int_equal(frame_next(&frame, input, sizeof input - 1, &at, &size), FRAME_OBJECT);
    assert_true(frame_is_between(&frame));
    assert_int_equal(at, line + 1);
}

static void test_only_between_messages_nothing_is_begun(void **state)
{
    static const struct {
        const char *bytes;
        bool is_between;
    } rows[] = {
        {"", true},       {"{}", true},      {"{}\n", true},  {"[1] nonsense\n", true},
        {"{", false},     {"{} tru", false}, {"{} x", false}, {"{}\n\n \n", true},
        {"12", false},    {"12 ", false}, /* it may become a length */
        {"{} 1,", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct frame frame = frame_make(MAX_MESSAGE);
        size_t at, size;

        while (frame_next(&frame, rows[i].bytes, strlen(rows[i].bytes), &at, &size) != FRAME_MORE)
            continue;
        if (frame_is_between(&frame) != rows[i].is_between)
            fail_msg("\"%s\"", rows[i].bytes);
    }
}

static void test_the_chain_covers_refused_messages_however_they_are_cut(void **state)
{
    static const char input[] = "bad one\n{\"a\":1} [1, 2] \xff\n";
    uint32_t expected = crc32c(0, "bad one{\"a\":1}[1, 2]\xff", 21);

    for (size_t piece = 1; piece < sizeof input; piece++) {
        struct frame frame = frame_make(MAX_MESSAGE);
        struct text bytes = {0};

        for (size_t i = 0; i < sizeof input - 1; i += piece) {
            size_t at, size, drop;
            enum frame_kind kind;

            text_add(&bytes, input + i, i + piece < sizeof input ? piece : sizeof input - 1 - i);
            while ((kind = frame_next(&frame, bytes.at, bytes.length, &at, &size)) != FRAME_MORE) {
                if (kind == FRAME_OBJECT)
                    frame.chain = crc32c(frame.chain, bytes.at + at, size);
            }
            drop = frame_drop(&frame);
            memmove(bytes.at, bytes.at + drop, bytes.length - drop);
            bytes.length -= drop;
        }
        assert_int_equal(frame.chain, expected);
        text_free(&bytes);
    }
}

static void test_traits_tell_what_an_object_holds(void **state)
{
    static const struct {
        const char *input;
        uint32_t traits;
    } rows[] = {
        {"{\"a\":1}", 0},
        {"{\"@ping\":1}", FRAME_HAS_AT},
        {"{\"\\u0040ping\":1}", FRAME_HAS_AT},
        {"{\"a@\":1}", 0},
        {"{\"a\":\"@\"}", 0},
        {"{\"a\":{\"@b\":1}}", 0}, /* of the object itself only */
        {"{\"a\":1,\"@b\":1}", FRAME_HAS_AT},
        {"{\"a\\u0000b\":1}", FRAME_HAS_NUL},
        {"{\"a\":{\"\\u0000\":1}}", FRAME_HAS_NUL},
        {"{\"a\":\"\\u0000\"}", 0},
        {"{\"a\":123456789012345678}", 0},
        {"{\"a\":1234567890123456789}", FRAME_HAS_BIG},
        {"{\"a\":-1234567890123456789}", FRAME_HAS_BIG},
        {"{\"a\":1234567890123456789.5}", 0},
        {"{\"a\":1234567890123456789e1}", 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct frame frame = frame_make(MAX_MESSAGE);
        size_t at, size;

        assert_int_equal(frame_next(&frame, rows[i].input, strlen(rows[i].input), &at, &size),
                         FRAME_OBJECT);
        if (frame.traits != rows[i].traits)
            fail_msg("%s: traits %u instead of %u", rows[i].input, frame.traits, rows[i].traits);
    }
}

static const struct {
    const char *input;
    bool shares;  /* some message had no line of its own */
    bool between; /* lines */
    const char *why;
} lines[] = {
    {"{\"a\": 1}\n{}\n", false, true, "a line each"},
    {"\n {\"a\": 1}\r\n\n\t{} \n", false, true, "blanks around them"},
    {"{}\n{\"a\":", false, false, "within one"},
    {"{}", false, false, "its line may go on"},
    {"{}{}\n", true, true, "two on a line"},
    {"{} {}\n{}\n", true, true, "one line feed doesn't make up for it"},
    {"{\n\"a\": 1}\n", true, true, "a line feed before a name"},
    {"{\"a\"\n: 1}\n", true, true, "behind it"},
    {"{\"a\":\n1}\n", true, true, "before a value"},
    {"{\"a\": [1\n]}\n", true, true, "behind one"},
    {"{\"a\": [\n]}\n", true, true, "in an empty array"},
    {"{\"a\": \"\\n\"}\n", false, true, "an escaped one is none"},
    {"2 " BLANKS_62 "{}", true, false, "counted bytes"},
    {"2 " BLANKS_62 "{}\n", true, true, "even in lines"},
    {"999" BLANKS_62, true, false, "too many of them"},
    {"nonsense\n{}\n", false, true, "a malformed run"},
    {"{} nonsense\n{}\n", true, true, "behind a message"},
    {"[1]\n\"x\"\n{}\n", false, true, "other values"},
    {"[\n1]\n", true, true, "over several lines"},
};

static void test_messages_without_a_line_of_their_own_are_told(void **state)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        for (size_t piece = 1; piece < 80; piece += 13) {
            struct frame frame = frame_make(MAX_MESSAGE);
            struct text bytes = {0};
            const char *input = lines[i].input;
            bool shares = false;

            for (size_t from = 0; from < strlen(input); from += piece) {
                size_t at, size, drop, rest = strlen(input) - from;

                text_add(&bytes, input + from, piece < rest ? piece : rest);
                while (frame_next(&frame, bytes.at, bytes.length, &at, &size) != FRAME_MORE)
                    shares |= (frame.traits & FRAME_NO_LINE) != 0;
                drop = frame_drop(&frame);
                memmove(bytes.at, bytes.at + drop, bytes.length - drop);
                bytes.length -= drop;
            }
            text_free(&bytes);
            if (shares != lines[i].shares || frame_is_between_lines(&frame) != lines[i].between)
                fail_msg("%s: \"%s\" in pieces of %zu", lines[i].why, input, piece);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut_of_a_stream_yields_the_same_messages),
        cmocka_unit_test(test_nul_bytes_are_malformed_json),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_a_long_message_is_refused_whole_and_not_kept),
        cmocka_unit_test(test_the_bytes_of_a_refused_header_are_passed_over),
        cmocka_unit_test(test_numbered_messages_are_reported_where_they_end),
        cmocka_unit_test(test_an_endless_number_is_not_kept),
        cmocka_unit_test(test_a_torn_message_ends_with_its_line),
        cmocka_unit_test(test_only_between_messages_nothing_is_begun),
        cmocka_unit_test(test_the_chain_covers_refused_messages_however_they_are_cut),
        cmocka_unit_test(test_traits_tell_what_an_object_holds),
        cmocka_unit_test(test_messages_without_a_line_of_their_own_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
