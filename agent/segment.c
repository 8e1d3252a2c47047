/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory_file.h"
#include "base/planted.h"
#include "base/scoped.h"
#include "segment_inside.h"

#define CHUNK_BYTES (64 << 10)
#define TEMPORARY "new.tmp"

/* ---- Reading ---- */

static bool chunk_is_of(const struct segment_chunk *chunk, const struct segment *segment)
{
    return chunk->serial == segment->serial && chunk->bytes.length > 0;
}

void segment_chunk_free(struct segment_chunk *chunk)
{
    text_free(&chunk->bytes);
    *chunk = (struct segment_chunk){0};
}

/* Reads on at `at`, at least so many bytes. That it can't be read now doesn't mean that nothing is
 * there, so an error is not the end of the file. */
static bool chunk_load(const struct segment *segment, struct segment_chunk *chunk, uint64_t at,
                       size_t length)
{
    size_t wanted = length > CHUNK_BYTES ? length : CHUNK_BYTES;

    if (wanted > segment->size - at)
        wanted = (size_t)(segment->size - at);
    text_clear(&chunk->bytes);
    chunk->at = at;
    chunk->serial = segment->serial;
    chunk->failed = !text_reserve(&chunk->bytes, wanted);
    chunk->why = ENOMEM;
    if (chunk->failed)
        return false;
    while (chunk->bytes.length < wanted) {
        ssize_t got = pread(segment->fd, chunk->bytes.at + chunk->bytes.length,
                            wanted - chunk->bytes.length, (off_t)(at + chunk->bytes.length));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && chunk->bytes.length < length) {
            chunk->failed = true;
            chunk->why = errno;
        }
        if (got <= 0)
            break;
        chunk->bytes.length += (size_t)got;
    }
    return chunk->bytes.length >= length;
}

/* The bytes [at, at + length) of the segment; NULL if there are not so many. */
static const char *chunk_reach(const struct segment *segment, struct segment_chunk *chunk,
                               uint64_t at, size_t length)
{
    bool is_there;

    if (at > segment->size || length > segment->size - at)
        return NULL;
    is_there = chunk_is_of(chunk, segment) && at >= chunk->at &&
               at - chunk->at + length <= chunk->bytes.length;
    if (!is_there && !chunk_load(segment, chunk, at, length))
        return NULL;
    return chunk->bytes.at + (at - chunk->at);
}

/* The entry at this very place, if it is a good one. */
static bool read_entry(const struct segment *segment, struct segment_chunk *chunk, uint64_t at,
                       struct entry *entry, const char **bytes)
{
    const char *head = chunk_reach(segment, chunk, at, ENTRY_HEAD_BYTES);

    if (!entry_read(head, segment->size - at - ENTRY_HEAD_BYTES, entry))
        return false;
    head = chunk_reach(segment, chunk, at, ENTRY_HEAD_BYTES + (size_t)entry->length);
    if (head == NULL || !entry_is_good(head, entry, segment->stream))
        return false;
    *bytes = head + ENTRY_HEAD_BYTES;
    return true;
}

bool segment_next(const struct segment *segment, uint64_t *at, uint64_t least,
                  struct segment_chunk *chunk, struct entry *entry, const char **bytes)
{
    uint64_t here = *at;

    chunk->failed = false;
    while (chunk_reach(segment, chunk, here, ENTRY_HEAD_BYTES) != NULL) {
        if (!read_entry(segment, chunk, here, entry, bytes)) {
            if (chunk->failed)
                return false;
            here++;
            continue;
        }
        here += ENTRY_HEAD_BYTES + entry->length;
        if (entry->kind == ENTRY_ACK || entry->number >= least) {
            *at = here;
            return true;
        }
    }
    return false;
}

/* How far a scan has come. */
struct scan {
    struct segment_end end;
    uint64_t good; /* behind the last good entry */
    uint64_t missing;
    uint32_t group; /* of that entry */
};

/* Passes an entry that ends at `at`. */
static void scan_pass(struct scan *scan, const struct entry *entry, const char *bytes, uint64_t at)
{
    if (entry->kind == ENTRY_MESSAGE)
        scan->missing += entry->number - scan->end.next;
    segment_end_pass(&scan->end, entry, bytes);
    scan->good = at;
    scan->group = entry->group;
}

bool segment_scan(struct segment *segment, uint64_t limit, uint64_t *missing,
                  struct rasad_error *error)
{
    struct segment_chunk chunk = {0};
    struct scan scan = {.end = segment->begin, .good = segment->start}, torn = {0};
    uint64_t at = segment->start;
    bool may_be_torn = false; /* at `torn`, unless another group comes */
    const char *bytes;
    struct entry entry;
    bool failed;

    while (segment_next(segment, &at, scan.end.next, &chunk, &entry, &bytes)) {
        bool is_behind_bad = at - entry.length - ENTRY_HEAD_BYTES != scan.good;

        if (entry.kind != ENTRY_ACK && entry.number >= limit)
            break;
        if (may_be_torn && entry.group > scan.group)
            may_be_torn = false;
        if (is_behind_bad && !entry.is_first && !may_be_torn && limit == UINT64_MAX) {
            may_be_torn = true;
            torn = scan;
        }
        scan_pass(&scan, &entry, bytes, at);
    }
    if (chunk.failed)
        (void)rasad_fail(error, "cannot be read: %s", strerror(chunk.why));
    failed = chunk.failed;
    segment_chunk_free(&chunk);
    if (failed)
        return false;
    if (may_be_torn && !planted_bug("torn-tail-kept"))
        scan = torn;
    if (scan.end.acked >= scan.end.next)
        scan.end.acked = scan.end.next - 1;
    segment->size = scan.good;
    segment->end = scan.end;
    segment->group = scan.group;
    *missing = scan.missing;
    return true;
}

/* ---- Writing ---- */

/* Says why in words, and leaves it in errno. */
static bool fail_errno(struct rasad_error *error)
{
    int why = errno;

    (void)rasad_fail(error, "%s", strerror(why));
    errno = why;
    return false;
}

static bool write_all(int fd, const char *bytes, size_t length, uint64_t at,
                      struct rasad_error *error)
{
    while (length > 0) {
        ssize_t put = pwrite(fd, bytes, length, (off_t)at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put == 0)
            errno = ENOSPC;
        if (put <= 0)
            return fail_errno(error);
        bytes += put;
        length -= (size_t)put;
        at += (uint64_t)put;
    }
    return true;
}

/* Data and size are enough: nobody reads a segment's times. */
static bool sync_file(int fd, struct rasad_error *error)
{
    return fdatasync(fd) == 0 || fail_errno(error);
}

/* Fills a new file, which gets its name once it is whole. */
static bool fill_file(int folder, int fd, const char *name, const struct text *bytes,
                      bool is_synced, struct rasad_error *error)
{
    if (!write_all(fd, bytes->at, bytes->length, 0, error) || (is_synced && !sync_file(fd, error)))
        return false;
    return renameat(folder, TEMPORARY, folder, name) == 0 || fail_errno(error);
}

static bool create_file(int folder, const char *name, const struct text *bytes, bool is_synced,
                        int *out, struct rasad_error *error)
{
    bool replaces = faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    SCOPED(close_at)
    int fd = openat(folder, TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail_errno(error);
    if (!fill_file(folder, fd, name, bytes, is_synced, error)) {
        int why = errno;

        (void)unlinkat(folder, TEMPORARY, 0); /* on a full disk it takes what others need */
        errno = why;
        return false;
    }
    if (is_synced && fsync(folder) != 0) {
        int why = errno;

        (void)fail_errno(error);
        if (!replaces) /* a journal must not be left without its only file */
            (void)unlinkat(folder, name, 0);
        errno = why;
        return false;
    }
    *out = take_fd(&fd);
    return true;
}

static bool create_in_memory(const struct text *bytes, int *out, struct rasad_error *error)
{
    SCOPED(close_at) int fd = memory_file("rasad-spool");

    if (fd < 0)
        return rasad_fail(error, "%s", strerror(errno));
    if (!write_all(fd, bytes->at, bytes->length, 0, error))
        return false;
    *out = take_fd(&fd);
    return true;
}

bool segment_create(int folder, const struct segment_head *head, const struct segment_end *begin,
                    struct text *entries, const struct segment_end *end, bool is_synced,
                    struct segment **out, struct rasad_error *error)
{
    SCOPED(segment_free_at) struct segment *segment = calloc(1, sizeof *segment);
    SCOPED(text_free) struct text bytes = {0};
    char name[SEGMENT_NAME_LENGTH];

    errno = ENOMEM;
    if (segment == NULL)
        return rasad_fail_memory(error);
    segment->fd = -1;
    segment->generation = head->generation;
    memcpy(segment->stream, head->stream, SEGMENT_STREAM_BYTES);
    segment->begin = *begin;
    segment->start = segment_head_size(head);
    assert(segment->start <= SEGMENT_MOST_HEAD_BYTES);
    segment_add_head(&bytes, head, begin);
    if (entries != NULL) {
        entries_seal(entries, head->stream, 1);
        text_add(&bytes, entries->at, entries->length);
    }
    if (bytes.failed)
        return rasad_fail_memory(error);
    segment_name(head->generation, begin->next, name);
    if (!(folder < 0 ? create_in_memory(&bytes, &segment->fd, error)
                     : create_file(folder, name, &bytes, is_synced, &segment->fd, error)))
        return false;
    segment->size = bytes.length;
    segment->group = 1;
    segment->end = *end;
    *out = TAKE(segment);
    return true;
}

bool segment_write(struct segment *segment, struct text *entries, bool is_synced,
                   struct rasad_error *error)
{
    int why;

    entries_seal(entries, segment->stream, ++segment->group);
    if (write_all(segment->fd, entries->at, entries->length, segment->size, error) &&
        (!is_synced || sync_file(segment->fd, error)))
        return true;
    /* After a failed sync the kernel may show bytes that the disk never got, so nothing more is
     * written here. What is cut off needs no space, and if even that fails, numbers tell. */
    why = errno;
    segment->is_spoilt = true;
    (void)!ftruncate(segment->fd, (off_t)segment->size);
    errno = why;
    return false;
}

bool segment_cut_tail(struct segment *segment, uint64_t *torn, struct rasad_error *error)
{
    struct stat file;

    if (fstat(segment->fd, &file) != 0)
        return rasad_fail(error, "%s", strerror(errno));
    if (planted_bug("torn-tail-kept") && (uint64_t)file.st_size > segment->size)
        segment->size = (uint64_t)file.st_size;
    *torn = (uint64_t)file.st_size > segment->size ? (uint64_t)file.st_size - segment->size : 0;
    return *torn == 0 || ftruncate(segment->fd, (off_t)segment->size) == 0 ||
           rasad_fail(error, "%s", strerror(errno));
}

bool segment_sync(const struct segment *segment, struct rasad_error *error)
{
    return sync_file(segment->fd, error);
}

void segment_free(struct segment *segment)
{
    if (segment == NULL)
        return;
    close_at(&segment->fd);
    free(segment);
}

void segment_free_at(struct segment **segment)
{
    segment_free(*segment);
}
