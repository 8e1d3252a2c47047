/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * link: one connection through the chaos proxy: an agent on one side, the server on the other, and
 * a pipe for each direction that can be made to misbehave.
 *
 * Threads: none. Time and randomness are passed in. Memory: owned by the link.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define LINK_NEVER INT64_MAX

/* One direction. What was read and not yet written lies in `bytes`, from `at` on. */
struct pipe {
    struct text bytes;
    size_t at;
    bool ended;              /* the reading side has said that no more comes */
    bool passed_on;          /* ... and the writing side was told */
    int64_t read_after_ns;   /* a stall: nothing is read until then */
    int64_t write_after_ns;  /* a delay, or a zombie's rest: nothing is written until then */
    int64_t delayed_till_ns; /* until then, what comes is held back for delay_ns */
    int64_t delay_ns;
    int64_t dribbles_till_ns; /* until then, a few bytes at a time are written */
};

struct link {
    int agent, server; /* descriptors; -1 once closed */
    struct pipe up, down;
    char name[64];      /* of the agent, out of its hello; "" until that has come */
    int64_t cut_ns;     /* when it is cut, at the latest */
    uint64_t cut_bytes; /* ... or after so many more bytes upwards */
    bool cut_resets;    /* with RST rather than FIN */
    /* A zombie: the agent's side is closed (at closes_ns), the server's is kept. */
    int64_t closes_ns;
    bool is_zombie;
    bool rises_with_hello; /* its rest is written when the agent says hello on another link */
    bool rises_first;      /* ... just before it, else just behind it */
    int64_t dies_ns;       /* a zombie that the server lets be */
};

/* Lends the descriptors to a new link, which closes them. */
struct link *link_new(int agent, int server);
void link_free(struct link *link);

/* What to poll for: two entries. Returns when to look again, at the latest. */
int64_t link_poll(const struct link *link, int64_t now_ns, struct pollfd polls[2]);

/* Moves bytes; false when the link is over and must be freed. */
bool link_run(struct link *link, int64_t now_ns, const struct pollfd polls[2], uint64_t random);

/* Ends all misbehaviour, but for zombies: their rest is written now. */
void link_heal(struct link *link, int64_t now_ns);

/* Writes the rest of a zombie now. */
void link_rise(struct link *link);
