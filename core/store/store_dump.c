/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/scoped.h"
#include "store/backup.h"
#include "store/store_inside.h"

/* Lines are written in pieces of about so much. */
#define PIECE_BYTES (1 << 20)

struct dumping {
    const struct store *store;
    int fd;
    struct layouts layouts; /* as this transaction has them */
    struct text out;
    uint64_t lines;
    uint64_t bytes; /* written */
    uint32_t crc;   /* of them */
};

static void dumping_free(struct dumping *dumping)
{
    layouts_free(&dumping->layouts);
    text_free(&dumping->out);
}

static bool flush(struct dumping *dumping, struct rasad_error *error)
{
    size_t written = 0;

    if (dumping->out.failed)
        return rasad_fail_memory(error);
    while (written < dumping->out.length) {
        ssize_t n = write(dumping->fd, dumping->out.at + written, dumping->out.length - written);

        if (n < 0 && errno != EINTR)
            return rasad_fail(error, "cannot write the backup: %s", strerror(errno));
        written += n > 0 ? (size_t)n : 0;
    }
    dumping->crc = crc32c(dumping->crc, dumping->out.at, dumping->out.length);
    dumping->bytes += dumping->out.length;
    text_clear(&dumping->out);
    return true;
}

static bool end_line(struct dumping *dumping, struct rasad_error *error)
{
    text_add_char(&dumping->out, '\n');
    dumping->lines++;
    return dumping->out.length < PIECE_BYTES || flush(dumping, error);
}

static bool add_layout(void *context, struct record_key key, const MDB_val *value,
                       struct rasad_error *error)
{
    struct dumping *dumping = context;
    const struct layout *layout = layouts_read(&dumping->layouts, key, value, error);

    return layout != NULL && backup_add_layout(&dumping->out, layout->id, &layout->record, error) &&
           end_line(dumping, error);
}

static bool add_series(void *context, struct record_key key, const MDB_val *value,
                       struct rasad_error *error)
{
    struct dumping *dumping = context;
    const struct layout *layout;
    struct record_series series;
    uint64_t id;

    if (!record_read_series(key, value->mv_data, value->mv_size, &series, error))
        return false;
    memcpy(&id, key.at, sizeof id);
    layout = layouts_find(&dumping->layouts, series.layout);
    if (layout == NULL)
        return rasad_fail(error, "series %" PRIu64 " is of layout %" PRIu32 ", which isn't there",
                          id, series.layout);
    return backup_add_series(&dumping->out, id, &series, &layout->record, error) &&
           end_line(dumping, error);
}

static bool add_stream(void *context, struct record_key key, const MDB_val *value,
                       struct rasad_error *error)
{
    struct dumping *dumping = context;
    struct record_stream stream;

    if (!record_read_stream(key, value->mv_data, value->mv_size, &stream, error))
        return false;
    backup_add_stream(&dumping->out, &stream);
    return end_line(dumping, error);
}

static bool add_header(struct dumping *dumping, MDB_txn *txn, int64_t wall_ns,
                       struct rasad_error *error)
{
    struct backup_header header = {.version = RASAD_VERSION, .time_ns = wall_ns};
    MDB_val key = {.mv_data = (void *)(uintptr_t) "commit", .mv_size = strlen("commit")};
    MDB_val value;
    int why = mdb_get(txn, dumping->store->about, &key, &value);

    if (why != 0 && why != MDB_NOTFOUND)
        return store_fail(dumping->store, why, error);
    if (why == 0 && !record_read_commit(value.mv_data, value.mv_size, &header.commit, error))
        return false;
    backup_add_header(&dumping->out, &header);
    return end_line(dumping, error);
}

static bool add_all(struct dumping *dumping, MDB_txn *txn, int64_t wall_ns,
                    struct rasad_error *error)
{
    const struct store *store = dumping->store;

    if (!add_header(dumping, txn, wall_ns, error) ||
        !store_walk(store, txn, store->layout, add_layout, dumping, error) ||
        !store_walk(store, txn, store->series, add_series, dumping, error) ||
        !store_walk(store, txn, store->stream, add_stream, dumping, error) ||
        !flush(dumping, error))
        return false;
    backup_add_end(&dumping->out, dumping->lines, dumping->crc);
    return end_line(dumping, error) && flush(dumping, error);
}

bool store_dump(struct store *store, int fd, int64_t wall_ns, uint64_t *bytes,
                struct rasad_error *error)
{
    SCOPED(dumping_free) struct dumping dumping = {.store = store, .fd = fd};
    MDB_txn *txn;
    bool fine;
    int why;

    if (store->env == NULL)
        return rasad_fail(error,
                          "%s: the disk has failed, and the database is not open (try again when "
                          "the server commits again)",
                          store->folder);
    why = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (why != 0)
        return store_fail(store, why, error);
    fine = add_all(&dumping, txn, wall_ns, error);
    mdb_txn_abort(txn);
    *bytes = dumping.bytes;
    return fine;
}
