/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/scoped.h"
#include "little.h"
#include "segment_inside.h"

#define MAGIC "rasadspl"
#define FIXED_HEAD_BYTES 72

void segment_name(uint64_t generation, uint64_t first, char name[SEGMENT_NAME_LENGTH])
{
    (void)snprintf(name, SEGMENT_NAME_LENGTH, "%04" PRIu64 "-%020" PRIu64 ".seg", generation,
                   first);
}

bool segment_parse_name(const char *name, uint64_t *generation, uint64_t *first)
{
    char same[SEGMENT_NAME_LENGTH];

    if (sscanf(name, "%" SCNu64 "-%" SCNu64, generation, first) != 2 || *first == 0)
        return false;
    segment_name(*generation, *first, same);
    return strcmp(name, same) == 0;
}

void segment_add_head(struct text *out, const struct segment_head *head,
                      const struct segment_end *begin)
{
    size_t agent = strlen(head->agent), server = strlen(head->server);
    char fixed[FIXED_HEAD_BYTES] = {0};
    char crc[4];

    memcpy(fixed, MAGIC, 8);
    little_put_u32(fixed + 8, SEGMENT_FORMAT);
    little_put_u32(fixed + 12, (uint32_t)(sizeof fixed + agent + server + sizeof crc));
    little_put_u64(fixed + 16, head->generation);
    little_put_u64(fixed + 24, begin->next);
    little_put_u64(fixed + 32, begin->origin);
    little_put_u64(fixed + 40, begin->acked);
    little_put_u32(fixed + 48, begin->chain);
    memcpy(fixed + 52, head->stream, SEGMENT_STREAM_BYTES);
    little_put_u16(fixed + 68, (uint16_t)agent);
    little_put_u16(fixed + 70, (uint16_t)server);
    text_add(out, fixed, sizeof fixed);
    text_add(out, head->agent, agent);
    text_add(out, head->server, server);
    if (out->failed)
        return;
    little_put_u32(crc, crc32c(0, out->at, out->length));
    text_add(out, crc, sizeof crc);
}

size_t segment_head_size(const struct segment_head *head)
{
    return FIXED_HEAD_BYTES + strlen(head->agent) + strlen(head->server) + 4;
}

/* The names in a head, not NUL-terminated. */
struct head_names {
    const char *agent, *server;
    size_t agent_length, server_length;
};

/* Reads the head out of the file's first bytes; false if it is none of this format. */
static bool parse_head(struct segment *segment, const char *bytes, size_t length,
                       struct head_names *names)
{
    size_t size;

    if (length < FIXED_HEAD_BYTES || memcmp(bytes, MAGIC, 8) != 0 ||
        little_get_u32(bytes + 8) != SEGMENT_FORMAT)
        return false;
    size = little_get_u32(bytes + 12);
    names->agent_length = little_get_u16(bytes + 68);
    names->server_length = little_get_u16(bytes + 70);
    names->agent = bytes + FIXED_HEAD_BYTES;
    names->server = names->agent + names->agent_length;
    if (size > length ||
        size != FIXED_HEAD_BYTES + names->agent_length + names->server_length + 4 ||
        crc32c(0, bytes, size - 4) != little_get_u32(bytes + size - 4))
        return false;
    segment->generation = little_get_u64(bytes + 16);
    segment->begin = (struct segment_end){.next = little_get_u64(bytes + 24),
                                          .origin = little_get_u64(bytes + 32),
                                          .acked = little_get_u64(bytes + 40),
                                          .chain = little_get_u32(bytes + 48)};
    memcpy(segment->stream, bytes + 52, SEGMENT_STREAM_BYTES);
    segment->start = size;
    return true;
}

static bool is_name(const char *bytes, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(bytes, name, length) == 0;
}

/* Whether the head is good, and whose it says it is. */
static enum segment_verdict judge_head(struct segment *segment, const char *bytes, size_t length,
                                       const struct segment_head *head, struct rasad_error *error)
{
    struct head_names names;

    if (length >= FIXED_HEAD_BYTES && memcmp(bytes, MAGIC, 8) == 0 &&
        little_get_u32(bytes + 8) > SEGMENT_FORMAT) {
        (void)rasad_fail(error,
                         "has format %" PRIu32 ", and this rasad-agent knows %d (install the newer "
                         "one again, or move the spool away)",
                         little_get_u32(bytes + 8), SEGMENT_FORMAT);
        return SEGMENT_REFUSED;
    }
    if (!parse_head(segment, bytes, length, &names))
        return SEGMENT_DAMAGED;
    if (is_name(names.agent, names.agent_length, head->agent) &&
        is_name(names.server, names.server_length, head->server))
        return SEGMENT_GOOD;
    (void)rasad_fail(error, "is of agent \"%.*s\" and server \"%.*s\" (move it away)",
                     (int)names.agent_length, names.agent, (int)names.server_length, names.server);
    return SEGMENT_REFUSED;
}

enum segment_verdict segment_peek(int folder, const char *name, char agent[SEGMENT_AGENT_LENGTH],
                                  char server[SEGMENT_SERVER_LENGTH], struct rasad_error *error)
{
    SCOPED(close_at) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct segment segment = {0};
    struct head_names names;
    char bytes[SEGMENT_MOST_HEAD_BYTES];
    ssize_t got = fd >= 0 ? pread(fd, bytes, sizeof bytes, 0) : -1;

    if (got < 0) {
        (void)rasad_fail(error, "%s: cannot be read: %s", name, strerror(errno));
        return SEGMENT_REFUSED;
    }
    if (!parse_head(&segment, bytes, (size_t)got, &names) ||
        names.agent_length >= SEGMENT_AGENT_LENGTH || names.server_length >= SEGMENT_SERVER_LENGTH)
        return SEGMENT_DAMAGED;
    (void)snprintf(agent, SEGMENT_AGENT_LENGTH, "%.*s", (int)names.agent_length, names.agent);
    (void)snprintf(server, SEGMENT_SERVER_LENGTH, "%.*s", (int)names.server_length, names.server);
    return SEGMENT_GOOD;
}

/* A damaged head follows from the segment in front, and the name. */
static enum segment_verdict mend_head(struct segment *segment, const struct segment_head *head,
                                      const struct segment *before, uint64_t generation,
                                      uint64_t first)
{
    if (before == NULL || before->generation != generation || before->end.next > first)
        return SEGMENT_DAMAGED;
    segment->generation = generation;
    memcpy(segment->stream, before->stream, SEGMENT_STREAM_BYTES);
    segment->begin = before->end;
    segment->begin.next = first;
    segment->start = segment_head_size(head);
    segment->is_spoilt = true; /* what comes next deserves a good head */
    if (segment->start > segment->size)
        segment->size = segment->start;
    return SEGMENT_GOOD;
}

enum segment_verdict segment_open(int folder, const char *name, const struct segment_head *head,
                                  const struct segment *before, struct segment **out,
                                  struct rasad_error *error)
{
    SCOPED(segment_free_at) struct segment *segment = calloc(1, sizeof *segment);
    uint64_t generation, first;
    enum segment_verdict verdict;
    char bytes[SEGMENT_MOST_HEAD_BYTES];
    ssize_t got = -1;
    struct stat file;

    if (segment == NULL) {
        (void)rasad_fail_memory(error);
        return SEGMENT_REFUSED;
    }
    segment->fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (segment->fd < 0 || fstat(segment->fd, &file) != 0 ||
        (got = pread(segment->fd, bytes, sizeof bytes, 0)) < 0) {
        (void)rasad_fail(error, "cannot be read: %s", strerror(errno));
        return SEGMENT_REFUSED;
    }
    segment->size = (uint64_t)file.st_size;
    segment->changed_ns = file.st_mtim.tv_sec * NS_PER_S + file.st_mtim.tv_nsec;
    verdict = judge_head(segment, bytes, (size_t)got, head, error);
    if (!segment_parse_name(name, &generation, &first))
        return SEGMENT_DAMAGED;
    if (verdict == SEGMENT_GOOD && (segment->generation != generation ||
                                    segment->begin.next != first || segment->begin.acked >= first))
        verdict = SEGMENT_DAMAGED; /* somebody has renamed it */
    if (verdict == SEGMENT_DAMAGED)
        verdict = mend_head(segment, head, before, generation, first);
    if (verdict == SEGMENT_GOOD)
        *out = TAKE(segment);
    return verdict;
}
