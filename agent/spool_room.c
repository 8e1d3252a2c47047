/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/planted.h"
#include "spool_inside.h"

/* The trailing window of what is acknowledged: so many later acks, and so long or so much. */
#define WINDOW_ACKS 2
#define WINDOW_NS (60 * NS_PER_S)
#define WINDOW_BYTES (UINT64_C(64) << 20)

/* It is never longer than that: a server forgets a stream that was silent for 30 days (agent_ttl),
 * and would take what is acknowledged for new. */
#define WINDOW_MOST_NS (7 * 24 * 3600 * NS_PER_S)

/* How often to try to have a reserve again. */
#define RESERVE_NS (60 * NS_PER_S)

/* A last segment smaller than this part of a full one isn't worth a new file to be rid of it; on a
 * full disk, one smaller than that. */
#define WORTH_ROLLING 4
#define WORTH_ROLLING_BYTES (16 << 10)

/* On a full disk so much is left for making segments and deleting others. */
#define MARGIN_BYTES (64 << 10)

static void publish(struct spool *spool, struct journal *journal)
{
    (void)pthread_mutex_lock(&spool->lock);
    journal_publish(journal);
    (void)pthread_mutex_unlock(&spool->lock);
}

/* ---- Making room ---- */

void spool_let_go(struct spool *spool, struct journal *journal)
{
    struct segment *segment;

    (void)pthread_mutex_lock(&spool->lock);
    segment = journal_take_first(journal);
    (void)pthread_mutex_unlock(&spool->lock);
    journal_delete(journal, segment);
}

/* Whether the last segment is worth to be replaced by an empty one, to be rid of it. */
static bool is_worth_rolling(const struct spool *spool, const struct segment *segment)
{
    uint64_t bytes = segment->size - segment->start;
    uint64_t least = spool->segment_bytes / WORTH_ROLLING;

    if (segment->begin.next == segment->end.next)
        return false; /* notes only, and the empty one would have its name */
    if (spool->server_count > 4 && least > spool->max_bytes / (16 * spool->server_count))
        least = spool->max_bytes / (16 * spool->server_count); /* many such last ones are much */
    return bytes >= least ||
           (spool->folder >= 0 && !spool->has_reserve && bytes >= WORTH_ROLLING_BYTES);
}

/* Whether all of a segment may go: up to number `done` nobody needs anything. */
bool spool_is_done(const struct segment *segment, uint64_t done)
{
    return segment->end.next - 1 <= done;
}

/* Lets go of the oldest segment that is done with. The last one must be replaced for that by an
 * empty one, which has the numbers. */
static bool free_done(struct spool *spool, struct journal *journal, uint64_t done)
{
    struct rasad_error error;

    if (!spool_is_done(journal->first, done))
        return false;
    if (journal->first == journal->last) {
        if (!is_worth_rolling(spool, journal->last) || !journal_roll(journal, &error))
            return false;
        publish(spool, journal);
    }
    spool_let_go(spool, journal);
    return true;
}

uint64_t spool_acked_of(struct spool *spool, const struct spool_stream *stream)
{
    uint64_t acked;

    (void)pthread_mutex_lock(&spool->lock);
    acked = stream->acked;
    (void)pthread_mutex_unlock(&spool->lock);
    return acked;
}

/* Lets go of a segment that only the trailing window kept. */
bool spool_free_one(struct spool *spool)
{
    if (free_done(spool, &spool->inbox, spool->consumed))
        return true;
    for (size_t i = 0; i < spool->stream_count; i++) {
        struct spool_stream *stream = &spool->streams[i];

        if (!stream->is_forsaken &&
            free_done(spool, &stream->journal, spool_acked_of(spool, stream)))
            return true;
    }
    return false;
}

/* How many messages of the segment no stream has; if it can't be read, so many at most. */
static uint64_t count_waiting(const struct spool *spool, const struct segment *segment)
{
    struct segment_chunk chunk = {0};
    uint64_t at = segment->start, count = 0, first = segment->begin.next;
    const char *bytes;
    struct entry entry;

    while (segment_next(segment, &at, spool->consumed + 1, &chunk, &entry, &bytes))
        count += entry.kind == ENTRY_MESSAGE;
    if (chunk.failed) {
        if (first <= spool->consumed)
            first = spool->consumed + 1;
        count = segment->end.next > first ? segment->end.next - first : 0;
    }
    segment_chunk_free(&chunk);
    return count;
}

/* Drops the oldest segment of what no server was given. Its numbers become a hole. */
static bool drop_one(struct spool *spool)
{
    struct journal *inbox = &spool->inbox;
    struct rasad_error error;
    uint64_t count, ignored;

    if (inbox->first == inbox->last) {
        if (!is_worth_rolling(spool, inbox->last) || !journal_roll(inbox, &error))
            return false;
        publish(spool, inbox);
    }
    count = count_waiting(spool, inbox->first);
    spool_let_go(spool, inbox);
    (void)pthread_mutex_lock(&spool->lock);
    spool->dropped += count;
    (void)pthread_mutex_unlock(&spool->lock);
    if (gate_pass(&spool->drop_gate, clock_steady_ns(), &ignored))
        log_warning(spool->log, "the spool is full: the oldest messages are dropped",
                    log_number("dropped", (int64_t)spool->dropped));
    return true;
}

static uint64_t bytes_of(const struct spool *spool)
{
    uint64_t bytes = spool->inbox.bytes;

    for (size_t i = 0; i < spool->server_count; i++)
        bytes += spool->streams[i].journal.bytes;
    return bytes;
}

/* Makes room for so many bytes more; `may_drop` says whether messages may be lost for it. */
bool spool_make_room(struct spool *spool, size_t bytes, bool may_drop)
{
    while (bytes_of(spool) + bytes > spool->max_bytes) {
        if (!spool_free_one(spool) && !(may_drop && drop_one(spool)))
            return false;
    }
    return true;
}

void spool_relieve(struct spool *spool, bool is_for_new)
{
    bool has_freed = false, lacks_space;

    if (spool->folder >= 0 && spool->has_reserve)
        (void)unlinkat(spool->folder, "reserve", 0);
    spool->has_reserve = false;
    spool->reserve_ns = 0;
    while (spool_free_one(spool))
        has_freed = true;
    if (!is_for_new)
        return; /* what is to be moved must not be dropped for that */
    if (!spool->lacks_space || has_freed)
        spool_make_reserve(spool);
    /* Without a reserve the space isn't enough yet; where the disk fails otherwise, dropping what
     * is safe wouldn't help. The dropping itself may take the reserve's space. */
    lacks_space = spool->lacks_space && !has_freed;
    if (spool->drop_oldest && (lacks_space || (spool->folder >= 0 && !spool->has_reserve)))
        (void)drop_one(spool);
    spool_make_reserve(spool);
}

size_t spool_movable(struct spool *spool, size_t group)
{
    struct statvfs disk;
    uint64_t left;

    if (spool->folder < 0 || spool->has_reserve)
        return group;
    while (spool_free_one(spool))
        continue;
    if (fstatvfs(spool->folder, &disk) != 0)
        return group;
    left = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (left <= MARGIN_BYTES)
        return 0;
    return left - MARGIN_BYTES < group ? (size_t)(left - MARGIN_BYTES) : group;
}

/* ---- Trimming ---- */

/* Whether the segment is acknowledged whole, with what was added since the last ack. */
static bool is_acked(const struct segment *segment)
{
    return segment->acked_next == segment->end.next;
}

/* Whether the trailing window of acknowledged messages is past this segment; if not, when to look
 * again. */
static bool is_past(const struct spool_stream *stream, uint64_t acked_bytes, int64_t now_ns,
                    int64_t *due_ns)
{
    const struct segment *first = stream->journal.first;
    bool has_acks = stream->acks >= first->acked_mark + WINDOW_ACKS;
    int64_t past_ns = first->acked_ns + (has_acks ? WINDOW_NS : WINDOW_MOST_NS);

    if (first == stream->journal.last || !is_acked(first))
        return false;
    if (now_ns >= past_ns || (has_acks && acked_bytes > WINDOW_BYTES))
        return true;
    if (past_ns < *due_ns)
        *due_ns = past_ns;
    return false;
}

static uint64_t acked_bytes(const struct spool_stream *stream)
{
    uint64_t bytes = 0;

    for (const struct segment *s = stream->journal.first; s != NULL; s = s->next)
        bytes += is_acked(s) ? s->size : 0;
    return bytes;
}

/* Replaces the last segment by an empty one when all in it is too old to be given again. */
static void roll_old(struct spool *spool, struct spool_stream *stream, int64_t now_ns,
                     int64_t *due_ns)
{
    const struct segment *last = stream->journal.last;
    struct rasad_error error;
    int64_t past_ns;
    bool may_go;

    (void)pthread_mutex_lock(&spool->lock);
    may_go = !stream->is_forsaken && is_acked(last) && last->begin.next < last->end.next;
    past_ns = last->acked_ns + WINDOW_MOST_NS;
    (void)pthread_mutex_unlock(&spool->lock);
    if (!may_go)
        return;
    if (now_ns >= past_ns) {
        if (journal_roll(&stream->journal, &error)) {
            publish(spool, &stream->journal);
            return;
        }
        past_ns = now_ns + RESERVE_NS; /* the disk fails */
    }
    if (past_ns < *due_ns)
        *due_ns = past_ns;
}

static void trim_stream(struct spool *spool, struct spool_stream *stream, int64_t now_ns,
                        int64_t *due_ns)
{
    bool past;

    roll_old(spool, stream, now_ns, due_ns);
    do {
        struct segment *segment = NULL;

        (void)pthread_mutex_lock(&spool->lock);
        past = !stream->is_forsaken && is_past(stream, acked_bytes(stream), now_ns, due_ns);
        if (past)
            segment = journal_take_first(&stream->journal);
        (void)pthread_mutex_unlock(&spool->lock);
        if (past)
            journal_delete(&stream->journal, segment);
    } while (past);
}

/* The planted bug "spool-freed-when-sent". */
static void free_sent(struct spool *spool)
{
    struct rasad_error error;

    for (size_t i = 0; i < spool->server_count; i++) {
        struct journal *journal = &spool->streams[i].journal;
        uint64_t sent;

        (void)pthread_mutex_lock(&spool->lock);
        sent = spool->streams[i].sent;
        (void)pthread_mutex_unlock(&spool->lock);
        if (spool_is_done(journal->last, sent) &&
            journal->last->end.next > journal->last->begin.next && journal_roll(journal, &error))
            publish(spool, journal);
        while (journal->first != journal->last && spool_is_done(journal->first, sent))
            spool_let_go(spool, journal);
    }
}

int64_t spool_trim(struct spool *spool, int64_t now_ns)
{
    int64_t due_ns = INT64_MAX;

    if (planted_bug("spool-freed-when-sent"))
        free_sent(spool);
    while (spool->inbox.first != spool->inbox.last &&
           spool_is_done(spool->inbox.first, spool->consumed))
        spool_let_go(spool, &spool->inbox);
    for (size_t i = 0; i < spool->server_count; i++)
        trim_stream(spool, &spool->streams[i], now_ns, &due_ns);
    if (spool->folder >= 0 && !spool->has_reserve) {
        if (spool->reserve_ns == 0)
            spool->reserve_ns = now_ns + RESERVE_NS;
        if (now_ns >= spool->reserve_ns) {
            spool_make_reserve(spool);
            spool->reserve_ns = now_ns + RESERVE_NS;
        }
        due_ns = spool->reserve_ns < due_ns ? spool->reserve_ns : due_ns;
    }
    return due_ns;
}
