/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scoped.h"
#include "store/store_inside.h"

/* Room for what is wrong. */
#define ANSWER_BYTES sizeof(((struct rasad_error *)NULL)->text)

/* How often it is told that the look goes on. */
#define PROGRESS_MS 1000

/* What a user can do about a database that is not to be used. */
#define WHAT_TO_DO                                                                                 \
    "move it away; then rasadctl restore puts a backup in its place, or the server begins anew"

/* What the child ends with. */
enum { FINE, DAMAGED, UNSEEN };

/* ---- In the child -------------------------------------------------------------------------- */

/* LMDB's own numbers are about what is in the file; the system's are about getting at it. */
static int fail_to_look(int why, struct rasad_error *error)
{
    (void)rasad_fail(error, "%s", mdb_strerror(why));
    return why < 0 ? DAMAGED : UNSEEN;
}

/* Whether the record's own sum is right. */
static bool check_record(const char *table, const MDB_val *key, const MDB_val *value,
                         struct rasad_error *error)
{
    const struct record_key name = {key->mv_data, key->mv_size};
    struct record_layout layout;
    struct record_series series;
    struct record_stream stream;

    if (strcmp(table, "layout") == 0)
        return record_read_layout(name, value->mv_data, value->mv_size, &layout, error);
    if (strcmp(table, "series") == 0)
        return record_read_series(name, value->mv_data, value->mv_size, &series, error);
    if (strcmp(table, "stream") == 0)
        return record_read_stream(name, value->mv_data, value->mv_size, &stream, error);
    return true;
}

static bool check_table(MDB_txn *txn, const char *table, unsigned flags, struct rasad_error *error)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    MDB_dbi dbi;
    bool fine = true;
    int why = mdb_dbi_open(txn, table, flags, &dbi);

    if (why != 0)
        return rasad_fail(error, "table %s: %s", table, mdb_strerror(why));
    if ((why = mdb_cursor_open(txn, dbi, &cursor)) == 0) {
        while (fine && (why = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
            fine = check_record(table, &key, &value, error);
        mdb_cursor_close(cursor);
    }
    if (!fine)
        return rasad_fail_at(error, "table %s", table);
    return why == MDB_NOTFOUND || rasad_fail(error, "table %s: %s", table, mdb_strerror(why));
}

/* Whose it is, and of which format. */
static bool check_about(MDB_txn *txn, struct rasad_error *error)
{
    MDB_val key = {.mv_data = (void *)(uintptr_t) "format", .mv_size = strlen("format")};
    MDB_val value;
    MDB_dbi about;
    int why = mdb_dbi_open(txn, "about", 0, &about);

    if (why == 0)
        why = mdb_get(txn, about, &key, &value);
    if (why == MDB_NOTFOUND)
        return rasad_fail(error, "it is no state of Rasad's");
    if (why != 0)
        return rasad_fail(error, "%s", mdb_strerror(why));
    return record_read_format(value.mv_data, value.mv_size, error);
}

static int check_all(MDB_env *env, struct rasad_error *error)
{
    MDB_txn *txn;
    int why = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    bool fine;

    if (why != 0)
        return fail_to_look(why, error);
    fine = check_about(txn, error) && check_table(txn, "layout", MDB_INTEGERKEY, error) &&
           check_table(txn, "series", MDB_INTEGERKEY, error) &&
           check_table(txn, "stream", 0, error);
    mdb_txn_abort(txn);
    return fine ? FINE : DAMAGED;
}

static int check_file(const char *folder, struct rasad_error *error)
{
    MDB_env *env;
    int why = mdb_env_create(&env), answer;

    if (why != 0)
        return fail_to_look(why, error);
    why = mdb_env_set_maxdbs(env, 8);
    if (why == 0)
        why = mdb_env_open(env, folder, MDB_RDONLY | MDB_NOLOCK, 0);
    answer = why == 0 ? check_all(env, error) : fail_to_look(why, error);
    mdb_env_close(env);
    return answer;
}

/* It must not outlive a server that is killed: it shares the lock on the folder and the sockets
 * that the next one wants. */
static void let_go_of_the_rest(pid_t server, int answer)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != server)
        _exit(2);
    (void)dup2(nowhere, STDERR_FILENO);
    (void)close_range(STDERR_FILENO + 1, (unsigned)answer - 1, 0);
    (void)close_range((unsigned)answer + 1, ~0U, 0);
}

/* Bytes that make no sense can make LMDB itself crash, which then is the answer. */
_Noreturn static void look(const char *folder, pid_t server, int answer)
{
    struct rasad_error error = {""};
    int found;

    let_go_of_the_rest(server, answer);
    (void)signal(SIGSEGV, SIG_DFL);
    (void)signal(SIGBUS, SIG_DFL);
    (void)signal(SIGABRT, SIG_DFL);
    found = check_file(folder, &error);
    if (found != FINE && write(answer, error.text, strlen(error.text)) < 0)
        _exit(UNSEEN);
    _exit(found);
}

bool store_is_readable(const char *folder, struct rasad_error *error)
{
    MDB_env *env;
    MDB_txn *txn;
    bool fine = true;
    int why = mdb_env_create(&env);

    if (why == 0)
        why = mdb_env_set_maxdbs(env, 8);
    if (why == 0)
        why = mdb_env_open(env, folder, MDB_RDONLY, 0);
    if (why == 0 && (why = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)) == 0) {
        fine = check_about(txn, error);
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    if (why != 0 && why != ENOENT)
        fine = rasad_fail(error, "%s", mdb_strerror(why));
    return fine || rasad_fail_at(error, "%s", folder);
}

/* ---- In the server ------------------------------------------------------------------------- */

/* Waits until the child has something to say, or has ended. */
static void await(int from, struct store_progress progress)
{
    struct pollfd polled = {.fd = from, .events = POLLIN};

    while (progress.tell != NULL && poll(&polled, 1, PROGRESS_MS) == 0)
        progress.tell(progress.context);
}

/* What the child has to say, to its end. */
static void read_answer(int from, struct store_progress progress, char text[ANSWER_BYTES])
{
    size_t length = 0;
    ssize_t got;

    while (length < ANSWER_BYTES - 1) {
        await(from, progress);
        got = read(from, text + length, ANSWER_BYTES - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
}

bool store_check(const char *folder, struct store_progress progress, struct rasad_error *error)
{
    char text[ANSWER_BYTES];
    int ends[2], status = 0;
    pid_t server = getpid(), child, ended;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rasad_fail(error, "cannot make a pipe: %s", strerror(errno));
    child = fork();
    if (child == 0)
        look(folder, server, ends[1]);
    (void)close(ends[1]);
    if (child < 0) {
        (void)close(ends[0]);
        return rasad_fail(error, "cannot make a process: %s", strerror(errno));
    }
    read_answer(ends[0], progress, text);
    (void)close(ends[0]);
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0)
        return rasad_fail(error, "cannot look at %s/data.mdb: %s", folder, strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == FINE)
        return true;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) /* for want of memory, say */
        return rasad_fail(error, "cannot look at %s/data.mdb: who does was killed", folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNSEEN)
        return rasad_fail(error, "cannot look at %s/data.mdb: %s", folder, text);
    if (WIFEXITED(status))
        return rasad_fail(error, "%s/data.mdb can't be used: %s (%s)", folder, text, WHAT_TO_DO);
    return rasad_fail(error, "%s/data.mdb is damaged: reading it crashes (%s)", folder, WHAT_TO_DO);
}
