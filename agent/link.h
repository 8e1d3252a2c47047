/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * link: one server, and the connection to it (docs/protocol.md). A link reaches for its
 * server as long as it is wanted or still has something to acknowledge, says hello, and sends what
 * the spool has for it behind what the server has applied. The messages stay in the spool.
 *
 * Where the server has another chain for a number that we know, or a number that we can't have
 * given, its stream is not ours: the spool begins a new one, and the link says hello again.
 *
 * Threads: belongs to the client's thread. It never waits: addresses are looked up elsewhere
 *          (resolver), and the socket is non-blocking.
 * Time:    passed in (monotonic, nanoseconds), but for the stamps of pings, which are taken right
 *          at the system calls.
 * Memory:  owns its buffers, all bounded.
 */
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backoff.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/text.h"
#include "reply.h"
#include "resolver.h"
#include "spool.h"

/* Pings under way. */
#define LINK_PINGS 16

/* The text of an instance's 64 random bits, with its NUL. */
#define LINK_INSTANCE_LENGTH 17

enum link_state {
    LINK_RESTING,    /* not wanted */
    LINK_WAITING,    /* for `deadline_ns`, to try again */
    LINK_RESOLVING,  /* the host's addresses are looked up */
    LINK_CONNECTING, /* to one of the addresses */
    LINK_GREETING,   /* hello is said, the welcome not heard */
    LINK_READY,
};

struct link_ping {
    uint64_t id;     /* 0: a free place */
    uint64_t token;  /* the asker's */
    int64_t sent_ns; /* 0: not handed to the kernel yet */
};

/* An answer that came. */
struct link_pong {
    uint64_t token;
    int64_t rtt_ns;
};

struct link {
    /* What it is; set at the start. */
    char server[300]; /* HOST:PORT, for the log */
    char host[256];
    uint16_t port;
    const char *agent;    /* lent: the name that it says */
    const char *instance; /* lent */
    const struct log *log;
    int wake_fd;         /* lent */
    struct spool *spool; /* lent */
    size_t index;        /* of the server, there */

    enum link_state state;
    int64_t since_ns;    /* when the try began */
    int64_t deadline_ns; /* when the state's patience ends; INT64_MAX: never */
    struct backoff backoff;
    uint64_t random;
    struct lookup *lookup;
    struct addrinfo *infos;           /* owned: all addresses of the host */
    const struct addrinfo *next_info; /* the one to try next */
    struct rasad_error error;         /* why the last address failed */
    int fd;

    /* The connection. */
    struct text out; /* whole objects; of them `out_sent` bytes are with the kernel */
    size_t out_sent;
    struct text in;
    struct frame frame;
    uint64_t last_ping;
    struct link_ping pings[LINK_PINGS];

    /* What the client collects. */
    bool has_news; /* an acknowledgement, or a stream that isn't ours */
    size_t pong_count;
    struct link_pong pongs[LINK_PINGS];
};

/* A link that rests. `server` is HOST[:PORT]; the rest is lent for the link's life. */
bool link_open(struct link *link, const char *server, const char *agent, const char *instance,
               const struct log *log, int wake_fd, struct rasad_error *error);

/* Says where its messages are; before anything else is asked of it. */
void link_bind(struct link *link, struct spool *spool, size_t index);

void link_close(struct link *link);

/* Begins to reach for the server if the link rests and is wanted, or the server still has something
 * to acknowledge; lets go of it if neither is so. */
void link_want(struct link *link, bool wanted, int64_t now_ns);

/* From when on the server is taken to be away: since a try has failed, or when one has taken a
 * second; INT64_MAX if the link rests or is ready. */
int64_t link_failing_ns(const struct link *link);

/* Sends a ping, if the link is ready; its answer is noted in `pongs`. */
void link_ping(struct link *link, uint64_t token);

/* What to wait for; fd -1 while there is no socket. */
struct pollfd link_pollfd(const struct link *link);

/* Goes on as far as it can without waiting; `events` are those that poll() found on the socket. */
void link_step(struct link *link, short events, int64_t now_ns);
