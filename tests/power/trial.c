/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial: writers with and without the mistakes that a power cut punishes, and their checkers, to
 * show that recorder and images find the mistakes and nothing else.
 *
 *     trial write KIND MISTAKE FOLDER COUNT     notes "acked N" after each step
 *     trial check KIND FOLDER NOTE              0 all is well, 3 lost, 4 inconsistent, 5 unusable
 *
 * KIND journal (records in one file), current (a file replaced by rename) or lmdb (counters and a
 * mark). MISTAKE is "none", or what is left out: see the writers.
 */
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WELL = 0, LOST = 3, INCONSISTENT = 4, UNUSABLE = 5 };

static const char *mistake = "none";

static bool makes(const char *name)
{
    return strcmp(mistake, name) == 0;
}

static void must(bool good, const char *what)
{
    if (!good)
        err(2, "%s", what);
}

static void acknowledge(uint64_t n)
{
    static void (*note)(const char *);
    char text[64];

    if (note == NULL) {
        void *symbol = dlsym(RTLD_DEFAULT, "rasad_record_note");

        must(symbol != NULL, "the recorder is not preloaded");
        memcpy(&note, &symbol, sizeof note);
    }
    snprintf(text, sizeof text, "acked %llu", (unsigned long long)n);
    note(text);
}

static uint64_t mix(uint64_t n)
{
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
    return n ^ (n >> 27);
}

static void sync_folder(const char *folder)
{
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    must(descriptor >= 0 && fsync(descriptor) == 0, folder);
    close(descriptor);
}

/* A record that proves its own number; not a whole number of sectors. */
struct slip {
    uint64_t number;
    uint64_t words[99];
    uint64_t sum;
};

static struct slip slip_make(uint64_t number)
{
    struct slip slip = {.number = number, .sum = number};

    for (unsigned i = 0; i < 99; i++) {
        slip.words[i] = mix(number * 99 + i + 1);
        slip.sum += slip.words[i];
    }
    return slip;
}

static bool slip_is(const struct slip *slip, uint64_t number)
{
    struct slip good = slip_make(number);

    return memcmp(slip, &good, sizeof good) == 0;
}

/* ---- journal: "sync" is not done, or "folder" is not synced, or O_"dsync" is used --------------
 */

static void write_journal(const char *folder, uint64_t count)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (makes("dsync") ? O_DSYNC : 0);
    char path[PATH_MAX];
    int descriptor;

    snprintf(path, sizeof path, "%s/journal", folder);
    descriptor = open(path, flags, 0600);
    must(descriptor >= 0, path);
    if (!makes("folder"))
        sync_folder(folder);
    for (uint64_t n = 1; n <= count; n++) {
        struct slip slip = slip_make(n);

        must(write(descriptor, &slip, sizeof slip) == sizeof slip, path);
        if (!makes("sync") && !makes("dsync"))
            must(fdatasync(descriptor) == 0 || makes("failed"), path);
        acknowledge(n);
    }
    close(descriptor);
}

static int check_journal(const char *folder, uint64_t acked)
{
    char path[PATH_MAX];
    struct slip slip;
    uint64_t n = 0;
    FILE *in;

    snprintf(path, sizeof path, "%s/journal", folder);
    in = fopen(path, "re");
    if (in == NULL)
        return acked > 0 ? LOST : WELL;
    while (fread(&slip, sizeof slip, 1, in) == 1 && slip_is(&slip, n + 1))
        n++;
    fclose(in);
    return n < acked ? LOST : WELL;
}

/* ---- current: the new file is not "sync"ed before its rename, or the "folder" is not -----------
 */

static void write_current(const char *folder, uint64_t count)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];

    snprintf(path, sizeof path, "%s/current", folder);
    snprintf(temporary, sizeof temporary, "%s/current.new", folder);
    for (uint64_t n = 1; n <= count; n++) {
        struct slip slip = slip_make(n);
        int descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        must(descriptor >= 0 && write(descriptor, &slip, sizeof slip) == sizeof slip, temporary);
        if (!makes("sync"))
            must(fsync(descriptor) == 0, temporary);
        close(descriptor);
        must(rename(temporary, path) == 0, path);
        if (!makes("folder"))
            sync_folder(folder);
        acknowledge(n);
    }
}

static int check_current(const char *folder, uint64_t acked)
{
    char path[PATH_MAX];
    struct slip slip;
    ssize_t length;
    int descriptor;

    snprintf(path, sizeof path, "%s/current", folder);
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return acked > 0 ? LOST : WELL;
    length = read(descriptor, &slip, sizeof slip);
    close(descriptor);
    if (length != sizeof slip || !slip_is(&slip, slip.number))
        return INCONSISTENT;
    return slip.number < acked ? LOST : WELL;
}

/* ---- lmdb: "nosync", or "nometasync", or the mark in a "second" transaction --------------------
 */

#define KEYS 512u
#define CHANGES 16u /* counters that a step raises */

static void lmdb_must(int code, const char *what)
{
    if (code != 0)
        errx(2, "%s: %s", what, mdb_strerror(code));
}

static MDB_env *open_lmdb(const char *folder, unsigned flags, int *code)
{
    MDB_env *env;

    lmdb_must(mdb_env_create(&env), "env_create");
    lmdb_must(mdb_env_set_mapsize(env, 256u << 20), "set_mapsize");
    *code = mdb_env_open(env, folder, flags, 0600);
    return env;
}

static uint64_t get(MDB_txn *txn, MDB_dbi dbi, uint64_t key)
{
    MDB_val k = {sizeof key, &key};
    MDB_val v;
    uint64_t value;

    if (mdb_get(txn, dbi, &k, &v) != 0 || v.mv_size < sizeof value)
        return 0;
    memcpy(&value, v.mv_data, sizeof value);
    return value;
}

static void put(MDB_txn *txn, MDB_dbi dbi, uint64_t key, uint64_t value)
{
    uint64_t room[16] = {value};
    MDB_val k = {sizeof key, &key};
    MDB_val v = {sizeof room, room};

    lmdb_must(mdb_put(txn, dbi, &k, &v, 0), "put");
}

static uint64_t counter_of(uint64_t step, unsigned change)
{
    return 1 + mix(step * CHANGES + change) % KEYS;
}

/* LMDB syncs neither its first meta pages nor the folder, and refuses a file with half of them: so
 * the file is made elsewhere, with a commit in it. */
static void create_lmdb(const char *folder)
{
    char inner[PATH_MAX];
    char made[PATH_MAX + 16];
    char path[PATH_MAX];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    int code;

    snprintf(inner, sizeof inner, "%s/new", folder);
    snprintf(made, sizeof made, "%s/data.mdb", inner);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (access(path, F_OK) == 0)
        return;
    if (mkdir(inner, 0700) != 0)
        unlink(made); /* of an attempt that was cut short */
    env = open_lmdb(inner, 0, &code);
    lmdb_must(code, "open");
    lmdb_must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    lmdb_must(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi_open");
    put(txn, dbi, 0, 0);
    lmdb_must(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
    must(rename(made, path) == 0, path);
}

static void write_lmdb(const char *folder, uint64_t count)
{
    unsigned flags = makes("nosync") ? MDB_NOSYNC : makes("nometasync") ? MDB_NOMETASYNC : 0;
    int code;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint64_t done;

    if (!makes("inplace"))
        create_lmdb(folder);
    env = open_lmdb(folder, flags, &code);
    lmdb_must(code, "open");
    sync_folder(folder); /* LMDB does not */
    lmdb_must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    lmdb_must(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi_open");
    done = get(txn, dbi, 0);
    lmdb_must(mdb_txn_commit(txn), "commit");
    for (uint64_t n = done + 1; n <= done + count; n++) {
        lmdb_must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        for (unsigned i = 0; i < CHANGES; i++)
            put(txn, dbi, counter_of(n, i), get(txn, dbi, counter_of(n, i)) + 1);
        if (makes("second")) {
            lmdb_must(mdb_txn_commit(txn), "commit");
            lmdb_must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
        }
        put(txn, dbi, 0, n);
        lmdb_must(mdb_txn_commit(txn), "commit");
        acknowledge(n);
    }
    mdb_env_close(env);
}

static int check_lmdb(const char *folder, uint64_t acked)
{
    static uint64_t expected[KEYS + 1];
    char path[PATH_MAX];
    int code;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint64_t mark;

    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (access(path, F_OK) != 0)
        return acked > 0 ? LOST : WELL;
    env = open_lmdb(folder, 0, &code);
    if (code != 0 || mdb_txn_begin(env, NULL, 0, &txn) != 0 ||
        mdb_dbi_open(txn, NULL, 0, &dbi) != 0)
        return UNUSABLE;
    mark = get(txn, dbi, 0);
    if (mark > 1u << 20)
        return INCONSISTENT;
    for (uint64_t n = 1; n <= mark; n++)
        for (unsigned i = 0; i < CHANGES; i++)
            expected[counter_of(n, i)]++;
    for (uint64_t key = 1; key <= KEYS; key++)
        if (get(txn, dbi, key) != expected[key])
            return INCONSISTENT;
    put(txn, dbi, 0, mark + 1); /* and it goes on */
    if (mdb_txn_commit(txn) != 0)
        return UNUSABLE;
    mdb_env_close(env);
    return mark < acked ? LOST : WELL;
}

/* ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *kind;
    void (*write)(const char *folder, uint64_t count);
    int (*check)(const char *folder, uint64_t acked);
} kinds[] = {
    {"journal", write_journal, check_journal},
    {"current", write_current, check_current},
    {"lmdb", write_lmdb, check_lmdb},
};

int main(int count, char **arguments)
{
    bool writes = count == 6 && strcmp(arguments[1], "write") == 0;
    unsigned long long acked = 0;

    if (!writes && (count != 5 || strcmp(arguments[1], "check") != 0))
        errx(2, "trial write KIND MISTAKE FOLDER COUNT | trial check KIND FOLDER NOTE");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, arguments[2]) != 0)
            continue;
        if (writes) {
            mistake = arguments[3];
            kinds[i].write(arguments[4], strtoull(arguments[5], NULL, 10));
            return 0;
        }
        if (sscanf(arguments[4], "acked %llu", &acked) != 1)
            acked = 0;
        return kinds[i].check(arguments[3], acked);
    }
    errx(2, "no kind \"%s\"", arguments[2]);
}
