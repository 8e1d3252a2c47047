/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * rasad/client.h: push messages to a Rasad server from a program of your own, each exactly once,
 * whatever is killed, cut or restarted in between. It is what rasad-agent itself pushes with, and
 * the only header that is needed. C, and C++; link with -lrasad-client (pkg-config rasad-client,
 * CMake rasad::client). docs/client.md has a whole program and tells how a source that can be read
 * again goes on after a kill -9.
 *
 * A message is one JSON object, such as {"jobs_done": 1}; the server's conf says what becomes of
 * its members. A push brings it into the client's spool, a folder, and returns once it is safe
 * there. Threads inside bring it to a server, and again after any break, until the server has it on
 * its disk. What isn't delivered when the client is closed, or the process killed, is delivered by
 * the next client that is opened with the same name and spool.
 *
 * Threads:  all functions may be called from any thread, also of the same client at the same time,
 *           but rasad_client_close(), which must be the last one. Pushes of several threads share
 *           the disk's syncs, so ten threads are not slower than one.
 * Signals:  the library installs no handler and raises no SIGPIPE. Its own threads take no signals.
 * fork():   a child must not use, nor close, what its parent has opened. It holds the spool's lock
 *           as long as it neither ends nor calls exec.
 * Process:  the library never ends it, whatever the world does. It stays loaded after dlclose().
 * Strings:  UTF-8, and copied: what is passed may go as soon as a function returns.
 * Errors:   a function that can fail returns an enum rasad_client_result, 0 if all is well. It then
 *           leaves the struct rasad_client_error as it was, else it says there what was wrong, for
 *           people to read. The error may be NULL.
 * Units:    a time-out is in milliseconds, negative for ever, 0 without waiting.
 *
 * Compatibility: the library's major number (librasad-client.so.0) changes with its ABI. Within it
 * options and counts grow at their end only, which their size tells; results get new values only.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open spool, and the connections that empty it. */
struct rasad_client;

/* Why something failed: one sentence, NUL-terminated, without a line feed. */
struct rasad_client_error {
    char text[512];
};

enum rasad_client_result {
    RASAD_CLIENT_OK = 0,
    RASAD_CLIENT_FULL = 1,    /* no room in the spool; it comes with a server's acknowledgements */
    RASAD_CLIENT_REFUSED = 2, /* what was passed will never do: no message, a wrong option */
    RASAD_CLIENT_LATE = 3,    /* the time is over before what was waited for has come */
    RASAD_CLIENT_FAILED = 4,  /* the world: no memory, a disk that fails, a spool in use */
};

/* When a message is safe, and a push returns. */
enum rasad_client_sync {
    RASAD_CLIENT_SYNC_DISK = 0,   /* on the disk: it survives a power cut */
    RASAD_CLIENT_SYNC_OS = 1,     /* with the kernel: it survives a kill -9 */
    RASAD_CLIENT_SYNC_MEMORY = 2, /* nowhere: there is no folder, and nothing survives */
};

/* What becomes of new messages while the spool is full, because no server takes the old ones. */
enum rasad_client_when_full {
    RASAD_CLIENT_BLOCK = 0,       /* a push waits for room, or says RASAD_CLIENT_FULL */
    RASAD_CLIENT_DROP_OLDEST = 1, /* the oldest go, and the server is told how many they were */
};

/* The level of a line for the log. */
enum rasad_client_level {
    RASAD_CLIENT_INFO = 0,
    RASAD_CLIENT_WARNING = 1,
    RASAD_CLIENT_ERROR = 2,
};

/* What to open. Members that are zero have the value that is meant for most. */
struct rasad_client_options {
    size_t size; /* sizeof(struct rasad_client_options) */
    /*
     * "HOST:PORT", "HOST" (port 5050), "[V6]:PORT", in order of preference; at least one. Messages
     * go to the first that is there. What was once sent to one is kept for that one until it has
     * acknowledged it.
     */
    const char *const *servers;
    size_t server_count;
    /* The agent's name, which series carry: 1 to 255 bytes without control characters. NULL: the
     * host's name. */
    const char *name;
    /*
     * The folder of the spool, made if need be; one client at a time has it. "": in memory. NULL:
     * as rasad-agent has it, the first of $STATE_DIRECTORY, $XDG_STATE_HOME/rasad-agent/NAME and
     * ~/.local/state/rasad-agent/NAME.
     */
    const char *spool;
    uint64_t spool_max; /* bytes, 64 KiB to 16 GiB; 0: 64 MiB, in memory 8 MiB */
    int sync;           /* enum rasad_client_sync */
    int when_full;      /* enum rasad_client_when_full */
    /*
     * Takes a line about connections made and lost, and the state of the spool: NUL-terminated,
     * `text key=value key="value 2"`. Called from any thread, several at once, also within a push;
     * it must be quick and call none of the functions below. NULL: nothing is said.
     */
    void (*log)(void *context, int level, const char *line);
    void *log_context; /* passed on to log; lent until rasad_client_close() has returned */
};

/*
 * Opens the spool and begins to connect, which it doesn't wait for: a server may be away.
 * RASAD_CLIENT_FAILED if another process has the spool, or it can't be written.
 */
int rasad_client_open(const struct rasad_client_options *options, struct rasad_client **client,
                      struct rasad_client_error *error);

/*
 * Pushes one message and returns once it is as safe as options.sync says: no end of the process
 * loses it then. Waits as long as it takes: for a sync of the disk, and for room under
 * RASAD_CLIENT_BLOCK. RASAD_CLIENT_REFUSED if it isn't one JSON object (blanks around it are left
 * out) of well-formed UTF-8, at most 1 MiB or a quarter of the spool long and 32 levels deep,
 * without a member of its own whose name begins with '@'. Nothing was taken then.
 */
int rasad_client_push(struct rasad_client *client, const char *json, size_t length,
                      struct rasad_client_error *error);

/* One message of many. Lent. */
struct rasad_client_message {
    const char *json;
    size_t length; /* bytes */
};

/*
 * Pushes messages in their order, with one sync for all that fit in a group of 256 KiB. Waits for
 * room at most so long, and for the disk as long as it takes. `*pushed` (which may be NULL) is how
 * many were taken, the first ones; the others were not, and may be pushed again: so many are all of
 * them on RASAD_CLIENT_OK, maybe some on RASAD_CLIENT_FULL (no room came) and RASAD_CLIENT_FAILED
 * (the disk fails, or no memory). None on RASAD_CLIENT_REFUSED: one of them is no message.
 */
int rasad_client_push_many(struct rasad_client *client, const struct rasad_client_message *messages,
                           size_t count, int64_t timeout_ms, size_t *pushed,
                           struct rasad_client_error *error);

/*
 * Hands over a message that is safe only after rasad_client_sync(), and doesn't wait for the disk,
 * unless that doesn't follow: then under RASAD_CLIENT_BLOCK it is RASAD_CLIENT_FULL at 2 MiB, and
 * under RASAD_CLIENT_DROP_OLDEST the oldest of them are dropped after a second.
 */
int rasad_client_post(struct rasad_client *client, const char *json, size_t length,
                      struct rasad_client_error *error);

/* Waits until all that was posted is safe, or dropped; else it is RASAD_CLIENT_LATE. */
int rasad_client_sync(struct rasad_client *client, int64_t timeout_ms,
                      struct rasad_client_error *error);

/*
 * How many messages the spool has ever taken under this name, in this process and all before it,
 * delivered and dropped ones as well. Exact after any end of the process, and with
 * RASAD_CLIENT_SYNC_DISK of the machine. So a source that numbers its messages from 1, and pushes
 * them in order from one thread, goes on with message rasad_client_taken() + 1 after
 * rasad_client_open(), and none is lost or doubled. In memory it begins with 0.
 */
uint64_t rasad_client_taken(struct rasad_client *client);

/* What became of the messages. */
struct rasad_client_counts {
    size_t size;      /* sizeof(struct rasad_client_counts), set by the caller */
    uint64_t pending; /* taken, now or earlier, and neither acknowledged nor dropped */
    uint64_t acked;   /* since it was opened; a server acknowledges those that it was told are
                         dropped, so these are in it, too */
    uint64_t dropped; /* since it was opened; the server counts them, too */
};

/* Fills the counts. While messages go on, one on its way may count as pending twice, never not. */
void rasad_client_counts(struct rasad_client *client, struct rasad_client_counts *counts);

/*
 * Waits until nothing is pending: all that was taken is on a server's disk (with its applied state;
 * a server without state_dir has none, and acknowledges at once). RASAD_CLIENT_LATE if that didn't
 * come in time. Pushes of other threads meanwhile are waited for as well.
 */
int rasad_client_flush(struct rasad_client *client, int64_t timeout_ms,
                       struct rasad_client_error *error);

/* Ends the connections and frees the client; NULL is fine. What is pending stays in the spool, for
 * the next one that opens it; in memory it is lost. It waits for no server. */
void rasad_client_close(struct rasad_client *client);

#ifdef __cplusplus
}
#endif
