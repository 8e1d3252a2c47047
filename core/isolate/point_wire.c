/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/point_wire.h"

#include <stdlib.h>
#include <string.h>

/* No point is of this type. */
#define END UINT32_C(0xffffffff)

/* What follows a point, or'ed. */
enum { PART_LABEL = 1, PART_EXEMPLAR = 2, PART_NATIVE = 4 };

/* A point without what it points to; of type END it ends a series. */
struct wire_point {
    uint32_t type;
    uint32_t parts;
    double value;
    double bound;
    uint64_t count;
    uint64_t whole;
};

/* A native histogram; its spans follow, and then its counts. */
struct wire_native {
    int32_t schema;
    uint32_t span_count[2];
    uint32_t bucket_count[2];
    uint32_t reserved;
    double zero_threshold;
    uint64_t zero_count;
};

/* ---- Writing ------------------------------------------------------------------------------- */

static void put(struct point_pen *pen, const void *bytes, size_t length)
{
    if (pen->full || length > pen->room - pen->used) {
        pen->full = true;
        return;
    }
    if (length > 0)
        memcpy(pen->at + pen->used, bytes, length);
    pen->used += length;
}

static void put_string(struct point_pen *pen, const char *string)
{
    put(pen, string != NULL ? string : "", string != NULL ? strlen(string) + 1 : 1);
}

static void put_label(struct point_pen *pen, const struct rasad_label *label)
{
    put_string(pen, label->name);
    put_string(pen, label->value);
}

static void put_exemplar(struct point_pen *pen, const struct rasad_exemplar *exemplar)
{
    uint64_t count = exemplar->label_count;

    if (count > POINT_WIRE_MOST_LABELS) {
        pen->full = true;
        return;
    }
    put(pen, &count, sizeof count);
    for (uint64_t i = 0; i < count; i++)
        put_label(pen, &exemplar->labels[i]);
}

static void put_native(struct point_pen *pen, const struct rasad_native *native)
{
    struct wire_native wire = {
        .schema = native->schema,
        .span_count = {native->span_count[0], native->span_count[1]},
        .zero_threshold = native->zero_threshold,
        .zero_count = native->zero_count,
    };

    for (int side = 0; side < 2; side++) {
        uint64_t buckets = 0;

        for (uint32_t i = 0; i < native->span_count[side] && i < POINT_WIRE_MOST_BUCKETS; i++)
            buckets += native->spans[side][i].length;
        if (native->span_count[side] > POINT_WIRE_MOST_BUCKETS ||
            buckets > POINT_WIRE_MOST_BUCKETS) {
            pen->full = true;
            return;
        }
        wire.bucket_count[side] = (uint32_t)buckets;
    }
    put(pen, &wire, sizeof wire);
    for (int side = 0; side < 2; side++) {
        put(pen, native->spans[side], wire.span_count[side] * sizeof(struct rasad_span));
        put(pen, native->counts[side], wire.bucket_count[side] * sizeof(uint64_t));
    }
}

static void write_point(struct rasad_writer *writer, const struct rasad_point *theirs)
{
    struct point_pen *pen = (struct point_pen *)writer;
    struct rasad_point point = {0};
    struct wire_point wire;

    /* What a smaller struct of an older plugin lacks is zero. */
    memcpy(&point, theirs, theirs->size < sizeof point ? theirs->size : sizeof point);
    wire = (struct wire_point){
        .type = point.type != END ? point.type : 0,
        .parts = (point.type == RASAD_POINT_LABEL ? PART_LABEL : 0U) |
                 (point.exemplar != NULL ? PART_EXEMPLAR : 0U) |
                 (point.native != NULL ? PART_NATIVE : 0U),
        .value = point.value,
        .bound = point.bound,
        .count = point.count,
        .whole = point.whole,
    };
    put(pen, &wire, sizeof wire);
    if ((wire.parts & PART_LABEL) != 0)
        put_label(pen, &point.label);
    if (point.exemplar != NULL)
        put_exemplar(pen, point.exemplar);
    if (point.native != NULL)
        put_native(pen, point.native);
}

struct point_pen point_pen_make(void *at, size_t room, int64_t now_ns)
{
    return (struct point_pen){
        .writer = {.size = sizeof(struct rasad_writer), .now_ns = now_ns, .write = write_point},
        .at = at,
        .room = room,
    };
}

bool point_pen_end(struct point_pen *pen, size_t start)
{
    const struct wire_point end = {.type = END};
    bool fine;

    put(pen, &end, sizeof end);
    fine = !pen->full;
    if (!fine)
        pen->used = start;
    pen->full = false;
    return fine;
}

/* ---- Reading ------------------------------------------------------------------------------- */

struct point_reader point_reader_make(const void *at, size_t length)
{
    return (struct point_reader){.at = at, .left = length};
}

void point_reader_end(struct point_reader *reader)
{
    for (int side = 0; side < 2; side++) {
        free(reader->spans[side]);
        free(reader->counts[side]);
    }
    *reader = (struct point_reader){0};
}

static bool get(struct point_reader *reader, void *bytes, size_t length)
{
    if (length > reader->left)
        return false;
    if (length > 0)
        memcpy(bytes, reader->at, length);
    reader->at += length;
    reader->left -= length;
    return true;
}

static bool get_string(struct point_reader *reader, const char **string)
{
    const unsigned char *end = reader->left > 0 ? memchr(reader->at, '\0', reader->left) : NULL;
    size_t length;

    if (end == NULL)
        return false;
    length = (size_t)(end - reader->at) + 1;
    *string = (const char *)reader->at;
    reader->at += length;
    reader->left -= length;
    return true;
}

static bool get_label(struct point_reader *reader, struct rasad_label *label)
{
    return get_string(reader, &label->name) && get_string(reader, &label->value);
}

static bool get_exemplar(struct point_reader *reader, struct rasad_exemplar *exemplar)
{
    uint64_t count;

    if (!get(reader, &count, sizeof count) || count > POINT_WIRE_MOST_LABELS)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!get_label(reader, &reader->labels[i]))
            return false;
    }
    *exemplar = (struct rasad_exemplar){.labels = reader->labels, .label_count = count};
    return true;
}

/* Room for as many as any point may have; made when the first native histogram comes. */
static bool make_rooms(struct point_reader *reader)
{
    for (int side = 0; side < 2; side++) {
        if (reader->spans[side] == NULL)
            reader->spans[side] = calloc(POINT_WIRE_MOST_BUCKETS, sizeof(struct rasad_span));
        if (reader->counts[side] == NULL)
            reader->counts[side] = calloc(POINT_WIRE_MOST_BUCKETS, sizeof(uint64_t));
        if (reader->spans[side] == NULL || reader->counts[side] == NULL)
            return false;
    }
    return true;
}

/* One side's spans and counts, which must be as many as the spans say. */
static bool get_side(struct point_reader *reader, const struct wire_native *wire, int side)
{
    uint64_t buckets = 0;

    if (wire->span_count[side] > POINT_WIRE_MOST_BUCKETS ||
        wire->bucket_count[side] > POINT_WIRE_MOST_BUCKETS ||
        !get(reader, reader->spans[side], wire->span_count[side] * sizeof(struct rasad_span)) ||
        !get(reader, reader->counts[side], wire->bucket_count[side] * sizeof(uint64_t)))
        return false;
    for (uint32_t i = 0; i < wire->span_count[side]; i++)
        buckets += reader->spans[side][i].length;
    return buckets == wire->bucket_count[side];
}

static bool get_native(struct point_reader *reader, struct rasad_native *native)
{
    struct wire_native wire;

    if (!get(reader, &wire, sizeof wire) || !make_rooms(reader) || !get_side(reader, &wire, 0) ||
        !get_side(reader, &wire, 1))
        return false;
    *native = (struct rasad_native){
        .schema = wire.schema,
        .span_count = {wire.span_count[0], wire.span_count[1]},
        .spans = {reader->spans[0], reader->spans[1]},
        .counts = {reader->counts[0], reader->counts[1]},
        .zero_threshold = wire.zero_threshold,
        .zero_count = wire.zero_count,
    };
    return true;
}

static bool get_parts(struct point_reader *reader, const struct wire_point *wire,
                      struct rasad_writer *writer)
{
    struct rasad_point point = rasad_point_make(wire->type);
    struct rasad_exemplar exemplar;
    struct rasad_native native;

    point.value = wire->value;
    point.bound = wire->bound;
    point.count = wire->count;
    point.whole = wire->whole;
    if ((wire->parts & PART_LABEL) != 0 && !get_label(reader, &point.label))
        return false;
    if ((wire->parts & PART_EXEMPLAR) != 0) {
        if (!get_exemplar(reader, &exemplar))
            return false;
        point.exemplar = &exemplar;
    }
    if ((wire->parts & PART_NATIVE) != 0) {
        if (!get_native(reader, &native))
            return false;
        point.native = &native;
    }
    if (writer != NULL)
        writer->write(writer, &point);
    return true;
}

bool point_reader_next(struct point_reader *reader, struct rasad_writer *writer)
{
    struct wire_point wire;

    while (get(reader, &wire, sizeof wire)) {
        if (wire.type == END)
            return true;
        /* Whether the points make a series, whoever takes them finds out, as of any plugin. */
        if (((wire.parts & PART_LABEL) != 0) != (wire.type == RASAD_POINT_LABEL) ||
            !get_parts(reader, &wire, writer))
            return false;
    }
    return false;
}
