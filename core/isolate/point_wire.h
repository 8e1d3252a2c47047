/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * point_wire: the points that render() writes in another process, as bytes, and back into a writer
 * of this one. The bytes come from a process that may be hostile: nothing in them is believed.
 * Threads: none inside. Memory: a pen writes into bytes that it is lent; a reader owns its rooms.
 */
#include <rasad/plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest lists that a point may carry. */
#define POINT_WIRE_MOST_LABELS 64
#define POINT_WIRE_MOST_BUCKETS 65536

/* Writes points as bytes. */
struct point_pen {
    struct rasad_writer writer; /* what render() is handed */
    unsigned char *at;
    size_t room;
    size_t used;
    bool full; /* not all had room */
};

/* A pen for these bytes, as of this time. */
struct point_pen point_pen_make(void *at, size_t room, int64_t now_ns);

/* Ends a series; false if not all of it had room: then nothing of it, since `start` (the `used`
 * from before it), was written. */
bool point_pen_end(struct point_pen *pen, size_t start);

/* Reads what pens wrote; the bytes are this process's own copy. */
struct point_reader {
    const unsigned char *at;
    size_t left;
    struct rasad_label labels[POINT_WIRE_MOST_LABELS];
    struct rasad_span *spans[2]; /* owned */
    uint64_t *counts[2];         /* owned */
};

struct point_reader point_reader_make(const void *at, size_t length);

/* Frees its rooms. Fits SCOPED. */
void point_reader_end(struct point_reader *reader);

/* Reads one series into the writer, or, with NULL, only looks at it. False if the bytes are no
 * points, or if there is no memory. */
bool point_reader_next(struct point_reader *reader, struct rasad_writer *writer);
