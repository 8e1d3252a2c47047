/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scoped.h"
#include "store/backup.h"
#include "store/store_inside.h"

/* What one transaction writes. */
#define BATCH_BYTES (8 << 20)

#define READ_BYTES (256 << 10)

/* One record of a batch; its key and its value follow. */
struct batched {
    MDB_dbi table;
    uint32_t key_size, value_size;
};

struct restoring {
    struct store *store;
    struct text batch;
    struct text record; /* at hand */
};

static void restoring_free(struct restoring *restoring)
{
    text_free(&restoring->batch);
    text_free(&restoring->record);
}

/* ---- Records into the new database --------------------------------------------------------- */

static int put_batch(const struct restoring *restoring, MDB_txn *txn)
{
    const char *at = restoring->batch.at, *end = at + restoring->batch.length;
    _Alignas(uint64_t) unsigned char name[RECORD_STREAM_KEY];
    int why = 0;

    while (why == 0 && at < end) {
        struct batched batched;
        MDB_val key, value;

        memcpy(&batched, at, sizeof batched);
        at += sizeof batched;
        memcpy(name, at, batched.key_size);
        key = (MDB_val){.mv_data = name, .mv_size = batched.key_size};
        at += batched.key_size;
        value = (MDB_val){.mv_data = (void *)(uintptr_t)at, .mv_size = batched.value_size};
        at += batched.value_size;
        why = mdb_put(txn, batched.table, &key, &value, 0);
    }
    return why;
}

static int write_once(const struct restoring *restoring)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(restoring->store->env, NULL, 0, &txn);

    if (why != 0)
        return why;
    why = put_batch(restoring, txn);
    if (why == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return why;
}

static bool write_batch(struct restoring *restoring, struct rasad_error *error)
{
    int why;

    if (restoring->batch.failed || restoring->record.failed)
        return rasad_fail_memory(error);
    while ((why = write_once(restoring)) == MDB_MAP_FULL) {
        if (!store_grow(restoring->store, error))
            return false;
    }
    text_clear(&restoring->batch);
    return why == 0 || store_fail_write(restoring->store, why, error);
}

/* The record at hand comes into the batch, and that to the disk if it is large. */
static bool add_record(struct restoring *restoring, MDB_dbi table, struct record_key key,
                       struct rasad_error *error)
{
    const struct batched batched = {
        .table = table,
        .key_size = (uint32_t)key.size,
        .value_size = (uint32_t)restoring->record.length,
    };

    text_add(&restoring->batch, &batched, sizeof batched);
    text_add(&restoring->batch, key.at, key.size);
    text_add(&restoring->batch, restoring->record.at, restoring->record.length);
    if (restoring->batch.failed || restoring->record.failed)
        return rasad_fail_memory(error);
    text_clear(&restoring->record);
    return restoring->batch.length < BATCH_BYTES || write_batch(restoring, error);
}

static bool put_layout(void *context, uint32_t id, const struct record_layout *layout,
                       struct rasad_error *error)
{
    struct restoring *restoring = context;

    record_add_layout(&restoring->record, id, layout);
    return add_record(restoring, restoring->store->layout, (struct record_key){&id, sizeof id},
                      error);
}

static bool put_series(void *context, uint64_t id, const struct record_series *series,
                       struct rasad_error *error)
{
    struct restoring *restoring = context;
    size_t size = record_series_size(series);

    if (!text_reserve(&restoring->record, size))
        return rasad_fail_memory(error);
    record_put_series(restoring->record.at, id, series);
    restoring->record.length = size;
    return add_record(restoring, restoring->store->series, (struct record_key){&id, sizeof id},
                      error);
}

static bool put_stream(void *context, const struct record_stream *stream, struct rasad_error *error)
{
    struct restoring *restoring = context;
    unsigned char room[RECORD_STREAM_KEY];

    record_add_stream(&restoring->record, stream);
    return add_record(restoring, restoring->store->stream, record_stream_key(stream, room), error);
}

static bool put_commit(struct restoring *restoring, const struct record_commit *commit,
                       struct rasad_error *error)
{
    record_add_commit(&restoring->record, commit);
    return add_record(restoring, restoring->store->about,
                      (struct record_key){"commit", strlen("commit")}, error);
}

/* ---- Lines out of the backup --------------------------------------------------------------- */

/* Takes all whole lines among these bytes, and drops them. */
static bool take_lines(struct backup_reader *reader, struct text *in, struct rasad_error *error)
{
    const char *at = in->at, *end = in->at + in->length, *line_end;

    while ((line_end = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        if (!backup_reader_take(reader, at, (size_t)(line_end + 1 - at), error))
            return false;
        at = line_end + 1;
    }
    memmove(in->at, at, (size_t)(end - at));
    in->length = (size_t)(end - at);
    return in->length <= BACKUP_MOST_LINE || rasad_fail(error, "the line is too long");
}

/* Whether it has ended where it should. */
static bool check_end(const struct backup_reader *reader, const struct text *rest,
                      struct rasad_error *error)
{
    if (reader->stage == BACKUP_END && rest->length == 0)
        return true;
    if (reader->stage == BACKUP_END)
        return rasad_fail(error, "something follows the end of the backup (take another)");
    return rasad_fail(error, "the backup was cut off %s (take a whole one)",
                      rest->length > 0 ? "within this line" : "before this line");
}

/* Reads to the end. What is wrong is so with line reader->lines + 1. */
static bool take_all(struct backup_reader *reader, int fd, struct rasad_error *error)
{
    SCOPED(text_free) struct text in = {0};
    ssize_t got;

    for (;;) {
        if (!text_reserve(&in, READ_BYTES))
            return rasad_fail_memory(error);
        got = read(fd, in.at + in.length, READ_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rasad_fail(error, "cannot read on: %s", strerror(errno));
        if (got == 0)
            return check_end(reader, &in, error);
        in.length += (size_t)got;
        if (!take_lines(reader, &in, error))
            return false;
    }
}

static bool restore_lines(struct restoring *restoring, int fd, const char *name,
                          struct store_restored *restored, struct rasad_error *error)
{
    static const struct backup_taker taker = {put_layout, put_series, put_stream};
    SCOPED(backup_reader_close) struct backup_reader reader;

    if (!backup_reader_open(&reader, &taker, restoring, error))
        return false;
    if (!take_all(&reader, fd, error))
        return rasad_fail_at(error, "%s:%" PRIu64, name, reader.lines + 1);
    *restored = (struct store_restored){
        .layouts = reader.layout_count,
        .series = reader.series_count,
        .streams = reader.stream_count,
        .commit = reader.header.commit.number,
        .time_ns = reader.header.time_ns,
    };
    (void)snprintf(restored->version, sizeof restored->version, "%s", reader.header.version);
    return put_commit(restoring, &reader.header.commit, error) && write_batch(restoring, error);
}

/* ---- The folder ---------------------------------------------------------------------------- */

/* Whether the path of something in the folder leads somewhere. */
static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat there;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &there) == 0;
}

static bool check_is_free(const char *folder, struct rasad_error *error)
{
    return !is_there(folder, "data.mdb") ||
           rasad_fail(error,
                      "%s/data.mdb is there, and is not overwritten (stop its server and move it "
                      "away, or name another folder)",
                      folder);
}

/* Makes the folder if it isn't there; `*made` if so. */
static bool make_folder(const char *folder, bool *made, struct rasad_error *error)
{
    *made = mkdir(folder, 0700) == 0;
    return *made || errno == EEXIST ||
           rasad_fail(error, "cannot make %s: %s (make the folder above it)", folder,
                      strerror(errno));
}

/* What root restores is for the server to write, whose folder it is. */
static bool give_to_owner(const char *folder, struct rasad_error *error)
{
    static const char *const names[] = {"new.mdb", "rasadd.lock"};
    char path[PATH_MAX];
    struct stat there;

    if (geteuid() != 0)
        return true;
    if (stat(folder, &there) != 0)
        return rasad_fail(error, "cannot look at %s: %s", folder, strerror(errno));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (lchown(path, there.st_uid, there.st_gid) != 0)
            return rasad_fail(error, "cannot give %s to the folder's owner: %s", path,
                              strerror(errno));
    }
    return true;
}

static void remove_folder(const char *folder)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/rasadd.lock", folder);
    (void)unlink(path);
    (void)rmdir(folder);
}

static void close_store(struct store **store)
{
    store_close(*store);
}

static bool restore_into(const char *folder, int fd, const char *name,
                         struct store_restored *restored, struct rasad_error *error)
{
    SCOPED(close_store) struct store *store = NULL;
    SCOPED(restoring_free) struct restoring restoring = {0};

    if (!store_take_folder(folder, NULL, &store, error) || !check_is_free(folder, error))
        return false;
    restoring.store = store;
    if (store_begin_new(store, error) && restore_lines(&restoring, fd, name, restored, error) &&
        give_to_owner(folder, error) && store_keep_new(store, error))
        return true;
    store_drop_new(store);
    return false;
}

bool store_restore(const char *folder, int fd, const char *name, struct store_restored *restored,
                   struct rasad_error *error)
{
    bool made;

    if (!check_is_free(folder, error) || !make_folder(folder, &made, error))
        return false;
    if (restore_into(folder, fd, name, restored, error))
        return true;
    if (made)
        remove_folder(folder);
    return false;
}
