/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * store_inside: what the files of the store share; for nobody else.
 */
#include <lmdb.h>

#include "store/store.h"

/* A layout and its bytes. */
struct layout {
    struct record_layout record; /* lends the bytes */
    uint32_t id;
    uint32_t hash; /* of its names */
    bool is_new;   /* the next commit writes it */
    bool is_empty; /* no series has it on disk */
    bool is_used;  /* by a family; for who sorts them */
    char *bytes;   /* its record; owned */
};

/* All that there are, by id. */
struct layouts {
    struct layout **at;
    size_t count;
    uint32_t last_id;
};

struct store {
    const struct log *log;
    char *folder;
    int lock;     /* the descriptor that has it */
    MDB_env *env; /* NULL: it must be opened anew */
    MDB_dbi about, layout, series, stream;
    size_t map_size;
    _Atomic uint64_t ids;
    struct record_commit commit;
    int64_t uptime_offset_ns; /* uptime less steady */
    struct layouts layouts;
    bool wants_all;
};

/* A store that has the folder, which is made if need be, to itself; and nothing else yet. */
bool store_take_folder(const char *folder, const struct log *log, struct store **out,
                       struct rasad_error *error);

bool store_sync_folder(const char *path, struct rasad_error *error);

/*
 * Makes a database under another name, FOLDER/new.mdb, so that what is interrupted, and a power
 * cut, leave either none or a whole one: LMDB does not sync what it begins a file with, until the
 * first commit. It becomes the folder's when it is kept; then, or when it is dropped, it is closed.
 */
bool store_begin_new(struct store *store, struct rasad_error *error);
bool store_keep_new(struct store *store, struct rasad_error *error);
void store_drop_new(struct store *store);

/* Opens the environment and its tables; a new one gets its format. */
bool store_open_env(struct store *store, struct rasad_error *error);

/* Closes it; it is not to be trusted any more. */
void store_distrust(struct store *store);

/* The map becomes twice as large; no transaction may be open. On false the environment is closed.
 */
bool store_grow(struct store *store, struct rasad_error *error);

/* Fills the error with LMDB's reason. */
bool store_fail(const struct store *store, int why, struct rasad_error *error);

/*
 * As store_fail(), after a write. One that fails for want of space has changed nothing that counts;
 * after any other error the kernel may have dropped pages and call the rest well, so the
 * environment is distrusted.
 */
bool store_fail_write(struct store *store, int why, struct rasad_error *error);

/* Looks through all of the database in a child process; false if something is wrong with it. While
 * it waits it tells so, once a second. */
bool store_check(const char *folder, struct store_progress progress, struct rasad_error *error);

/* Reads a record and hands it on; false, with the error, to end the walk. */
typedef bool store_take(void *context, struct record_key key, const MDB_val *value,
                        struct rasad_error *error);

/* A walk over a table, by its keys. */
bool store_walk(const struct store *store, MDB_txn *txn, MDB_dbi table, store_take *take,
                void *context, struct rasad_error *error);

/* Copies a layout in; NULL without memory. An id of 0 is a new one's. */
struct layout *layouts_add(struct layouts *layouts, uint32_t id,
                           const struct record_layout *record);
/* Reads a record of the table of layouts and copies it in; NULL, with the error, if it is none. */
struct layout *layouts_read(struct layouts *layouts, struct record_key key, const MDB_val *value,
                            struct rasad_error *error);

void layout_free(struct layout *layout);
void layouts_free(struct layouts *layouts);

/* The one of this id; NULL if there is none. */
struct layout *layouts_find(const struct layouts *layouts, uint32_t id);

/* The id of the family's layout, which is made if need be; 0 without memory. */
uint32_t layouts_of(struct layouts *layouts, struct family *family);

/* Reads the layouts from the database. */
bool store_read_layouts(struct store *store, struct rasad_error *error);
