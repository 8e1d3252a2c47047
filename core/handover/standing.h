/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * standing: sockets that outlive a process which was killed, and so could hand nothing over. While
 * the server runs, the service manager's store has a dup of each (FDSTORE=1) under a name of its
 * own, made of its cookie (SO_COOKIE), and a memory file that says of each where it stands: what a
 * process killed at this instant leaves of the stream, for the next one to go on:
 *
 *      nothing read     messages, whole     within one, or nobody knows
 *      FRESH ─────────► LINES, RUN ◄──────► TORN   each message had its line: on behind the next
 *        │                                  LOST   not each, or it may be a hello: to be closed
 *        └────────────► NAMED                      its sender is asked to say hello again
 *
 * A read makes it the worse of what may be, standing_begin_read(), before the kernel gives a byte
 * away, and better again when all bytes are applied. So a connection may lose a message that way,
 * but of one that goes on as it began none is ever misread. (For named ones that isn't enough,
 * hence NAMED: docs/protocol.md.)
 *
 * A socket whose dup lies in the store doesn't end by being closed. So it is shut down, and its
 * slot says GONE until the manager was told.
 *
 * Threads: a slot's state is set by the one whose socket it is; the rest from any, under a lock
 * within which nobody waits. Memory: one mapping, bounded; a slot lives as long as all of it.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"
#include "handover/handover_wire.h"

/* Sockets at most. */
#define STANDING_SLOTS 16384

/* How the memory, and all sockets of ours, are called in the store. */
#define STANDING_MEMORY_NAME "rasad-standing"
#define STANDING_SOCKET_NAME "rasad-socket"

/* Room for a socket's whole name. */
#define STANDING_NAME_LENGTH 64

enum standing_state {
    STANDING_FREE,   /* a slot of nobody */
    STANDING_GONE,   /* to be taken out of the store */
    STANDING_LISTEN, /* no connection */
    STANDING_FRESH,  /* nothing was read yet */
    STANDING_LINES,  /* unnamed, between two messages, and each had a line of its own so far */
    STANDING_RUN,    /* unnamed, between two messages, and not each had: they run together, or over
                      * several lines, or are counted */
    STANDING_TORN,   /* was LINES, and bytes are read that aren't applied */
    STANDING_LOST,   /* likewise FRESH or RUN */
    STANDING_NAMED,
    STANDING_STATES
};

struct standing;

/* One socket. It lies in the memory that the next process may get. */
struct standing_slot {
    uint64_t cookie;
    _Atomic uint8_t state;
    char address[ADDRESS_LENGTH]; /* of the peer, NUL-terminated: what an unnamed one is called */
};

/*
 * Takes over the memory that a process before has left, or with -1 makes a new one and gives it to
 * the service manager. False if it can't be, or if what is there is none; the descriptor is closed.
 */
bool standing_open(int memory, struct standing **out, struct rasad_error *error);

/* Takes all out of the store and frees it; after standing_leave() just the latter. NULL is fine. */
void standing_close(struct standing *standing);

/* From now on nothing leaves the store any more: all is for the next process. */
void standing_leave(struct standing *standing);

/* Another image of the program takes this process over, and begins a memory of its own: what this
 * one says is true no more; or it is, after all. NULL is fine. */
void standing_disown(struct standing *standing, bool disowned);

/* Notes that the handover made then (steady) is taken; false if it was already, by a process that
 * has changed since what is in it: the manager may have been too busy to hear that it is of no use
 * any more. `standing` may be NULL. */
bool standing_take_handover(struct standing *standing, int64_t made_ns);

/* ---- What was left ------------------------------------------------------------------------- */

/* The slot of a socket with this cookie; NULL if there is none. */
struct standing_slot *standing_find(struct standing *standing, uint64_t cookie);

/* What served at a place and with which section of the conf; the descriptors are left out, and the
 * bytes are lent. False if nothing did. */
bool standing_was_place(const struct standing *standing, enum handover_place place,
                        struct handover_sockets *was, uint64_t cookies[SOCKETS_MOST]);

/* Whatever was left and not claimed until now is taken out of the store. */
void standing_settle(struct standing *standing);

/* ---- What is there now --------------------------------------------------------------------- */

/*
 * The slot of this socket: the one that it had, then `*stored` is true, and it says what it said;
 * or a new one, which says `first`. NULL if none is free. `standing` may be NULL.
 */
struct standing_slot *standing_claim(struct standing *standing, int fd, const char *address,
                                     enum standing_state first, bool *stored);

/* Gives the socket to the store; false if the manager is too busy now. Twice does no harm. */
bool standing_store(const struct standing_slot *slot, int fd, int wait_ms);

/* Ends the socket, which the caller then closes; both sides hear it. `standing` and the slot may be
 * NULL, even of one that is stored, for it was so before this process and there is no slot left. */
void standing_end(struct standing *standing, struct standing_slot *slot, int fd, bool is_stored);

/* What serves at a place from now on. Sockets of before leave the store. */
void standing_place(struct standing *standing, enum handover_place place,
                    const struct handover_sockets *now);

/* Tells the manager what it was too busy to hear. */
void standing_tell(struct standing *standing);

/* ---- Where a connection stands ------------------------------------------------------------- */

static inline enum standing_state standing_state(const struct standing_slot *slot)
{
    return (enum standing_state)atomic_load_explicit(&slot->state, memory_order_relaxed);
}

/* NULL is fine here and below. */
static inline void standing_set(struct standing_slot *slot, enum standing_state state)
{
    if (slot != NULL)
        atomic_store_explicit(&slot->state, (uint8_t)state, memory_order_relaxed);
}

/* Before anything is read. Only this process's own end can come in between, so an order that the
 * compiler keeps is enough, and it keeps that of a store and a system call. */
static inline void standing_begin_read(struct standing_slot *slot)
{
    enum standing_state state = slot != NULL ? standing_state(slot) : STANDING_FREE;

    if (state == STANDING_LINES)
        standing_set(slot, STANDING_TORN);
    else if (state == STANDING_FRESH || state == STANDING_RUN)
        standing_set(slot, STANDING_LOST);
}

/*
 * Takes the store to have no more room than a process can begin with, which gets all of it before
 * it can raise its limit of descriptors: its program would not even find its libraries. Other
 * images of this process take it so, too (FDSTORE in the environment). At the start, with the limit
 * as it came.
 */
void standing_mind_limit(void);

/* How many bytes the memory has. */
size_t standing_bytes(void);

/* The name in the store of the socket with this cookie. */
void standing_name(uint64_t cookie, char name[STANDING_NAME_LENGTH]);

/* The cookie; 0 if it is no socket. */
uint64_t standing_cookie(int fd);
