/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory_file.h"
#include "base/scoped.h"
#include "handover/notice.h"

/* Raised whenever the layout or the meaning of a value changes. */
#define VERSION 2

/* What the store is taken to have room for, where the manager doesn't tell (before systemd 254). */
#define PRESUMED_ROOM 4096

/* How many descriptors a process needs until it raises its limit, beside those from the store. */
#define START_DESCRIPTORS 64

/* Of the store's room, for the memory here and that of a handover. */
#define ROOM_OF_MEMORIES 2

/* How long the manager may take to hear of the memory and of listening sockets. */
#define WAIT_MS 2000

static const char magic[8] = "rasadstd";

#define PLACES (HANDOVER_HTTP + 1)

/* What listens somewhere, and the section of the conf that it came of. */
struct place {
    _Atomic uint32_t count; /* 0: nothing, or it is being written */
    uint32_t port;
    char address[256];
    uint64_t cookies[SOCKETS_MOST];
};

/* What the next process gets. */
struct memory {
    char magic[8];
    uint32_t version;
    _Atomic uint32_t disowned;
    _Atomic int64_t handover_ns; /* when the one was made that was taken last; 0: none was */
    struct place places[PLACES];
    _Atomic uint32_t end; /* slots before it may be in use */
    struct standing_slot slots[STANDING_SLOTS];
};

/* Whose a slot is in this process. */
enum owner { NOBODY, LEFT, CLAIMED };

struct standing {
    struct memory *memory;
    size_t most; /* slots in use at once */
    _Atomic bool left;
    _Atomic size_t gone;  /* slots that say so */
    pthread_mutex_t lock; /* on what follows, and on what slot is whose */
    size_t used;
    uint64_t cookies[STANDING_SLOTS]; /* a copy, for searching; 0: free */
    uint8_t owners[STANDING_SLOTS];   /* enum owner */
};

uint64_t standing_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 && size == sizeof cookie
               ? cookie
               : 0;
}

void standing_name(uint64_t cookie, char name[STANDING_NAME_LENGTH])
{
    (void)snprintf(name, STANDING_NAME_LENGTH, STANDING_SOCKET_NAME "-%016" PRIx64, cookie);
}

size_t standing_bytes(void)
{
    return sizeof(struct memory);
}

/* ---- The memory ---------------------------------------------------------------------------- */

static long told_room(void)
{
    const char *text = getenv("FDSTORE");

    return text != NULL ? strtol(text, NULL, 10) : PRESUMED_ROOM;
}

void standing_mind_limit(void)
{
    long told = told_room(), most = 0;
    struct rlimit limit;
    char text[32];

    if (told <= 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= (rlim_t)told + START_DESCRIPTORS)
        return;
    if (limit.rlim_cur > START_DESCRIPTORS)
        most = (long)limit.rlim_cur - START_DESCRIPTORS;
    (void)snprintf(text, sizeof text, "%ld", most);
    (void)setenv("FDSTORE", text, 1);
}

/* The store's room that is left for sockets. */
static size_t room(void)
{
    long told = told_room();

    if (told <= ROOM_OF_MEMORIES)
        return 0;
    return told - ROOM_OF_MEMORIES < STANDING_SLOTS ? (size_t)(told - ROOM_OF_MEMORIES)
                                                    : STANDING_SLOTS;
}

static bool map(struct standing *standing, int fd, struct rasad_error *error)
{
    void *at = mmap(NULL, sizeof *standing->memory, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED)
        return rasad_fail(error, "cannot map it: %s", strerror(errno));
    standing->memory = at;
    return true;
}

static bool make(struct standing *standing, struct rasad_error *error)
{
    static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    SCOPED(close_at) int fd = memory_file(STANDING_MEMORY_NAME);

    if (fd < 0 || ftruncate(fd, sizeof *standing->memory) != 0 ||
        fcntl(fd, F_ADD_SEALS, seals) != 0)
        return rasad_fail(error, "cannot make memory: %s", strerror(errno));
    if (!map(standing, fd, error))
        return false;
    memcpy(standing->memory->magic, magic, sizeof magic);
    standing->memory->version = VERSION;
    /* One of before, from the image of an upgrade, must not be found beside it. */
    if (!notice_send("FDSTOREREMOVE=1\nFDNAME=" STANDING_MEMORY_NAME, -1, WAIT_MS) ||
        !notice_send("FDSTORE=1\nFDPOLL=0\nFDNAME=" STANDING_MEMORY_NAME, fd, WAIT_MS))
        return rasad_fail(error, "the service manager does not listen");
    return true;
}

/* An address is shown, so it is what address_format() or a listener makes. */
static bool is_address(const char *text, size_t room)
{
    size_t length = strnlen(text, room);

    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return length < room;
}

/* Whatever a slot says, it is one of what slots say afterwards. */
static void mend_slot(struct standing *standing, size_t i)
{
    struct standing_slot *slot = &standing->memory->slots[i];

    if (slot->cookie == 0 || standing_state(slot) == STANDING_FREE) {
        standing_set(slot, STANDING_FREE);
        return;
    }
    if (standing_state(slot) >= STANDING_STATES || !is_address(slot->address, ADDRESS_LENGTH)) {
        standing_set(slot, STANDING_LOST);
        slot->address[0] = '\0';
    }
    standing->cookies[i] = slot->cookie;
    standing->owners[i] = LEFT;
    standing->used++;
}

/* Makes sure of what another process has written. */
static bool look(struct standing *standing, struct rasad_error *error)
{
    struct memory *memory = standing->memory;
    uint32_t end = atomic_load(&memory->end);

    if (memcmp(memory->magic, magic, sizeof magic) != 0 || memory->version != VERSION)
        return rasad_fail(error, "it is of another version");
    if (atomic_load(&memory->disowned) != 0)
        return rasad_fail(error, "its process had just given its place to another");
    if (end > STANDING_SLOTS)
        return rasad_fail(error, "it is damaged");
    for (size_t i = 0; i < end; i++)
        mend_slot(standing, i);
    return true;
}

static bool take(struct standing *standing, int fd, struct rasad_error *error)
{
    struct stat there;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &there) != 0 || there.st_size != (off_t)sizeof *standing->memory || seals < 0 ||
        (seals & F_SEAL_SHRINK) == 0)
        return rasad_fail(error, "it is of another version");
    return map(standing, fd, error) && look(standing, error);
}

static void standing_free(struct standing *standing)
{
    if (standing->memory != NULL)
        (void)munmap(standing->memory, sizeof *standing->memory);
    (void)pthread_mutex_destroy(&standing->lock);
    free(standing);
}

bool standing_open(int memory, struct standing **out, struct rasad_error *error)
{
    SCOPED(close_at) int fd = memory;
    struct standing *standing = calloc(1, sizeof *standing);

    if (standing == NULL)
        return rasad_fail_memory(error);
    (void)pthread_mutex_init(&standing->lock, NULL);
    standing->most = room();
    if (fd >= 0 ? !take(standing, fd, error) : !make(standing, error)) {
        standing_free(standing);
        return false;
    }
    *out = standing;
    return true;
}

void standing_leave(struct standing *standing)
{
    atomic_store(&standing->left, true);
}

void standing_disown(struct standing *standing, bool disowned)
{
    if (standing != NULL)
        atomic_store(&standing->memory->disowned, disowned ? 1U : 0U);
}

bool standing_take_handover(struct standing *standing, int64_t made_ns)
{
    return standing == NULL || atomic_exchange(&standing->memory->handover_ns, made_ns) != made_ns;
}

/* ---- Slots; the lock is held -------------------------------------------------------------- */

static void lock(struct standing *standing)
{
    (void)pthread_mutex_lock(&standing->lock);
}

static void unlock(struct standing *standing)
{
    (void)pthread_mutex_unlock(&standing->lock);
}

/* STANDING_SLOTS: there is none. */
static size_t find(const struct standing *standing, uint64_t cookie)
{
    size_t count = atomic_load_explicit(&standing->memory->end, memory_order_relaxed);

    for (size_t i = 0; i < count; i++) {
        if (standing->cookies[i] == cookie)
            return i;
    }
    return STANDING_SLOTS;
}

/* A free slot, which is the socket's now; STANDING_SLOTS: there is none. Its state comes last. */
static size_t occupy(struct standing *standing, uint64_t cookie)
{
    struct memory *memory = standing->memory;
    size_t i = standing->used < standing->most ? find(standing, 0) : STANDING_SLOTS;
    uint32_t count = atomic_load_explicit(&memory->end, memory_order_relaxed);

    if (standing->used >= standing->most || (i == STANDING_SLOTS && count == STANDING_SLOTS))
        return STANDING_SLOTS;
    if (i == STANDING_SLOTS) {
        i = count;
        atomic_store_explicit(&memory->end, count + 1, memory_order_relaxed);
    }
    standing->used++;
    standing->cookies[i] = cookie;
    memory->slots[i].cookie = cookie;
    return i;
}

static void vacate(struct standing *standing, size_t i)
{
    standing_set(&standing->memory->slots[i], STANDING_FREE);
    standing->cookies[i] = 0;
    standing->owners[i] = NOBODY;
    standing->used--;
}

/* False if the manager is busy. */
static bool send_removal(uint64_t cookie)
{
    char name[STANDING_NAME_LENGTH], words[2 * STANDING_NAME_LENGTH];

    standing_name(cookie, name);
    (void)snprintf(words, sizeof words, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    return notice_send(words, -1, 0);
}

/* Takes the socket out of the store, and its slot is free; or, if the manager is busy, GONE. */
static void take_out(struct standing *standing, size_t i)
{
    struct standing_slot *slot = &standing->memory->slots[i];
    bool was_gone = standing->owners[i] != LEFT && standing_state(slot) == STANDING_GONE;

    if (send_removal(slot->cookie)) {
        vacate(standing, i);
        (void)atomic_fetch_sub(&standing->gone, was_gone ? 1 : 0);
        return;
    }
    standing_set(slot, STANDING_GONE);
    standing->owners[i] = CLAIMED;
    (void)atomic_fetch_add(&standing->gone, was_gone ? 0 : 1);
}

/* ---- What was left ------------------------------------------------------------------------- */

struct standing_slot *standing_find(struct standing *standing, uint64_t cookie)
{
    size_t i;

    lock(standing);
    i = cookie != 0 ? find(standing, cookie) : STANDING_SLOTS;
    unlock(standing);
    return i < STANDING_SLOTS ? &standing->memory->slots[i] : NULL;
}

bool standing_was_place(const struct standing *standing, enum handover_place place,
                        struct handover_sockets *was, uint64_t cookies[SOCKETS_MOST])
{
    const struct place *from = &standing->memory->places[place];
    uint32_t count = atomic_load(&from->count);

    if (count == 0 || count > SOCKETS_MOST || from->port > UINT16_MAX ||
        !is_address(from->address, sizeof from->address))
        return false;
    *was = (struct handover_sockets){.address = {from->address, strlen(from->address)},
                                     .port = (uint16_t)from->port,
                                     .count = (uint8_t)count};
    for (uint32_t i = 0; i < count; i++)
        cookies[i] = from->cookies[i];
    return true;
}

void standing_settle(struct standing *standing)
{
    size_t count = atomic_load(&standing->memory->end);

    lock(standing);
    for (size_t i = 0; i < count; i++) {
        if (standing->owners[i] == LEFT)
            take_out(standing, i);
    }
    unlock(standing);
}

/* ---- What is there now --------------------------------------------------------------------- */

struct standing_slot *standing_claim(struct standing *standing, int fd, const char *address,
                                     enum standing_state first, bool *stored)
{
    uint64_t cookie = standing != NULL ? standing_cookie(fd) : 0;
    struct standing_slot *slot;
    size_t i;

    *stored = false;
    if (cookie == 0)
        return NULL;
    lock(standing);
    i = find(standing, cookie);
    *stored = i < STANDING_SLOTS;
    if (i == STANDING_SLOTS)
        i = occupy(standing, cookie);
    if (i < STANDING_SLOTS)
        standing->owners[i] = CLAIMED;
    unlock(standing);
    if (i == STANDING_SLOTS)
        return NULL;
    slot = &standing->memory->slots[i];
    if (slot->address != address)
        (void)snprintf(slot->address, sizeof slot->address, "%s", address);
    if (!*stored) /* what was left holds until its stream goes on */
        standing_set(slot, first);
    return slot;
}

bool standing_store(const struct standing_slot *slot, int fd, int wait_ms)
{
    char name[STANDING_NAME_LENGTH], words[2 * STANDING_NAME_LENGTH];

    /* What has ended while nobody was there may have left bytes that are still to be read. */
    standing_name(slot->cookie, name);
    (void)snprintf(words, sizeof words, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    return notice_send(words, fd, wait_ms);
}

void standing_end(struct standing *standing, struct standing_slot *slot, int fd, bool is_stored)
{
    if ((slot == NULL && !is_stored) || (standing != NULL && atomic_load(&standing->left)))
        return;
    (void)shutdown(fd, SHUT_RDWR);
    if (slot == NULL) {
        (void)send_removal(standing_cookie(fd)); /* else the next process finds it */
        return;
    }
    lock(standing);
    take_out(standing, (size_t)(slot - standing->memory->slots));
    unlock(standing);
}

/* Those of before that aren't there any more leave the store. */
static void end_place(struct standing *standing, const struct place *before,
                      const uint64_t cookies[SOCKETS_MOST], uint8_t count)
{
    uint32_t was = atomic_load(&before->count);

    for (uint32_t i = 0; i < was && i < SOCKETS_MOST; i++) {
        bool stays = false;
        size_t slot = find(standing, before->cookies[i]);

        for (uint8_t j = 0; j < count; j++)
            stays |= cookies[j] == before->cookies[i];
        if (!stays && slot < STANDING_SLOTS)
            take_out(standing, slot);
    }
}

void standing_place(struct standing *standing, enum handover_place place,
                    const struct handover_sockets *now)
{
    struct place *to = &standing->memory->places[place];
    uint64_t cookies[SOCKETS_MOST] = {0};
    bool fits = now->address.length < sizeof to->address;

    for (uint8_t i = 0; i < now->count; i++) {
        bool stored;
        struct standing_slot *slot =
            standing_claim(standing, now->fds[i], "", STANDING_LISTEN, &stored);

        cookies[i] = standing_cookie(now->fds[i]);
        fits &= slot != NULL && (stored || standing_store(slot, now->fds[i], WAIT_MS));
    }
    lock(standing);
    end_place(standing, to, cookies, now->count);
    atomic_store(&to->count, 0U);
    to->port = now->port;
    (void)snprintf(to->address, sizeof to->address, "%.*s", (int)now->address.length,
                   now->address.at);
    memcpy(to->cookies, cookies, sizeof cookies);
    atomic_store(&to->count, fits ? now->count : 0U);
    unlock(standing);
}

void standing_tell(struct standing *standing)
{
    size_t count = atomic_load(&standing->memory->end);

    if (atomic_load_explicit(&standing->gone, memory_order_relaxed) == 0)
        return;
    lock(standing);
    for (size_t i = 0; i < count && atomic_load(&standing->gone) > 0; i++) {
        if (standing->owners[i] == CLAIMED &&
            standing_state(&standing->memory->slots[i]) == STANDING_GONE)
            take_out(standing, i);
    }
    unlock(standing);
}

void standing_close(struct standing *standing)
{
    size_t count;

    if (standing == NULL)
        return;
    count = atomic_load(&standing->memory->end);
    if (!atomic_load(&standing->left)) {
        (void)notice_send("FDSTOREREMOVE=1\nFDNAME=" STANDING_MEMORY_NAME, -1, WAIT_MS);
        for (size_t i = 0; i < count; i++) {
            if (standing->owners[i] != NOBODY)
                take_out(standing, i);
        }
    }
    standing_free(standing);
}
