/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a backup. What the reader takes must be a record that can be written to the disk and
 * read from it, and that is written as a line which is read as the same again. The checksum at a
 * backup's end would keep the fuzzer out of nothing but the end, so it needn't be right.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/backup.h"
#include "store/store_inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Two readers: the second gets what the first one's records are written as. */
struct reading {
    struct backup_reader reader;
    struct reading *next; /* NULL: this is the second */
    struct text record;   /* that was taken last, as the disk has it */
};

/* Lets the next one read the line; it must make the same record of it. */
static void pass_on(struct reading *reading, struct text *line)
{
    struct rasad_error error;

    text_add_char(line, '\n');
    assert(!line->failed);
    assert(backup_reader_take(&reading->next->reader, line->at, line->length, &error));
    assert(reading->next->record.length == reading->record.length);
    assert(memcmp(reading->next->record.at, reading->record.at, reading->record.length) == 0);
    text_free(line);
}

static bool take_layout(void *context, uint32_t id, const struct record_layout *layout,
                        struct rasad_error *error)
{
    const struct record_key key = {&id, sizeof id};
    struct reading *reading = context;
    struct record_layout again;
    struct text line = {0};

    text_clear(&reading->record);
    record_add_layout(&reading->record, id, layout);
    assert(record_read_layout(key, reading->record.at, reading->record.length, &again, error));
    assert(record_layout_equals(layout, &again));
    if (reading->next == NULL)
        return true;
    assert(backup_add_layout(&line, id, layout, error));
    pass_on(reading, &line);
    return true;
}

static bool take_series(void *context, uint64_t id, const struct record_series *series,
                        struct rasad_error *error)
{
    const struct record_key key = {&id, sizeof id};
    struct reading *reading = context;
    struct record_series again;
    struct text line = {0};

    text_clear(&reading->record);
    assert(text_reserve(&reading->record, record_series_size(series)));
    record_put_series(reading->record.at, id, series);
    reading->record.length = record_series_size(series);
    assert(record_read_series(key, reading->record.at, reading->record.length, &again, error));
    if (reading->next == NULL)
        return true;
    assert(backup_add_series(
        &line, id, series, &layouts_find(reading->reader.layouts, series->layout)->record, error));
    pass_on(reading, &line);
    return true;
}

static bool take_stream(void *context, const struct record_stream *stream,
                        struct rasad_error *error)
{
    struct reading *reading = context;
    struct text line = {0};

    text_clear(&reading->record);
    record_add_stream(&reading->record, stream);
    if (reading->next == NULL)
        return true;
    backup_add_stream(&line, stream);
    pass_on(reading, &line);
    return true;
}

/* The next line in a copy that ends where it does, so that a sanitizer sees each byte too far. */
static bool take_line(struct reading *reading, const char *line, size_t length)
{
    struct rasad_error error = {""};
    char *copy = malloc(length);
    bool fine;

    assert(copy != NULL);
    memcpy(copy, line, length);
    fine = backup_reader_take(&reading->reader, copy, length, &error);
    free(copy);
    assert(fine || error.text[0] != '\0');
    return fine;
}

static void end(struct reading *reading)
{
    backup_reader_close(&reading->reader);
    text_free(&reading->record);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const struct backup_taker taker = {take_layout, take_series, take_stream};
    const char *at = (const char *)bytes, *rest = at + length, *line_end;
    struct reading second = {0}, first = {.next = &second};
    struct rasad_error error;
    bool fine = true;

    assert(backup_reader_open(&second.reader, &taker, &second, &error) &&
           backup_reader_open(&first.reader, &taker, &first, &error));
    while (fine && (line_end = memchr(at, '\n', (size_t)(rest - at))) != NULL) {
        bool is_first = at == (const char *)bytes;

        fine = take_line(&first, at, (size_t)(line_end + 1 - at));
        if (fine && is_first)
            assert(take_line(&second, at, (size_t)(line_end + 1 - at)));
        at = line_end + 1;
    }
    end(&first);
    end(&second);
    return 0;
}
