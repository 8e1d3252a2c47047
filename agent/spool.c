/* SPDX-License-Identifier: Apache-2.0 */
#include "spool.h"

#include <inttypes.h>
#include <string.h>

#include "spool_inside.h"

/* ---- Counts ---- */

uint64_t spool_stream_unacked(const struct spool_stream *stream)
{
    return journal_end(&stream->journal)->next - 1 - stream->acked;
}

uint64_t spool_inbox_count(const struct spool *spool)
{
    uint64_t next = journal_end(&spool->inbox)->next, first = journal_first(&spool->inbox);

    if (first <= spool->consumed)
        first = spool->consumed + 1;
    return next > first ? next - first : 0;
}

bool spool_has_backlog(const struct spool *spool)
{
    return journal_end(&spool->inbox)->next - 1 > spool->consumed;
}

struct spool_counts spool_counts(struct spool *spool)
{
    struct spool_counts counts;

    (void)pthread_mutex_lock(&spool->lock);
    counts =
        (struct spool_counts){.pending = spool_inbox_count(spool),
                              .acked = spool->acked_total > 0 ? (uint64_t)spool->acked_total : 0,
                              .dropped = spool->dropped};
    if (counts.pending == 0)
        counts.pending = spool_has_backlog(spool);
    for (size_t i = 0; i < spool->server_count; i++)
        counts.pending += spool_stream_unacked(&spool->streams[i]);
    (void)pthread_mutex_unlock(&spool->lock);
    return counts;
}

uint64_t spool_taken(struct spool *spool)
{
    uint64_t taken;

    (void)pthread_mutex_lock(&spool->lock);
    taken = spool->taken;
    (void)pthread_mutex_unlock(&spool->lock);
    return taken;
}

uint64_t spool_unacked(struct spool *spool, size_t server)
{
    uint64_t count;

    (void)pthread_mutex_lock(&spool->lock);
    count = spool_stream_unacked(&spool->streams[server]);
    (void)pthread_mutex_unlock(&spool->lock);
    return count;
}

/* ---- For links ---- */

bool spool_hello(struct spool *spool, size_t server, struct spool_hello *hello)
{
    struct spool_stream *stream = &spool->streams[server];
    bool is_ready;

    (void)pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < SEGMENT_STREAM_BYTES; i++)
        (void)snprintf(hello->stream + 2 * i, 3, "%02x", stream->journal.stream[i]);
    hello->first = journal_first(&stream->journal);
    stream->hello_first = hello->first;
    hello->chain = stream->journal.first->begin.chain;
    is_ready = !stream->is_forsaken;
    (void)pthread_mutex_unlock(&spool->lock);
    return is_ready;
}

/* Whether the server's stream is ours; then the reader stands behind what it has applied. */
static bool find_place(struct spool_stream *stream, uint64_t applied, const uint32_t *chain,
                       bool *is_foreign, struct rasad_error *error)
{
    uint32_t ours;

    *is_foreign = true;
    switch (journal_seek(&stream->journal, applied + 1, &stream->reader, &ours)) {
    case JOURNAL_FOUND:
        return chain == NULL || *chain == ours ||
               rasad_fail(error, "the server has another chain at message %" PRIu64, applied);
    case JOURNAL_IN_HOLE:
        return true;
    case JOURNAL_GONE: /* if it was let go of since the hello, the next one says so */
        *is_foreign = applied + 1 < stream->hello_first;
        return rasad_fail(
            error, "the server wants message %" PRIu64 " and %" PRIu64 " is the first there is",
            applied + 1, journal_first(&stream->journal));
    case JOURNAL_FAILED:
        *is_foreign = false;
        return rasad_fail(error, "the spool can't be read: %s", strerror(stream->reader.chunk.why));
    case JOURNAL_BEYOND:
        break;
    }
    return rasad_fail(error, "the server has applied %" PRIu64 " messages of %" PRIu64, applied,
                      journal_end(&stream->journal)->next - 1);
}

/* Marks which segments the server has whole, from now on, or not any more. If it has come back
 * older, the acks of before say nothing of how far it may fall again. */
static void set_acked(struct spool *spool, struct spool_stream *stream, uint64_t acked,
                      int64_t now_ns)
{
    bool has_fallen = acked < stream->acked;

    spool->acked_total += (int64_t)(acked - stream->acked);
    stream->acks += acked > stream->acked;
    stream->acked = acked;
    for (struct segment *s = stream->journal.first; s != NULL; s = s->next) {
        if (s->end.next - 1 > acked) {
            s->acked_next = 0;
        } else if (has_fallen || s->acked_next != s->end.next) {
            s->acked_next = s->end.next;
            s->acked_ns = now_ns;
            s->acked_mark = stream->acks;
        }
    }
}

bool spool_welcome(struct spool *spool, size_t server, uint64_t applied, uint64_t committed,
                   const uint32_t *chain, int64_t now_ns, struct rasad_error *error)
{
    struct spool_stream *stream = &spool->streams[server];
    uint64_t least;
    bool is_ours, is_foreign;

    (void)pthread_mutex_lock(&spool->lock);
    is_ours = find_place(stream, applied, chain, &is_foreign, error);
    least = journal_first(&stream->journal) - 1;
    if (is_ours) {
        set_acked(spool, stream, committed > least ? committed : least, now_ns);
    } else {
        stream->is_forsaken = is_foreign;
        stream->reader.number = 0;
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return is_ours;
}

bool spool_ack(struct spool *spool, size_t server, uint64_t committed, int64_t now_ns)
{
    struct spool_stream *stream = &spool->streams[server];
    bool was_sent;

    (void)pthread_mutex_lock(&spool->lock);
    was_sent = committed < stream->reader.number;
    if (was_sent && committed > stream->acked)
        set_acked(spool, stream, committed, now_ns);
    (void)pthread_mutex_unlock(&spool->lock);
    return was_sent;
}

static bool has_more(const struct spool_stream *stream)
{
    return stream->reader.number != 0 && !stream->is_forsaken &&
           stream->reader.number < journal_end(&stream->journal)->next;
}

static void add_skip(struct text *out, uint64_t to, uint32_t chain)
{
    text_printf(out, "{\"@skip\":{\"to\":%" PRIu64 ",\"chain\":\"%08" PRIx32 "\"}}\n", to, chain);
}

void spool_tell_damage(struct spool *spool, const struct journal *journal, uint64_t count)
{
    spool->dropped += count;
    log_error(spool->log, "the spool is damaged: messages are skipped",
              log_text("folder", journal->place.path), log_number("messages", (int64_t)count));
}

/* Skips what the disk has damaged, up to this number, and tells of it once. */
static void skip_damaged(struct spool *spool, struct spool_stream *stream, uint64_t from,
                         uint64_t to, uint32_t chain, struct text *out)
{
    if (from <= stream->damaged)
        from = stream->damaged + 1;
    if (from <= to) {
        stream->damaged = to;
        spool_tell_damage(spool, &stream->journal, to - from + 1);
    }
    add_skip(out, to, chain);
}

/* Adds the next line, or two: what is missing is skipped. False without memory, or if the disk
 * can't be read, which may pass. */
static bool send_next(struct spool *spool, struct spool_stream *stream, struct text *out)
{
    const struct segment_end *end = journal_end(&stream->journal);
    uint64_t expected = stream->reader.number;
    const char *bytes;
    struct entry entry;

    if (journal_read(&stream->journal, &stream->reader, &entry, &bytes)) {
        if (entry.kind == ENTRY_SKIP)
            add_skip(out, entry.number, entry.chain);
        else if (entry.number > expected)
            skip_damaged(spool, stream, expected, entry.number - 1, entry.chain, out);
        if (entry.kind == ENTRY_MESSAGE) {
            text_add(out, bytes, entry.length);
            text_add_char(out, '\n');
        }
    } else if (!stream->reader.chunk.failed) {
        /* Nothing is there any more, all up to the end. */
        stream->reader.number = end->next;
        skip_damaged(spool, stream, expected, end->next - 1, end->chain, out);
    }
    return !stream->reader.chunk.failed && !out->failed;
}

bool spool_send(struct spool *spool, size_t server, struct text *out, size_t most,
                struct rasad_error *error)
{
    struct spool_stream *stream = &spool->streams[server];
    bool fine = true;
    int why;

    (void)pthread_mutex_lock(&spool->lock);
    while (fine && out->length < most && has_more(stream)) {
        fine = send_next(spool, stream, out);
        if (stream->reader.number - 1 > stream->sent)
            stream->sent = stream->reader.number - 1;
    }
    why = stream->reader.chunk.why;
    (void)pthread_mutex_unlock(&spool->lock);
    if (out->failed)
        return rasad_fail_memory(error);
    /* What is in front of the place that can't be read goes first. */
    return fine || out->length > 0 ||
           rasad_fail(error, "the spool can't be read: %s", strerror(why));
}

void spool_hang_up(struct spool *spool, size_t server)
{
    (void)pthread_mutex_lock(&spool->lock);
    spool->streams[server].reader.number = 0;
    (void)pthread_mutex_unlock(&spool->lock);
}
