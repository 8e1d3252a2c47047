/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool_inside.h"

/* So much is written, and synced, at once. */
#define GROUP_BYTES (256 << 10)

static size_t group_bytes(const struct spool *spool)
{
    return spool->segment_bytes < GROUP_BYTES ? (size_t)spool->segment_bytes : GROUP_BYTES;
}

size_t spool_longest(const struct spool *spool)
{
    uint64_t most = spool->max_bytes / 4;

    return most < SEGMENT_MOST_MESSAGE ? (size_t)most : SEGMENT_MOST_MESSAGE;
}

/* ---- Taking ---- */

/* Bytes that the server was given, or will be, and hasn't acknowledged; by the segment. */
static uint64_t unacked_bytes(const struct spool_stream *stream)
{
    uint64_t bytes = 0;

    for (const struct segment *s = stream->journal.first; s != NULL; s = s->next)
        bytes += s->end.next - 1 > stream->acked ? s->size : 0;
    return bytes;
}

/* Whether new messages may be bound to this server: it follows. */
static bool follows(struct spool *spool, size_t server)
{
    bool fine;

    if (server == SPOOL_NO_SERVER)
        return false;
    (void)pthread_mutex_lock(&spool->lock);
    fine = !spool->streams[server].is_forsaken &&
           unacked_bytes(&spool->streams[server]) < spool->window_bytes;
    (void)pthread_mutex_unlock(&spool->lock);
    return fine;
}

/* What was acknowledged since it was noted last is noted along with the next group. */
static void stage_ack(struct spool *spool, struct spool_stream *stream)
{
    uint64_t acked = spool_acked_of(spool, stream);

    if (acked > journal_end(&stream->journal)->acked)
        (void)journal_stage_ack(&stream->journal, acked); /* a hint, so it may be left out */
}

/* Stages one message, or what is missing before it. The inbox's numbers are the origins. */
static bool stage_one(struct spool *spool, struct journal *journal, uint64_t lost,
                      const struct message *message, uint64_t origin)
{
    uint64_t gap = journal == &spool->inbox ? origin - journal->staged_end.next : lost;

    if (gap > 0 && !journal_stage_skip(journal, origin - 1, gap))
        return false;
    return journal_stage_message(journal, origin, message->bytes, message->length);
}

/* Stages messages as far as one group goes; returns how many. */
static uint64_t stage_group(struct spool *spool, struct journal *journal,
                            const struct messages *messages, uint64_t lost)
{
    uint64_t count = 0, origin = spool->taken + lost;

    for (const struct message *m = messages->first; m != NULL; m = m->next) {
        if (count > 0 && journal->staged.length + ENTRY_HEAD_BYTES + m->length > group_bytes(spool))
            break;
        if (!stage_one(spool, journal, count == 0 ? lost : 0, m, origin + 1))
            break;
        origin++;
        count++;
    }
    return count;
}

/* What the first group of these messages takes at most. */
static size_t group_need(const struct spool *spool, const struct messages *messages)
{
    size_t first = messages->first->length + (size_t)(4 * ENTRY_HEAD_BYTES);

    if (messages->bytes < group_bytes(spool))
        return messages->bytes + first;
    return first > group_bytes(spool) ? first : group_bytes(spool);
}

/* Brings what is staged to where it is safe and visible, which takes so many more messages. */
static enum spool_result commit(struct spool *spool, struct journal *journal, uint64_t taken,
                                struct rasad_error *error)
{
    if (!journal_commit(journal, error)) {
        spool->lacks_space = errno == ENOSPC || errno == EDQUOT;
        journal_unstage(journal);
        return SPOOL_BROKEN;
    }
    (void)pthread_mutex_lock(&spool->lock);
    journal_publish(journal);
    spool->taken += taken;
    if (journal != &spool->inbox && journal_end(journal)->origin > spool->consumed)
        spool->consumed = journal_end(journal)->origin;
    (void)pthread_mutex_unlock(&spool->lock);
    return SPOOL_DONE;
}

enum spool_result spool_take(struct spool *spool, size_t server, struct messages *messages,
                             uint64_t *lost, struct rasad_error *error)
{
    bool is_direct = !spool_has_backlog(spool) && follows(spool, server);
    struct journal *journal = is_direct ? &spool->streams[server].journal : &spool->inbox;
    enum spool_result result;
    uint64_t count;

    spool_make_reserve(spool);
    spool->lacks_space = spool->folder >= 0 && !spool->has_reserve;
    if (spool->lacks_space) {
        (void)rasad_fail(error, "%s: the disk is full", spool->path);
        return SPOOL_BROKEN;
    }
    if (!spool_make_room(spool, group_need(spool, messages), spool->drop_oldest))
        return SPOOL_FULL;
    if (is_direct)
        stage_ack(spool, &spool->streams[server]);
    count = stage_group(spool, journal, messages, *lost);
    if (count == 0) {
        journal_unstage(journal);
        (void)rasad_fail_memory(error);
        return SPOOL_BROKEN;
    }
    result = commit(spool, journal, *lost + count, error);
    if (result != SPOOL_DONE)
        return result;
    *lost = 0;
    for (; count > 0; count--)
        free(messages_take(messages));
    return SPOOL_DONE;
}

/* ---- Moving ---- */

bool spool_can_move(struct spool *spool, size_t server)
{
    return spool_has_backlog(spool) && follows(spool, server);
}

/* Stages what the inbox has next, and counts what the disk has damaged of it. False, with an errno,
 * without memory, or if the disk can't be read, which may pass; what is staged by then is fine. */
static bool stage_moved(struct spool *spool, struct journal *journal, size_t most,
                        uint64_t *damaged, int *why)
{
    struct journal_reader *reader = &spool->inbox_reader;
    uint64_t last = journal_end(&spool->inbox)->next - 1;
    const char *bytes;
    struct entry entry;

    *why = ENOMEM;
    while (reader->number <= last && journal->staged.length < most) {
        uint64_t number = reader->number, lost;

        if (!journal_read(&spool->inbox, reader, &entry, &bytes)) {
            if (reader->chunk.failed) {
                *why = reader->chunk.why;
                return false;
            }
            /* Nothing is there any more, all up to the end. */
            reader->number = last + 1;
            lost = last + 1 - number;
            *damaged += lost;
            return journal_stage_skip(journal, last, lost);
        }
        lost = entry.number - number + (entry.kind == ENTRY_SKIP);
        if (lost > 0 &&
            !journal_stage_skip(journal, entry.kind == ENTRY_SKIP ? entry.number : entry.number - 1,
                                lost))
            return false;
        if (entry.kind == ENTRY_MESSAGE)
            *damaged += lost;
        if (entry.kind == ENTRY_MESSAGE &&
            !journal_stage_message(journal, entry.number, bytes, entry.length))
            return false;
    }
    return true;
}

/*
 * Commits what was moved: to the disk, also where messages are only written. Else a power cut could
 * leave it in the inbox alone, when a server has it already, and it would be given again.
 */
static enum spool_result commit_moved(struct spool *spool, struct journal *journal,
                                      struct rasad_error *error)
{
    bool is_synced = journal->place.is_synced;
    enum spool_result result;

    if (is_synced || spool->folder < 0)
        return commit(spool, journal, 0, error);
    if (fsync(journal->place.folder) != 0 || fsync(spool->folder) != 0) {
        (void)rasad_fail(error, "%s: %s", journal->place.path, strerror(errno));
        journal_unstage(journal);
        return SPOOL_BROKEN;
    }
    journal->place.is_synced = true;
    result = commit(spool, journal, 0, error);
    journal->place.is_synced = false;
    return result;
}

enum spool_result spool_move(struct spool *spool, size_t server, struct rasad_error *error)
{
    struct journal *journal = &spool->streams[server].journal;
    uint64_t damaged = 0;
    enum spool_result result;
    size_t most;
    int why;

    /* For a moment the messages are there twice, so a full spool must not stop this. */
    (void)spool_make_room(spool, 2 * group_bytes(spool), false);
    most = spool_movable(spool, group_bytes(spool));
    if (most == 0 && spool_unacked(spool, server) > 0)
        return SPOOL_FULL; /* there will be room once that is acknowledged */
    if (most == 0) {
        (void)rasad_fail(error, "%s: the disk is full", spool->path);
        return SPOOL_BROKEN;
    }
    if (spool->inbox_reader.number != spool->consumed + 1) {
        spool->inbox_reader.number = spool->consumed + 1;
        spool->inbox_reader.serial = 0; /* to be found by the number */
    }
    stage_ack(spool, &spool->streams[server]);
    if (!stage_moved(spool, journal, most, &damaged, &why) &&
        journal->staged_end.origin <= spool->consumed) {
        journal_unstage(journal);
        (void)rasad_fail(error, "%s: cannot be read: %s", spool->inbox.place.path, strerror(why));
        return SPOOL_BROKEN;
    }
    result = commit_moved(spool, journal, error);
    if (result == SPOOL_DONE && damaged > 0) {
        (void)pthread_mutex_lock(&spool->lock);
        spool_tell_damage(spool, &spool->inbox, damaged);
        (void)pthread_mutex_unlock(&spool->lock);
    }
    while (result == SPOOL_DONE && spool->inbox.first != spool->inbox.last &&
           spool_is_done(spool->inbox.first, spool->consumed))
        spool_let_go(spool, &spool->inbox);
    return result;
}

/* ---- Streams that are another's ---- */

bool spool_must_renew(struct spool *spool)
{
    bool any = false;

    (void)pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->server_count; i++)
        any = any || spool->streams[i].is_forsaken;
    (void)pthread_mutex_unlock(&spool->lock);
    return any;
}

/*
 * A new stream with what was never sent. What was sent and isn't acknowledged may have been applied
 * or not, which nobody can tell any more: it isn't sent again, and counts as dropped.
 */
static enum spool_result renew(struct spool *spool, struct spool_stream *stream,
                               struct rasad_error *error)
{
    uint64_t missing, number;
    struct journal renewed;

    (void)pthread_mutex_lock(&spool->lock);
    missing = stream->sent > stream->acked ? stream->sent - stream->acked : 0;
    number = (stream->sent > stream->acked ? stream->sent : stream->acked) + 1;
    (void)pthread_mutex_unlock(&spool->lock);
    if (!journal_renew(&stream->journal, missing, number, &renewed, error))
        return SPOOL_BROKEN;
    (void)pthread_mutex_lock(&spool->lock);
    journal_replace(&stream->journal, &renewed);
    journal_reader_free(&stream->reader);
    stream->acked = 0;
    stream->sent = 0;
    stream->damaged = 0;
    stream->is_forsaken = false;
    spool->dropped += missing;
    (void)pthread_mutex_unlock(&spool->lock);
    journal_delete_replaced(&renewed);
    log_error(spool->log,
              "the server has another stream than this spool, as if it were a copy: a "
              "new stream begins with what was never sent",
              log_text("server", stream->server), log_number("given_up", (int64_t)missing),
              log_text("agent", spool->agent));
    return SPOOL_DONE;
}

enum spool_result spool_renew(struct spool *spool, struct rasad_error *error)
{
    for (size_t i = 0; i < spool->server_count; i++) {
        bool is_forsaken;

        (void)pthread_mutex_lock(&spool->lock);
        is_forsaken = spool->streams[i].is_forsaken;
        (void)pthread_mutex_unlock(&spool->lock);
        if (is_forsaken && renew(spool, &spool->streams[i], error) != SPOOL_DONE)
            return SPOOL_BROKEN;
    }
    return SPOOL_DONE;
}
