/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * connection: one sender's socket: its bytes in, framed and handed to ingest or to the protocol;
 * replies out.
 * Threads: a connection belongs to one shard at a time, and changes hands only between them
 * (CONNECTION_HANDOVER), when a hello says that its agent belongs to another.
 * Memory: what a message leaves unfinished, at most max_message bytes, and unsent replies, at most
 * CONNECTION_MAX_UNSENT.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agents.h"
#include "base/address.h"
#include "base/frame.h"
#include "base/text.h"
#include "ingest.h"

/* A peer that lets more replies lie is closed. */
#define CONNECTION_MAX_UNSENT (64 << 10)

/* Room for 128 random bits in hexadecimal digits, with its NUL. */
#define CONNECTION_AGAIN_LENGTH 33

/* How many bytes one read takes at most: a batch of it must not keep the others waiting. */
#define CONNECTION_READ_BYTES (64 << 10)

/* Room for that and for what a message left unfinished before it. */
#define CONNECTION_BUFFER_BYTES (2 * CONNECTION_READ_BYTES)

enum connection_status {
    CONNECTION_GOES_ON,
    CONNECTION_HANDOVER, /* its agent belongs to shard connection->shard */
    CONNECTION_ENDS,     /* to be closed, once the replies are sent */
    CONNECTION_BROKEN,   /* to be closed at once */
};

struct standing_slot;

struct connection {
    int fd;
    int shard; /* which one it belongs to */
    char address[ADDRESS_LENGTH];
    struct frame frame;
    struct text in;        /* an unfinished message, and what a handover brought unread */
    struct text out;       /* replies not sent yet */
    struct agent *agent;   /* a reference; NULL before the first message */
    struct stream *stream; /* of a named sender with exactly-once */
    uint64_t messages;     /* taken on this connection */
    uint64_t acknowledged; /* the number in the last ack or welcome */
    bool counts_as_agent;  /* it is one of rasad_agents */
    bool named;            /* by a hello */
    bool wants_to_write;   /* the poller waits for room */
    bool ending;           /* nothing more is read; unsent replies keep it open */
    bool drained;          /* what it held when the server began to stop is applied */
    bool shares_lines;     /* some message of it had no line of its own */
    bool is_stored;        /* the service manager has a dup of its socket */
    int64_t begun_ns;      /* steady: when its shard first had it */
    /* What a process that is gone has taken from it nobody knows, so its sender is asked to say
     * hello again, with these digits, and until then nothing counts; "": that is not so. */
    char again[CONNECTION_AGAIN_LENGTH];
    struct standing_slot *slot;         /* lent: where it stands is noted there; NULL: nowhere */
    bool reports;                       /* its sender is told what becomes of each sample */
    struct report report;               /* how */
    const char *why;                    /* it ends: in words, for the log */
    struct connection *next, *previous; /* in its shard's list */
};

/* What a connection works with; the shard's own. */
struct connection_context {
    struct ingest *ingest;
    struct agents *agents;
    int shard;
    int shard_count;
    _Atomic int64_t *agent_count; /* rasad_agents */
    char *buffer;                 /* CONNECTION_BUFFER_BYTES to read into */
    struct connection *fenced;    /* out: one that lost its stream to another and must be closed */
    uint64_t bytes_read;          /* out: since the last cut */
};

/* Which shard an agent of this name, or an unnamed sender of this address, belongs to. */
int connection_shard(const char *name, size_t length, int shard_count);

/* Takes over the descriptor, even on NULL (no memory; it is closed then). */
struct connection *connection_new(int fd, const char *address, size_t max_message);

/* Has its sender say hello again before anything else, for what it sent meanwhile may have been
 * applied or not; false without random bytes. */
bool connection_ask_again(struct connection *connection);

/* Notes in its slot where it stands, all bytes that were read being applied. */
void connection_note_place(struct connection *connection);

/* From now on its sender is told what becomes of each sample. */
void connection_make_report(struct connection *connection);

/* Who sends on it, as ingest wants to know it; for a refusal, since it has no message's number. */
struct sender connection_sender(struct connection *connection);

/* Counts it among the shard's connections; it is not read yet. */
void connection_begin(struct connection *connection, struct connection_context *context);

/* From now on it speaks for this agent. */
void connection_take_agent(struct connection *connection, struct connection_context *context,
                           struct agent *agent);

/* Reads what is there, once, and applies it. */
enum connection_status connection_read(struct connection *connection,
                                       struct connection_context *context);

/* Applies what a handover brought along. */
enum connection_status connection_resume(struct connection *connection,
                                         struct connection_context *context);

/* Sends what is unsent. GOES_ON, or BROKEN. */
enum connection_status connection_flush(struct connection *connection);

/* Leaves the shard's books: streams, agents, counts. */
void connection_end(struct connection *connection, struct connection_context *context);

/* Ends the sending side, so that the peer can read the last replies: what it sent meanwhile and
 * nobody read would break the connection under them. */
void connection_say_goodbye(struct connection *connection);

/* Closes the socket and frees it. */
void connection_free(struct connection *connection);
