/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * link: one server, and the stream that this process has with it (DESIGN 1.3, named senders). A
 * link reaches for its server as long as it is wanted, says hello, goes on behind what the server
 * has applied, and keeps each message until it is acknowledged:
 *
 *      base                    base + window.count
 *   ────┬──────────┬────────────────┬
 *  acked│  sent    │ `next` to send │   `base_chain` is the chain at base, each message's at its
 * end
 *
 * Where the server has another chain for a number that we know, or a number that we can't have
 * given, its stream is not ours: the link begins a new one with what was never acknowledged.
 *
 * Threads: belongs to the client's thread. It never waits: addresses are looked up elsewhere
 *          (resolver), and the socket is non-blocking.
 * Time:    passed in (monotonic, nanoseconds), but for the stamps of pings, which are taken right
 *          at the system calls.
 * Memory:  owns its window and buffers, all bounded.
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
#include "message.h"
#include "reply.h"
#include "resolver.h"

/* A link takes no further messages beyond so many bytes without acknowledgement. */
#define LINK_WINDOW_BYTES (4 << 20)

/* Pings under way. */
#define LINK_PINGS 16

/* The text of a stream's 128 random bits, or an instance's 64, with its NUL. */
#define LINK_STREAM_LENGTH 33
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
    int wake_fd; /* lent */

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

    /* The stream. */
    char stream[LINK_STREAM_LENGTH];
    uint64_t base;       /* all up to this number are acknowledged and forgotten */
    uint32_t base_chain; /* the chain there */
    struct messages window;
    struct message *next; /* in the window: the first that this connection has not been given */

    /* The connection. */
    struct text out; /* whole objects; of them `out_sent` bytes are with the kernel */
    size_t out_sent;
    struct text in;
    struct frame frame;
    uint64_t last_ping;
    struct link_ping pings[LINK_PINGS];

    /* What the client collects. */
    uint64_t acked; /* messages forgotten since it last looked */
    size_t pong_count;
    struct link_pong pongs[LINK_PINGS];
};

/* A link that rests. `server` is HOST[:PORT]; the rest is lent for the link's life. */
bool link_open(struct link *link, const char *server, const char *agent, const char *instance,
               const struct log *log, int wake_fd, struct rasad_error *error);

void link_close(struct link *link);

/* Begins to reach for the server if the link rests and is wanted, or lets go of it if it isn't
 * and has nothing that the server must still acknowledge. */
void link_want(struct link *link, bool wanted, int64_t now_ns);

/* From when on the server is taken to be away: since a try has failed, or when one has taken a
 * second; INT64_MAX if the link rests or is ready. */
int64_t link_failing_ns(const struct link *link);

/* Whether it would take a message now. */
bool link_has_room(const struct link *link);

/* Numbers a message and takes it over, to be sent and kept until it is acknowledged. */
void link_add(struct link *link, struct message *message);

/* Sends a ping, if the link is ready; its answer is noted in `pongs`. */
void link_ping(struct link *link, uint64_t token);

/* What to wait for; fd -1 while there is no socket. */
struct pollfd link_pollfd(const struct link *link);

/* Goes on as far as it can without waiting; `events` are those that poll() found on the socket. */
void link_step(struct link *link, short events, int64_t now_ns);
