/* SPDX-License-Identifier: Apache-2.0 */
/* Points as bytes (point_wire.h): all of them come through, and no bytes do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "isolate/point_wire.h"

/* Says what it is handed as text, with every byte that a point leads to. */
struct teller {
    struct rasad_writer writer;
    size_t points;
    uint64_t sum; /* of all bytes, so that none is left unread */
    char text[4096];
};

static void tell_bytes(struct teller *teller, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < length; i++)
        teller->sum = teller->sum * 31 + at[i];
}

static void tell_label(struct teller *teller, const struct rasad_label *label)
{
    tell_bytes(teller, label->name, strlen(label->name));
    tell_bytes(teller, label->value, strlen(label->value));
}

static void tell_native(struct teller *teller, const struct rasad_native *native)
{
    for (int side = 0; side < 2; side++) {
        uint64_t buckets = 0;

        for (uint32_t i = 0; i < native->span_count[side]; i++) {
            buckets += native->spans[side][i].length;
            tell_bytes(teller, &native->spans[side][i], sizeof(struct rasad_span));
        }
        for (uint64_t i = 0; i < buckets; i++)
            tell_bytes(teller, &native->counts[side][i], sizeof(uint64_t));
    }
    tell_bytes(teller, &native->zero_threshold, sizeof native->zero_threshold);
}

static void tell(struct rasad_writer *writer, const struct rasad_point *point)
{
    struct teller *teller = (struct teller *)writer;

    teller->points++;
    tell_bytes(teller, &point->type, sizeof point->type);
    tell_bytes(teller, &point->value, sizeof point->value);
    tell_bytes(teller, &point->bound, sizeof point->bound);
    tell_bytes(teller, &point->count, sizeof point->count);
    tell_bytes(teller, &point->whole, sizeof point->whole);
    if (point->type == RASAD_POINT_LABEL)
        tell_label(teller, &point->label);
    for (uint64_t i = 0; point->exemplar != NULL && i < point->exemplar->label_count; i++)
        tell_label(teller, &point->exemplar->labels[i]);
    if (point->native != NULL)
        tell_native(teller, point->native);
}

static struct teller teller_make(void)
{
    return (struct teller){.writer = {.size = sizeof(struct rasad_writer), .write = tell}};
}

/* One of every kind. */
static void render(struct rasad_writer *writer)
{
    static const struct rasad_span spans[] = {{-3, 2}, {5, 1}};
    static const uint64_t counts[] = {1, 2, 3};
    static const struct rasad_native native = {
        .schema = 3,
        .span_count = {2, 1},
        .spans = {spans, spans},
        .counts = {counts, counts},
        .zero_threshold = 1e-9,
        .zero_count = 7,
    };
    static const struct rasad_label labels[] = {{"trace_id", "abc"}, {"span_id", ""}};
    static const struct rasad_exemplar exemplar = {labels, 2};
    struct rasad_point point = rasad_point_make(RASAD_POINT_BUCKET);

    rasad_write_label(writer, "word", "é");
    rasad_write_gauge(writer, -1.5);
    rasad_write_count(writer, UINT64_MAX);
    rasad_write_quantile(writer, 0.5, (double)NAN);
    point.bound = 2;
    point.count = 3;
    point.exemplar = &exemplar;
    writer->write(writer, &point);
    rasad_write_native(writer, &native);
    rasad_write_totals(writer, 5, 6);
}

static void points_come_through_as_they_are(void **unused)
{
    unsigned char room[4096];
    struct point_pen pen = point_pen_make(room, sizeof room, 0);
    struct teller direct = teller_make(), replayed = teller_make();
    SCOPED(point_reader_end) struct point_reader reader = {0};

    render(&direct.writer);
    render(&pen.writer);
    assert_true(point_pen_end(&pen, 0));
    reader = point_reader_make(room, pen.used);
    assert_true(point_reader_next(&reader, &replayed.writer));
    assert_int_equal(replayed.points, direct.points);
    assert_true(replayed.sum == direct.sum);
    assert_int_equal(reader.left, 0);
    assert_false(point_reader_next(&reader, NULL));
}

static void what_has_no_room_is_not_there_at_all(void **unused)
{
    unsigned char room[4096];
    struct point_pen pen = point_pen_make(room, sizeof room, 0);
    size_t whole;

    render(&pen.writer);
    assert_true(point_pen_end(&pen, 0));
    whole = pen.used;
    for (size_t bytes = 0; bytes < whole; bytes++) {
        pen = point_pen_make(room, bytes, 0);
        render(&pen.writer);
        assert_false(point_pen_end(&pen, 0));
        assert_int_equal(pen.used, 0);
    }
}

static void no_bytes_do_harm(void **unused)
{
    unsigned char room[4096];
    struct point_pen pen = point_pen_make(room, sizeof room, 0);
    uint64_t random = 88172645463325252U;
    size_t read = 0;

    render(&pen.writer);
    assert_true(point_pen_end(&pen, 0));
    for (int round = 0; round < 20000; round++) {
        /* In a block of its own, so that a sanitizer sees a step beyond it. */
        size_t length = round % 3 == 0 ? (size_t)(random >> 8) % (pen.used + 1) : pen.used;
        SCOPED(free_at) unsigned char *bytes = malloc(length > 0 ? length : 1);
        struct teller teller = teller_make();
        SCOPED(point_reader_end) struct point_reader reader = {0};

        assert_non_null(bytes);
        memcpy(bytes, room, length);
        for (int i = 0; i < 1 + round % 4 && length > 0; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[(random >> 16) % length] = (unsigned char)random;
        }
        reader = point_reader_make(bytes, length);
        while (point_reader_next(&reader, &teller.writer))
            read++;
    }
    assert_true(read > 100); /* some changes leave it readable */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_come_through_as_they_are),
        cmocka_unit_test(what_has_no_room_is_not_there_at_all),
        cmocka_unit_test(no_bytes_do_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
