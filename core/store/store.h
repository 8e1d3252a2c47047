/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * store: the states and the numbers of streams on disk, in one LMDB environment in state_dir
 * (record.h has what is in it). What cuts bring is written in one transaction, so a state and the
 * number it has reached are never apart, and what a kill or a power cut leaves is what some commit
 * left. There is no log to replay, and nothing to repair.
 *
 *      FOLDER/rasadd.lock   whose holder owns the folder
 *      FOLDER/data.mdb      the database; FOLDER/lock.mdb is LMDB's own
 *
 * A commit is synced when it returns: LMDB writes pages beside the old ones, syncs, and then writes
 * and syncs the meta page that makes them the database. MDB_NOSYNC and MDB_WRITEMAP are not used:
 * the one is corrupt after most power cuts, the other dies on a full disk.
 *
 * After an error of the disk that a lack of space doesn't explain, nothing on it is trusted: the
 * environment is opened anew, and the next commit must bring all there is (store_wants_all()).
 *
 * What a metric's series are is a layout. Series whose layout no metric of the conf takes are kept
 * aside for state_keep, and come back with a metric that takes it.
 *
 * Threads: one at a time, which may wait for the disk. Memory: the layouts; else LMDB's map, which
 * grows by itself.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "cut.h"
#include "family.h"
#include "store/record.h"

struct store;

/* Who hears now and then that what takes long goes on; `tell` NULL: nobody wants to know. */
struct store_progress {
    void (*tell)(void *context);
    void *context;
};

/*
 * Opens the folder's database, or begins one. What is there is looked through first, by a process
 * of its own, for damage, unless it `is_trusted`, since it was in use a moment ago. Refused, and
 * left as it is: what another server has open, what is damaged, of a newer format or not ours, and
 * a file system over a network. `steady_ns` is now.
 */
bool store_open(const char *folder, bool is_trusted, struct store_progress progress,
                const struct log *log, int64_t steady_ns, struct store **out,
                struct rasad_error *error);

/* Whether this program knows the format of what lies in the folder, which may be in use; or nothing
 * does. */
bool store_is_readable(const char *folder, struct rasad_error *error);

/* NULL is fine. */
void store_close(struct store *store);

/* Where ids of series come from: series_store.ids. */
_Atomic uint64_t *store_ids(struct store *store);

/* Steady time as uptime, and back. */
int64_t store_uptime(const struct store *store, int64_t steady_ns);
int64_t store_steady(const struct store *store, int64_t uptime_ns);

/* Commits so far, over all servers' lives. */
uint64_t store_commits(const struct store *store);

/* Bytes of the database's file. */
uint64_t store_bytes(const struct store *store);

/* ---- Writing ---- */

/* Whether the cuts of the next commit must hold all series and streams. */
bool store_wants_all(const struct store *store);

/*
 * Writes what these cuts say, later ones over earlier ones, and returns when it is on disk. On
 * false nothing of it is, as far as one can tell, and it is to be tried again. `hold_all` says that
 * they hold all there is; they must if that is wanted.
 */
bool store_write(struct store *store, const struct cut *cuts, bool hold_all, int64_t steady_ns,
                 struct rasad_error *error);

/* ---- Layouts ---- */

/* The families have changed: layouts that none of them has are aside from now on. False without
 * memory. The next commit says so on disk. */
bool store_sort_layouts(struct store *store, struct families *families, int64_t steady_ns);

/* The families are about to change (family->next), and all of theirs is on disk: the layouts of
 * those that end are aside, and may come back to others at once. */
void store_end_layouts(struct store *store, struct families *families, int64_t steady_ns);

/* What is aside under this layout has all come back: nobody need look for it again. */
void store_note_empty(struct store *store, uint32_t id);

/* Erases some thousand series that were aside for longer than that, and is `*done` when there are
 * no more; lets go of pages that a process which was killed still reads. */
bool store_drop_aside(struct store *store, int64_t keep_ns, int64_t steady_ns, bool *done,
                      struct rasad_error *error);

/* ---- Reading ---- */

/* Calls for each layout, but for those known to be empty; `call` may return false to end it. */
bool store_each_layout(const struct store *store,
                       bool (*call)(void *context, uint32_t id, const struct record_layout *layout),
                       void *context);

/* How many series there are, those aside too. */
uint64_t store_series_count(struct store *store);

/* Calls for each series, and for each stream; `call` returns false, with the error, to end it.
 * What is handed over is lent for the call. */
bool store_each_series(struct store *store,
                       bool (*call)(void *context, uint64_t id, const struct record_series *series,
                                    struct rasad_error *error),
                       void *context, struct rasad_error *error);
bool store_each_stream(struct store *store,
                       bool (*call)(void *context, const struct record_stream *stream,
                                    struct rasad_error *error),
                       void *context, struct rasad_error *error);

/* ---- Backups: backup.h has their lines ---- */

/* Writes all that is on disk as a backup: what one commit left. `wall_ns` is now. The file should
 * be a fast one, since the store can't be used meanwhile. */
bool store_dump(struct store *store, int fd, int64_t wall_ns, uint64_t *bytes,
                struct rasad_error *error);

/* What a backup had. */
struct store_restored {
    uint64_t layouts, series, streams;
    uint64_t commit;
    int64_t time_ns;  /* wall, when it was made */
    char version[64]; /* of the Rasad that made it */
};

/*
 * Makes a state folder out of a backup, which `name` stands for in errors, without a server. A
 * folder that has a database is refused, and so is a backup with anything wrong in it, before a
 * database is there.
 */
bool store_restore(const char *folder, int fd, const char *name, struct store_restored *restored,
                   struct rasad_error *error);
