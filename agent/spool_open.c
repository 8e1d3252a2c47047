/* SPDX-License-Identifier: Apache-2.0 */
#include "spool.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/scoped.h"
#include "spool_inside.h"

#define RESERVE_BYTES (1 << 20)
#define MOST_SEGMENT_BYTES (UINT64_C(64) << 20)
#define MOST_WINDOW_BYTES (UINT64_C(16) << 20)
#define INBOX_SUFFIX ".inbox"
#define STREAM_INFIX ".to."

/* ---- Folders ---- */

#define LABEL_LENGTH 96

/* A name as part of a file's name: what people recognise of it, and what tells it from others. */
static void make_label(const char *name, char label[LABEL_LENGTH])
{
    size_t length = strlen(name), shown = length < 64 ? length : 64;

    for (size_t i = 0; i < shown; i++) {
        char c = name[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        label[i] = is_plain || c == '-' || (c == '.' && i > 0) ? c : '_';
    }
    (void)snprintf(label + shown, LABEL_LENGTH - shown, "-%08" PRIx32, crc32c(0, name, length));
}

/* Makes one folder, if it isn't there. If it is to be synced, its name is on the disk; but where
 * the folder above can't be opened, that is left to whoever made it. */
static bool make_folder(const char *path, mode_t mode, bool is_synced, struct rasad_error *error)
{
    SCOPED(text_free) struct text above = {0};
    SCOPED(close_at) int fd = -1;

    if (mkdir(path, mode) != 0 && errno != EEXIST && errno != EISDIR)
        return rasad_fail(error, "%s: cannot make the folder: %s", path, strerror(errno));
    if (!is_synced)
        return true;
    text_printf(&above, "%s/..", path);
    fd = open(text_end(&above), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        (void)fsync(fd);
    return true;
}

/* Makes the folder and those above it. */
static bool make_folders(const char *path, bool is_synced, struct rasad_error *error)
{
    SCOPED(free_at) char *partial = strdup(path);

    if (partial == NULL)
        return rasad_fail_memory(error);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (access(partial, F_OK) != 0 && !make_folder(partial, 0755, is_synced, error))
            return false;
        *slash = '/';
    }
    return make_folder(partial, 0700, is_synced, error);
}

static bool open_folder(struct spool *spool, const char *path, struct rasad_error *error)
{
    spool->path = strdup(path);
    if (spool->path == NULL)
        return rasad_fail_memory(error);
    if (!make_folders(path, spool->sync == SPOOL_SYNC_DISK, error))
        return false;
    spool->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return spool->folder >= 0 ||
           rasad_fail(error, "%s: cannot open the folder: %s", path, strerror(errno));
}

/* One agent a folder: two would give the same numbers to different messages. */
static bool lock_folder(struct spool *spool, struct rasad_error *error)
{
    char owner[32] = "";
    ssize_t length;

    spool->lock_fd = openat(spool->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (spool->lock_fd < 0)
        return rasad_fail(error, "%s/lock: %s", spool->path, strerror(errno));
    if (flock(spool->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return rasad_fail(error, "%s/lock: %s", spool->path, strerror(errno));
        length = pread(spool->lock_fd, owner, sizeof owner - 1, 0);
        owner[length > 0 ? strcspn(owner, "\n") : 0] = '\0';
        return rasad_fail(error,
                          "%s: another agent has this spool%s%s (give each agent a spool of its "
                          "own: spool = \"FOLDER\" in its conf, or a name of its own: -n NAME)",
                          spool->path, owner[0] != '\0' ? ", process " : "", owner);
    }
    length = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (ftruncate(spool->lock_fd, 0) != 0 ||
        pwrite(spool->lock_fd, owner, (size_t)length, 0) != length)
        return true; /* it is for people only */
    return true;
}

void spool_make_reserve(struct spool *spool)
{
    uint64_t size = spool->segment_bytes < RESERVE_BYTES ? spool->segment_bytes : RESERVE_BYTES;
    int fd, why;

    if (spool->folder < 0 || spool->has_reserve)
        return;
    fd = openat(spool->folder, "reserve", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    why = fd >= 0 ? posix_fallocate(fd, 0, (off_t)size) : errno;
    close_at(&fd);
    /* Where a file system can't reserve space, there is none to wait for. */
    spool->has_reserve = why != ENOSPC && why != EDQUOT;
    if (!spool->has_reserve)
        (void)unlinkat(spool->folder, "reserve", 0);
}

/* ---- Journals ---- */

/* Opens the journal in this folder of the spool, or begins it. */
static bool open_journal(struct spool *spool, const char *name, const char *agent,
                         const char *server, struct journal *journal, struct rasad_error *error)
{
    struct journal_place place = {.folder = -1,
                                  .agent = agent,
                                  .server = server,
                                  .is_synced = spool->sync == SPOOL_SYNC_DISK,
                                  .segment_bytes = spool->segment_bytes,
                                  .log = spool->log};

    if (asprintf(&place.path, "%s/%s", spool->path != NULL ? spool->path : "memory", name) < 0)
        return rasad_fail_memory(error);
    if (spool->folder >= 0) {
        if (mkdirat(spool->folder, name, 0700) == 0 || errno == EEXIST)
            place.folder = openat(spool->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (place.folder < 0 || (place.is_synced && fsync(spool->folder) != 0)) {
            (void)rasad_fail(error, "%s: %s", place.path, strerror(errno));
            close_at(&place.folder);
            free(place.path);
            return false;
        }
    }
    return journal_open(journal, &place, error);
}

/* Marks the segments that are noted to be acknowledged. The file's time is as near as can be to
 * when that was; a wrong clock makes the trailing window shorter or longer, and nothing else. */
static void mark_acked(struct spool_stream *stream)
{
    int64_t now_ns = clock_steady_ns(), wall_ns = clock_wall_ns();

    for (struct segment *s = stream->journal.first; s != NULL; s = s->next) {
        int64_t age_ns = s->changed_ns != 0 ? wall_ns - s->changed_ns : 0;

        if (s->end.next - 1 > stream->acked)
            continue;
        s->acked_next = s->end.next;
        s->acked_ns = now_ns - (age_ns > 0 ? age_ns : 0);
    }
}

/* One more stream; its acknowledged messages are those that were noted. */
static bool add_stream(struct spool *spool, const char *server, bool is_orphan,
                       struct rasad_error *error)
{
    char agent[LABEL_LENGTH], peer[LABEL_LENGTH];
    char name[2 * LABEL_LENGTH + sizeof STREAM_INFIX];
    struct spool_stream *stream, *grown;

    grown = reallocarray(spool->streams, spool->stream_count + 1, sizeof *grown);
    if (grown == NULL)
        return rasad_fail_memory(error);
    spool->streams = grown;
    stream = &grown[spool->stream_count++];
    *stream = (struct spool_stream){
        .is_orphan = is_orphan, .journal = {.place = {.folder = -1}}, .server = strdup(server)};
    if (stream->server == NULL)
        return rasad_fail_memory(error);
    make_label(spool->agent, agent);
    make_label(server, peer);
    (void)snprintf(name, sizeof name, "%s" STREAM_INFIX "%s", agent, peer);
    if (!open_journal(spool, name, spool->agent, stream->server, &stream->journal, error))
        return false;
    stream->acked = journal_end(&stream->journal)->acked;
    if (stream->acked < journal_first(&stream->journal) - 1)
        stream->acked = journal_first(&stream->journal) - 1;
    stream->sent = journal_end(&stream->journal)->next - 1;
    mark_acked(stream);
    return true;
}

static bool has_stream(const struct spool *spool, const char *server)
{
    for (size_t i = 0; i < spool->stream_count; i++) {
        if (strcmp(spool->streams[i].server, server) == 0)
            return true;
    }
    return false;
}

/* Whether a journal's folder could have this name. */
static bool is_journal_name(const char *name)
{
    size_t length = strlen(name), suffix = strlen(INBOX_SUFFIX);

    return strstr(name, STREAM_INFIX) != NULL ||
           (length > suffix && strcmp(name + length - suffix, INBOX_SUFFIX) == 0);
}

/* Reads on in a folder; `*file` is NULL at its end. */
static bool read_folder(DIR *folder, const struct dirent **file, struct rasad_error *error)
{
    errno = 0;
    *file = readdir(folder);
    return *file != NULL || errno == 0 || rasad_fail(error, "%s", strerror(errno));
}

/* Finds the names in the first good file, if there is one. */
static bool peek_in(DIR *folder, char agent[SEGMENT_AGENT_LENGTH],
                    char server[SEGMENT_SERVER_LENGTH], bool *found, struct rasad_error *error)
{
    const struct dirent *file;
    uint64_t generation, first;
    enum segment_verdict verdict;

    while (read_folder(folder, &file, error)) {
        if (file == NULL)
            return true;
        if (!segment_parse_name(file->d_name, &generation, &first))
            continue;
        verdict = segment_peek(dirfd(folder), file->d_name, agent, server, error);
        *found = verdict == SEGMENT_GOOD;
        if (verdict != SEGMENT_DAMAGED)
            return *found;
    }
    return false;
}

/* The same in this folder of the spool. A journal that can't be looked at may be one that counts:
 * without it messages would be given to a second server. So that is an error. */
static bool peek(const struct spool *spool, const char *name, char agent[SEGMENT_AGENT_LENGTH],
                 char server[SEGMENT_SERVER_LENGTH], bool *found, struct rasad_error *error)
{
    int fd = openat(spool->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    bool fine;

    *found = false;
    if (folder == NULL) {
        fine = fd < 0 && (errno == ENOTDIR || errno == ELOOP || errno == ENOENT);
        if (!fine)
            (void)rasad_fail(error, "%s/%s: %s", spool->path, name, strerror(errno));
        close_at(&fd);
        return fine;
    }
    fine = peek_in(folder, agent, server, found, error) ||
           rasad_fail_at(error, "%s/%s", spool->path, name);
    (void)closedir(folder);
    return fine;
}

/* Calls `visit` for each journal's folder, until it returns false. */
static bool each_journal(struct spool *spool,
                         bool (*visit)(struct spool *spool, const char *agent, const char *server,
                                       struct rasad_error *error),
                         struct rasad_error *error)
{
    char agent[SEGMENT_AGENT_LENGTH], server[SEGMENT_SERVER_LENGTH];
    int fd =
        spool->folder < 0 ? -1 : openat(spool->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *file;
    bool fine, found;

    if (folder == NULL) {
        close_at(&fd);
        return spool->folder < 0 || rasad_fail(error, "%s: %s", spool->path, strerror(errno));
    }
    for (;;) {
        fine = read_folder(folder, &file, error) || rasad_fail_at(error, "%s", spool->path);
        if (!fine || file == NULL)
            break;
        if (!is_journal_name(file->d_name))
            continue;
        fine = peek(spool, file->d_name, agent, server, &found, error) &&
               (!found || visit(spool, agent, server, error));
        if (!fine)
            break;
    }
    (void)closedir(folder);
    return fine;
}

static bool add_orphan(struct spool *spool, const char *agent, const char *server,
                       struct rasad_error *error)
{
    if (strcmp(agent, spool->agent) != 0 || server[0] == '\0' || has_stream(spool, server))
        return true;
    return add_stream(spool, server, true, error);
}

bool spool_open_agent(struct spool *spool, const char *const *servers, size_t count,
                      struct rasad_error *error)
{
    char label[LABEL_LENGTH], name[LABEL_LENGTH + sizeof INBOX_SUFFIX];

    make_label(spool->agent, label);
    (void)snprintf(name, sizeof name, "%s" INBOX_SUFFIX, label);
    if (!open_journal(spool, name, spool->agent, "", &spool->inbox, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!add_stream(spool, servers[i], false, error))
            return false;
    }
    spool->server_count = count;
    if (!each_journal(spool, add_orphan, error))
        return false;
    for (size_t i = 0; i < spool->stream_count; i++) {
        uint64_t origin = journal_end(&spool->streams[i].journal)->origin;

        spool->consumed = origin > spool->consumed ? origin : spool->consumed;
    }
    spool->taken = journal_end(&spool->inbox)->next - 1;
    spool->taken = spool->consumed > spool->taken ? spool->consumed : spool->taken;
    spool->inbox_reader.number = spool->consumed + 1;
    return true;
}

/* What lies there for servers that this agent doesn't know any more is only told. */
static void tell_orphans(const struct spool *spool)
{
    for (size_t i = spool->server_count; i < spool->stream_count; i++) {
        const struct spool_stream *stream = &spool->streams[i];

        if (spool_stream_unacked(stream) > 0)
            log_warning(spool->log,
                        "the spool keeps messages for a server that isn't in the conf any more",
                        log_text("server", stream->server),
                        log_number("messages", (int64_t)spool_stream_unacked(stream)),
                        log_text("folder", stream->journal.place.path));
    }
}

/* What another name has left in this folder is only told as well: it isn't ours to send. */
static bool tell_other(struct spool *spool, const char *agent, const char *server,
                       struct rasad_error *error)
{
    struct spool other = *spool;
    uint64_t count = 0;
    bool fine;

    if (strcmp(agent, spool->agent) == 0 || server[0] != '\0')
        return true;
    other.agent = (char *)agent;
    other.inbox = (struct journal){.place = {.folder = -1}};
    other.inbox_reader = (struct journal_reader){0};
    other.streams = NULL;
    other.stream_count = 0;
    other.consumed = 0;
    fine = spool_open_agent(&other, NULL, 0, error);
    count = fine ? spool_inbox_count(&other) : 0;
    for (size_t i = 0; i < other.stream_count; i++) {
        count += fine ? spool_stream_unacked(&other.streams[i]) : 0;
        journal_close(&other.streams[i].journal);
        free(other.streams[i].server);
    }
    free(other.streams);
    journal_close(&other.inbox);
    if (count > 0)
        log_warning(spool->log, "the spool keeps messages of another name",
                    log_text("agent", agent), log_number("messages", (int64_t)count),
                    log_text("folder", spool->path));
    return fine;
}

/* ---- Opening and closing ---- */

static void free_spool(struct spool *spool)
{
    if (spool == NULL)
        return;
    for (size_t i = 0; i < spool->stream_count; i++) {
        journal_reader_free(&spool->streams[i].reader);
        journal_close(&spool->streams[i].journal);
        free(spool->streams[i].server);
    }
    free(spool->streams);
    journal_reader_free(&spool->inbox_reader);
    journal_close(&spool->inbox);
    close_at(&spool->folder);
    close_at(&spool->lock_fd);
    (void)pthread_mutex_destroy(&spool->lock);
    free(spool->agent);
    free(spool->path);
    free(spool);
}

static void free_spool_at(struct spool **spool)
{
    free_spool(*spool);
}

/* The windows of all servers together fill half of the spool at most: if all are given something
 * and then stay away, the next one must still be able to work. */
static void set_sizes(struct spool *spool, uint64_t max_bytes, size_t server_count)
{
    assert(max_bytes >= SPOOL_LEAST_BYTES && max_bytes <= SPOOL_MOST_BYTES);
    spool->max_bytes = max_bytes;
    spool->segment_bytes = max_bytes / 16;
    if (spool->segment_bytes > MOST_SEGMENT_BYTES)
        spool->segment_bytes = MOST_SEGMENT_BYTES;
    spool->window_bytes = max_bytes / (server_count < 2 ? 4 : 2 * server_count);
    if (spool->window_bytes > MOST_WINDOW_BYTES)
        spool->window_bytes = MOST_WINDOW_BYTES;
}

bool spool_open(const struct spool_options *options, struct spool **out, struct rasad_error *error)
{
    SCOPED(free_spool_at) struct spool *spool = calloc(1, sizeof *spool);

    if (spool == NULL)
        return rasad_fail_memory(error);
    (void)pthread_mutex_init(&spool->lock, NULL);
    spool->folder = -1;
    spool->lock_fd = -1;
    spool->inbox.place.folder = -1;
    spool->log = options->log;
    spool->drop_oldest = options->drop_oldest;
    spool->sync = options->sync;
    spool->drop_gate = gate_make(1, 1);
    spool->drop_gate.interval_ns = 10 * NS_PER_S;
    set_sizes(spool, options->max_bytes, options->server_count);
    spool->agent = strdup(options->agent);
    if (spool->agent == NULL)
        return rasad_fail_memory(error);
    if (spool->sync != SPOOL_SYNC_MEMORY &&
        (!open_folder(spool, options->folder, error) || !lock_folder(spool, error)))
        return false;
    if (!spool_open_agent(spool, options->servers, options->server_count, error) ||
        !each_journal(spool, tell_other, error))
        return false;
    tell_orphans(spool);
    spool_make_reserve(spool);
    (void)spool_trim(spool, clock_steady_ns()); /* before a server may be told of what is too old */
    *out = TAKE(spool);
    return true;
}

/* So that the next start knows what is still wanted; without it, it asks the servers. */
static void note_acks(struct spool *spool)
{
    for (size_t i = 0; i < spool->stream_count; i++) {
        struct spool_stream *stream = &spool->streams[i];
        struct rasad_error error;

        if (spool->folder >= 0 && stream->acked > journal_end(&stream->journal)->acked &&
            journal_stage_ack(&stream->journal, stream->acked) &&
            journal_commit(&stream->journal, &error))
            journal_publish(&stream->journal);
    }
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    note_acks(spool);
    free_spool(spool);
}
