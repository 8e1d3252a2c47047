/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * handover_wire: what one image of the server leaves to the next, as values and as bytes. The bytes
 * stay on the machine (a sealed memfd), so numbers lie in it as the machine has them:
 *   8 bytes   magic
 *   uint32_t  HANDOVER_VERSION
 *   uint32_t  CRC-32C of all that follows
 *   uint64_t  how many bytes that is
 *   then the values, in the order of struct handover: a list is its count and its members, bytes
 *   are their length and themselves.
 * Whoever reads trusts none of it: every length and number is checked, and a handover is taken or
 * refused as a whole. A descriptor is a number that means something in the process that wrote it;
 * exec keeps it, and cookies are for who got them in another way.
 *
 * Threads: none inside. Memory: what is read owns its lists, and lends all bytes from where it was
 * read; what is to be written owns its lists too, and lends everything in them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/error.h"
#include "base/frame.h"
#include "base/text.h"
#include "sockets.h"

/* Raised whenever the values, their order, or the meaning of one changes; the states within a
 * struct frame are such values. Only the same version is ever read. */
#define HANDOVER_VERSION 3

/* Bytes before the values. */
#define HANDOVER_HEAD_BYTES 24

struct handover_bytes {
    const char *at;
    size_t length;
};

/* A count that goes on, such as rasad_messages_total. Who doesn't know the name passes it over. */
struct handover_number {
    char name[48]; /* NUL-terminated */
    uint64_t value;
};

/* What was counted of a metric family. */
struct handover_family {
    struct handover_bytes name;
    struct handover_bytes key; /* that a glob made it for; of length 0: a plain title */
    uint64_t samples;
    uint64_t overflow_samples;
    uint64_t refused;
    uint64_t render_errors;
};

/* What is known of an agent beside its series. Steady times go on, for the machine is the same. */
struct handover_agent {
    struct handover_bytes name;
    bool named;
    int64_t gone_since_ns;
    int64_t last_seen_ns;
    int64_t connected_ns;
    uint64_t messages;
    uint64_t refused;
    uint64_t dropped;
    uint64_t forks;
};

/* What listening sockets are for. */
enum handover_place { HANDOVER_LISTEN, HANDOVER_HTTP, HANDOVER_ADMIN, HANDOVER_PLACES };

/* The sockets of one of them, and the section of the conf that they came of. */
struct handover_sockets {
    struct handover_bytes address;
    uint16_t port;
    bool is_units; /* the service manager opened them */
    uint8_t count; /* 0: there are none */
    int32_t fds[SOCKETS_MOST];
};

struct handover_connection {
    int32_t fd; /* -1: it was taken already */
    struct handover_bytes address;
    struct handover_bytes agent; /* of length 0: it sent nothing yet */
    bool begun;                  /* it is one of those that were counted as connections */
    bool named;
    bool ending;
    bool shares_lines;
    bool is_stored; /* the service manager has a dup of it */
    bool reports;
    bool has_stream;
    unsigned char stream[16];
    uint64_t applied;
    uint32_t chain; /* over them */
    uint64_t messages;
    uint64_t acknowledged;
    uint64_t report_accepted;
    uint64_t report_refused;
    struct frame frame;
    struct handover_bytes in;
    struct handover_bytes out;
    struct handover_bytes again; /* of length 0, or see struct connection */
    uint8_t stood; /* enum standing_state, of one that nobody handed over; not in the bytes, 0 */
};

/* Which socket a descriptor is, for those who get it under another number. */
struct handover_cookie {
    int32_t fd;
    uint64_t cookie; /* SO_COOKIE */
};

struct handover {
    struct handover_bytes version; /* of the program that wrote it */
    struct handover_bytes state_dir;
    int64_t begun_ns; /* steady: since when nothing is taken in */
    int32_t asker;    /* a client of the admin socket who waits for the answer; or -1 */
    struct handover_number *numbers;
    size_t number_count;
    struct handover_family *families;
    size_t family_count;
    struct handover_agent *agents;
    size_t agent_count;
    struct handover_sockets places[HANDOVER_PLACES];
    int32_t *workers; /* processes that were children of the image before */
    size_t worker_count;
    struct handover_connection *connections;
    size_t connection_count;
    struct handover_cookie *cookies; /* of all sockets in it; none where numbers stay */
    size_t cookie_count;
};

/* Adds the bytes of it; text->failed if there is no memory. */
void handover_write(const struct handover *handover, struct text *out);

/* Reads it. On false there is nothing to free, and the error says what is wrong. */
bool handover_read(const char *bytes, size_t length, struct handover *handover,
                   struct rasad_error *error);

/* Frees its lists. No descriptor is closed. Fits SCOPED. */
void handover_free(struct handover *handover);

/* Calls for each descriptor in it that isn't -1; the call may change it. */
void handover_each_fd(struct handover *handover, void (*call)(int32_t *fd, void *context),
                      void *context);
