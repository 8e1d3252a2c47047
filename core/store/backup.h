/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * backup: the database as lines of JSON, and back (docs/backup.md has the format). A header, the
 * layouts, the series and the streams, each kind in the order of its keys, and an end line with the
 * number of lines and the CRC-32C of all bytes before it:
 *
 *      {"rasad_backup":1,"version":"0.1.0","byte_order":"little","time_ns":…,"commit":…,…}
 *      {"layout":{"id":1,…}}
 *      {"series":{"id":1,"layout":1,…}}
 *      {"stream":{"agent":"web-1",…}}
 *      {"end":{"lines":4,"crc32c":"0badcafe"}}
 *
 * Here are the lines only; store_dump() and store_restore() have the database.
 *
 * Threads: none inside. Memory: a reader owns the layouts that it has read; what it hands over is
 * lent for the call.
 */
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "store/record.h"

/* Raised when an older rasadctl could not read what we write. */
#define BACKUP_FORMAT 1

/* A longer line is refused: the largest state and all labels at their longest take less. */
#define BACKUP_MOST_LINE (8 << 20)

/* Ids of layouts are places in a table of the server's, so they can't be any number. */
#define BACKUP_MOST_LAYOUT_ID (1 << 24)

/* Room for a version, with its NUL. */
#define BACKUP_VERSION_LENGTH 64

struct backup_header {
    char version[BACKUP_VERSION_LENGTH]; /* of the Rasad that made it */
    int64_t time_ns;                     /* wall, when it was made */
    struct record_commit commit;
};

/* A plugin's kind as a word; NULL if it is none. */
const char *backup_kind(uint32_t kind);

/* ---- Writing: each adds a line, without its line feed -------------------------------------- */

void backup_add_header(struct text *out, const struct backup_header *header);
void backup_add_stream(struct text *out, const struct record_stream *stream);
void backup_add_end(struct text *out, uint64_t lines, uint32_t crc);

/* These fail where a text is no UTF-8, or labels are not what the layout says. */
bool backup_add_layout(struct text *out, uint32_t id, const struct record_layout *layout,
                       struct rasad_error *error);
bool backup_add_series(struct text *out, uint64_t id, const struct record_series *series,
                       const struct record_layout *layout, struct rasad_error *error);

/* ---- Reading ------------------------------------------------------------------------------- */

/* Who takes what is read; each returns false, with the error, to end it. */
struct backup_taker {
    bool (*layout)(void *context, uint32_t id, const struct record_layout *layout,
                   struct rasad_error *error);
    bool (*series)(void *context, uint64_t id, const struct record_series *series,
                   struct rasad_error *error);
    bool (*stream)(void *context, const struct record_stream *stream, struct rasad_error *error);
};

/* Where a backup's lines are: a kind of line may follow itself and those before it. */
enum backup_stage {
    BACKUP_BEGIN, /* the header comes next */
    BACKUP_HEADER,
    BACKUP_LAYOUTS,
    BACKUP_SERIES,
    BACKUP_STREAMS,
    BACKUP_END, /* nothing may follow */
};

struct layouts;

struct backup_reader {
    const struct backup_taker *taker;
    void *context;
    struct json_tokener *tokener;
    enum backup_stage stage;
    struct backup_header header; /* from BACKUP_HEADER on */
    uint64_t lines;              /* taken, the header and the end line too */
    uint64_t layout_count, series_count, stream_count;
    uint32_t crc;            /* of all before the line at hand */
    struct layouts *layouts; /* read so far */
    uint64_t last_series;    /* its id */
    struct text last_stream; /* its key */
    struct text labels, state;
};

/* A reader at a backup's beginning; false without memory. Even then for backup_reader_close(). */
bool backup_reader_open(struct backup_reader *reader, const struct backup_taker *taker,
                        void *context, struct rasad_error *error);
void backup_reader_close(struct backup_reader *reader);

/*
 * Takes the next line, which ends with its line feed. What is right in itself is handed to the
 * taker; only when the end line was taken (BACKUP_END) it is known to be whole and unaltered.
 */
bool backup_reader_take(struct backup_reader *reader, const char *line, size_t length,
                        struct rasad_error *error);
