/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/scoped.h"
#include "store/store_inside.h"

/* The map's first size, and the least that is tried where address space is short. */
#define MAP_BYTES ((size_t)256 << 20)
#define LEAST_MAP_BYTES ((size_t)64 << 20)

#define TABLES 4

/* With less than that left a disk is full: LMDB tells of it as of any other failure to write. */
#define FULL_BYTES (1 << 20)

/* Of statfs(2): where LMDB's locks and its map can't be relied on. */
static const struct {
    long magic;
    const char *name;
} network_systems[] = {
    {0x6969, "NFS"}, {0x01021997, "9P"}, {(long)0xff534d42, "CIFS"}, {(long)0xfe534d42, "SMB"}};

bool store_fail(const struct store *store, int why, struct rasad_error *error)
{
    return rasad_fail(error, "%s: %s", store->folder, mdb_strerror(why));
}

/* ---- The folder ---------------------------------------------------------------------------- */

bool store_sync_folder(const char *path, struct rasad_error *error)
{
    SCOPED(close_at) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return (folder >= 0 && fsync(folder) == 0) ||
           rasad_fail(error, "cannot sync the folder %s: %s", path, strerror(errno));
}

/* The folder that this one lies in. */
static void parent_of(const char *folder, char parent[PATH_MAX])
{
    size_t length = (size_t)snprintf(parent, PATH_MAX, "%s", folder);

    while (length > 1 && parent[length - 1] == '/')
        parent[--length] = '\0';
    if (strrchr(parent, '/') == NULL)
        (void)snprintf(parent, PATH_MAX, ".");
    else
        strrchr(parent, '/')[strrchr(parent, '/') == parent ? 1 : 0] = '\0';
}

static bool make_folder(const char *folder, struct rasad_error *error)
{
    struct rasad_error unsynced;
    char parent[PATH_MAX];

    parent_of(folder, parent);
    if (mkdir(folder, 0700) == 0)
        return store_sync_folder(parent, error);
    if (errno != EEXIST)
        return rasad_fail(error,
                          "cannot make state_dir %s: %s (make the folder above it, or write "
                          "state_dir = \"\" to keep no state)",
                          folder, strerror(errno));
    /* Whoever made it may have been killed before its name was on the disk; or it is somebody
     * else's business, and no folder that we may read. */
    (void)store_sync_folder(parent, &unsynced);
    return true;
}

static bool is_local(const char *folder, struct rasad_error *error)
{
    struct statfs system;

    if (statfs(folder, &system) != 0)
        return rasad_fail(error, "cannot look at state_dir %s: %s", folder, strerror(errno));
    for (size_t i = 0; i < sizeof network_systems / sizeof *network_systems; i++) {
        if ((long)system.f_type == network_systems[i].magic)
            return rasad_fail(error,
                              "state_dir %s lies on %s, where locks and maps can't be relied on "
                              "(write a folder of a local disk)",
                              folder, network_systems[i].name);
    }
    return true;
}

static bool lock_folder(struct store *store, struct rasad_error *error)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/rasadd.lock", store->folder);
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0)
        return rasad_fail(error, "cannot open %s: %s", path, strerror(errno));
    if (flock(store->lock, LOCK_EX | LOCK_NB) != 0)
        return rasad_fail(error,
                          "state_dir %s is another server's, which runs (give each a folder of its "
                          "own)",
                          store->folder);
    return true;
}

/* ---- The environment ----------------------------------------------------------------------- */

static size_t file_bytes(const char *folder)
{
    char path[PATH_MAX];
    struct stat file;

    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    return stat(path, &file) == 0 ? (size_t)file.st_size : 0;
}

/* LMDB 0.9.24 leaves the descriptor that it writes pages with open over an exec. */
static int close_on_exec(MDB_env *env)
{
    int fd, why = mdb_env_get_fd(env, &fd);

    if (why != 0)
        return why;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? 0 : errno;
}

/* Whether there is a database. Only if that is certain may one be begun in its place. */
static bool look_for_file(const char *folder, bool *is_there, struct rasad_error *error)
{
    char path[PATH_MAX];
    struct stat file;

    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    *is_there = false;
    if (stat(path, &file) != 0)
        return errno == ENOENT || rasad_fail(error, "cannot look at %s: %s", path, strerror(errno));
    *is_there = file.st_size > 0;
    return true;
}

/* An environment in this file, with a map of this size; the error's number, or 0. */
static int open_with_map(struct store *store, const char *path, unsigned flags, size_t map_size)
{
    MDB_env *env;
    int why = mdb_env_create(&env);

    if (why != 0)
        return why;
    if ((why = mdb_env_set_maxdbs(env, TABLES)) == 0 &&
        (why = mdb_env_set_mapsize(env, map_size)) == 0 &&
        (why = mdb_env_open(env, path, MDB_NOTLS | flags, 0600)) == 0 &&
        (why = close_on_exec(env)) == 0) {
        store->env = env;
        store->map_size = map_size;
        return 0;
    }
    mdb_env_close(env);
    return why;
}

/* The record "format" says whose it is. */
static int begin_tables(struct store *store, MDB_txn *txn)
{
    SCOPED(text_free) struct text format = {0};
    MDB_val key = {.mv_data = (void *)(uintptr_t) "format", .mv_size = strlen("format")};
    MDB_val value;
    int why;

    if ((why = mdb_dbi_open(txn, "about", MDB_CREATE, &store->about)) != 0 ||
        (why = mdb_dbi_open(txn, "layout", MDB_CREATE | MDB_INTEGERKEY, &store->layout)) != 0 ||
        (why = mdb_dbi_open(txn, "series", MDB_CREATE | MDB_INTEGERKEY, &store->series)) != 0 ||
        (why = mdb_dbi_open(txn, "stream", MDB_CREATE, &store->stream)) != 0)
        return why;
    why = mdb_get(txn, store->about, &key, &value);
    if (why != MDB_NOTFOUND)
        return why;
    record_add_format(&format);
    if (format.failed)
        return ENOMEM;
    value = (MDB_val){.mv_data = format.at, .mv_size = format.length};
    return mdb_put(txn, store->about, &key, &value, 0);
}

static bool open_tables(struct store *store, struct rasad_error *error)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (why == 0) {
        why = begin_tables(store, txn);
        if (why == 0)
            why = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    return why == 0 || store_fail(store, why, error);
}

/* Where a database is made, before it is the one. */
static void new_paths(const struct store *store, char path[PATH_MAX], char lock_path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/new.mdb", store->folder);
    (void)snprintf(lock_path, PATH_MAX, "%s/new.mdb-lock", store->folder);
}

void store_drop_new(struct store *store)
{
    char path[PATH_MAX], lock_path[PATH_MAX];

    new_paths(store, path, lock_path);
    store_distrust(store);
    (void)unlink(lock_path);
    (void)unlink(path);
}

bool store_begin_new(struct store *store, struct rasad_error *error)
{
    char path[PATH_MAX], lock_path[PATH_MAX];
    int why;

    new_paths(store, path, lock_path);
    (void)unlink(path);
    why = open_with_map(store, path, MDB_NOSUBDIR, LEAST_MAP_BYTES);
    if (why != 0)
        return store_fail(store, why, error);
    return open_tables(store, error);
}

bool store_keep_new(struct store *store, struct rasad_error *error)
{
    char path[PATH_MAX], new_path[PATH_MAX], lock_path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/data.mdb", store->folder);
    new_paths(store, new_path, lock_path);
    store_distrust(store);
    (void)unlink(lock_path);
    if (rename(new_path, path) != 0)
        return rasad_fail(error, "cannot rename %s: %s", new_path, strerror(errno));
    return store_sync_folder(store->folder, error);
}

/* An empty database. */
static bool begin_file(struct store *store, struct rasad_error *error)
{
    if (store_begin_new(store, error))
        return store_keep_new(store, error);
    store_drop_new(store);
    return false;
}

bool store_open_env(struct store *store, struct rasad_error *error)
{
    size_t bytes = file_bytes(store->folder), map_size = MAP_BYTES;
    int why;

    while (map_size < 2 * bytes)
        map_size *= 2;
    /* Address space may be limited (ulimit -v). */
    while ((why = open_with_map(store, store->folder, 0, map_size)) == ENOMEM &&
           map_size / 2 > bytes && map_size / 2 >= LEAST_MAP_BYTES)
        map_size /= 2;
    if (why != 0)
        return store_fail(store, why, error);
    if (open_tables(store, error))
        return true;
    store_distrust(store);
    return false;
}

void store_distrust(struct store *store)
{
    if (store->env != NULL)
        mdb_env_close(store->env);
    store->env = NULL;
}

bool store_grow(struct store *store, struct rasad_error *error)
{
    int why = mdb_env_set_mapsize(store->env, 2 * store->map_size);

    if (why != 0) { /* LMDB has let go of the map that it had, and goes on as if it were there */
        store_distrust(store);
        return store_fail(store, why, error);
    }
    store->map_size *= 2;
    return true;
}

static bool is_full(const struct store *store)
{
    struct statvfs disk;

    return statvfs(store->folder, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize < FULL_BYTES;
}

/* Whether LMDB itself takes nothing more: its meta page could not be written, and even that can
 * fail for want of space where a file system never writes in place. */
static bool is_over(const struct store *store)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

    if (why == 0)
        mdb_txn_abort(txn);
    return why == MDB_PANIC;
}

bool store_fail_write(struct store *store, int why, struct rasad_error *error)
{
    bool lacks_space = why == ENOSPC || why == EDQUOT || (why == EIO && is_full(store));

    if (why == ENOMEM)
        return rasad_fail_memory(error);
    if (!lacks_space || is_over(store)) {
        store_distrust(store);
        store->wants_all = true;
    }
    return lacks_space ? rasad_fail(error, "%s: no space left on the disk", store->folder)
                       : store_fail(store, why, error);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static bool read_commit(struct store *store, MDB_txn *txn, struct rasad_error *error)
{
    MDB_val key = {.mv_data = (void *)(uintptr_t) "commit", .mv_size = strlen("commit")};
    MDB_val value;
    int why = mdb_get(txn, store->about, &key, &value);

    if (why == MDB_NOTFOUND)
        return true;
    if (why != 0)
        return store_fail(store, why, error);
    return record_read_commit(value.mv_data, value.mv_size, &store->commit, error) ||
           rasad_fail_at(error, "%s/data.mdb", store->folder);
}

/* Ids go on behind the last that is there. */
static bool read_last_id(struct store *store, MDB_txn *txn, struct rasad_error *error)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    uint64_t id = 0;
    int why = mdb_cursor_open(txn, store->series, &cursor);

    if (why == 0) {
        why = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
        if (why == 0 && key.mv_size == sizeof id)
            memcpy(&id, key.mv_data, sizeof id);
        mdb_cursor_close(cursor);
    }
    atomic_init(&store->ids, id);
    return why == 0 || why == MDB_NOTFOUND || store_fail(store, why, error);
}

static bool read_about(struct store *store, struct rasad_error *error)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    bool fine;

    if (why != 0)
        return store_fail(store, why, error);
    fine = read_commit(store, txn, error) && read_last_id(store, txn, error);
    mdb_txn_abort(txn);
    return fine;
}

static void close_store(struct store **store)
{
    store_close(*store);
}

bool store_take_folder(const char *folder, const struct log *log, struct store **out,
                       struct rasad_error *error)
{
    SCOPED(close_store) struct store *store = calloc(1, sizeof *store);

    if (store == NULL)
        return rasad_fail_memory(error);
    store->log = log;
    store->lock = -1;
    store->folder = strdup(folder);
    if (store->folder == NULL)
        return rasad_fail_memory(error);
    if (!make_folder(folder, error) || !is_local(folder, error) || !lock_folder(store, error))
        return false;
    *out = TAKE(store);
    return true;
}

static bool check_or_begin(struct store *store, bool is_trusted, struct store_progress progress,
                           struct rasad_error *error)
{
    bool is_there;

    if (!look_for_file(store->folder, &is_there, error))
        return false;
    if (!is_there)
        return begin_file(store, error);
    return is_trusted || store_check(store->folder, progress, error);
}

/* What a process that was killed has written is there for us to see, and not necessarily for one
 * that comes after a power cut; but we are about to tell what is on disk. */
static bool sync_all(struct store *store, struct rasad_error *error)
{
    int why = mdb_env_sync(store->env, 1);

    if (why != 0)
        return store_fail(store, why, error);
    return store_sync_folder(store->folder, error);
}

bool store_open(const char *folder, bool is_trusted, struct store_progress progress,
                const struct log *log, int64_t steady_ns, struct store **out,
                struct rasad_error *error)
{
    SCOPED(close_store) struct store *store = NULL;

    if (!store_take_folder(folder, log, &store, error))
        return false;
    if (!check_or_begin(store, is_trusted, progress, error) || !store_open_env(store, error) ||
        (!is_trusted && !sync_all(store, error)) || !read_about(store, error) ||
        !store_read_layouts(store, error))
        return false;
    store->uptime_offset_ns = store->commit.uptime_ns - steady_ns;
    *out = TAKE(store);
    return true;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store_distrust(store);
    close_at(&store->lock);
    layouts_free(&store->layouts);
    free(store->folder);
    free(store);
}

_Atomic uint64_t *store_ids(struct store *store)
{
    return &store->ids;
}

int64_t store_uptime(const struct store *store, int64_t steady_ns)
{
    return steady_ns + store->uptime_offset_ns;
}

int64_t store_steady(const struct store *store, int64_t uptime_ns)
{
    return uptime_ns - store->uptime_offset_ns;
}

uint64_t store_commits(const struct store *store)
{
    return store->commit.number;
}

uint64_t store_bytes(const struct store *store)
{
    return file_bytes(store->folder);
}

bool store_wants_all(const struct store *store)
{
    return store->wants_all;
}

/* ---- Reading ------------------------------------------------------------------------------- */

bool store_walk(const struct store *store, MDB_txn *txn, MDB_dbi table, store_take *take,
                void *context, struct rasad_error *error)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    bool fine = true;
    int why = mdb_cursor_open(txn, table, &cursor);

    if (why == 0) {
        while (fine && (why = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
            fine = take(context, (struct record_key){key.mv_data, key.mv_size}, &value, error);
        mdb_cursor_close(cursor);
    }
    return fine && (why == MDB_NOTFOUND || store_fail(store, why, error));
}

/* A walk over a table as it is now. */
static bool each(struct store *store, MDB_dbi table, store_take *take, void *context,
                 struct rasad_error *error)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    bool fine;

    if (why != 0)
        return store_fail(store, why, error);
    fine = store_walk(store, txn, table, take, context, error);
    mdb_txn_abort(txn);
    return fine;
}

uint64_t store_series_count(struct store *store)
{
    MDB_stat stat = {0};
    MDB_txn *txn;

    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    (void)mdb_stat(txn, store->series, &stat);
    mdb_txn_abort(txn);
    return stat.ms_entries;
}

struct series_walk {
    bool (*call)(void *context, uint64_t id, const struct record_series *series,
                 struct rasad_error *error);
    void *context;
};

static bool take_series(void *context, struct record_key key, const MDB_val *value,
                        struct rasad_error *error)
{
    const struct series_walk *walk = context;
    struct record_series series;
    uint64_t id;

    if (!record_read_series(key, value->mv_data, value->mv_size, &series, error))
        return false;
    memcpy(&id, key.at, sizeof id);
    return walk->call(walk->context, id, &series, error);
}

bool store_each_series(struct store *store,
                       bool (*call)(void *context, uint64_t id, const struct record_series *series,
                                    struct rasad_error *error),
                       void *context, struct rasad_error *error)
{
    struct series_walk walk = {call, context};

    return each(store, store->series, take_series, &walk, error);
}

struct stream_walk {
    bool (*call)(void *context, const struct record_stream *stream, struct rasad_error *error);
    void *context;
};

static bool take_stream(void *context, struct record_key key, const MDB_val *value,
                        struct rasad_error *error)
{
    const struct stream_walk *walk = context;
    struct record_stream stream;

    return record_read_stream(key, value->mv_data, value->mv_size, &stream, error) &&
           walk->call(walk->context, &stream, error);
}

bool store_each_stream(struct store *store,
                       bool (*call)(void *context, const struct record_stream *stream,
                                    struct rasad_error *error),
                       void *context, struct rasad_error *error)
{
    struct stream_walk walk = {call, context};

    return each(store, store->stream, take_stream, &walk, error);
}

static bool take_layout(void *context, struct record_key key, const MDB_val *value,
                        struct rasad_error *error)
{
    struct store *store = context;

    return layouts_read(&store->layouts, key, value, error) != NULL;
}

bool store_read_layouts(struct store *store, struct rasad_error *error)
{
    return each(store, store->layout, take_layout, store, error) ||
           rasad_fail_at(error, "%s", store->folder);
}
