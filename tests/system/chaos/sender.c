/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_sender: a named sender with a stream, written from the contract alone (docs of the wire:
 * hello, welcome, ack), that distrusts the server. Its messages are the workload's, so it needs no
 * spool: killed at any moment, it says hello again and goes on from what the server has applied.
 *
 *   chaos_sender push port=N name=WEB stream=HEX index=I messages=N state=FILE [...]
 *   chaos_sender print index=I messages=N [...]      the messages, a line each: for other senders
 *   chaos_sender expect index=I messages=N           what they add up to, as JSON
 *
 * options.h has the other words.
 *
 * `push` ends with 0 once all messages are acknowledged, and with 3 and a line on standard error as
 * soon as the server has broken its word:
 *   - applied (and committed) in a welcome are at least every ack that was ever seen. The highest
 *     one lies in the state file, which is written before the ack counts, so a kill forgets none;
 *   - committed <= applied, and nothing is applied or acknowledged that was not sent;
 *   - the chain is that of messages 1 to applied.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/scoped.h"
#include "base/text.h"
#include "options.h"
#include "workload.h"

#define RING 32768 /* messages that may be unacknowledged; a power of two */
#define OUT_BYTES 65536
#define REPLY_BYTES 4096

/* What the state file holds: the highest ack ever seen, and the chain up to there. */
struct kept {
    uint64_t acked;
    uint32_t chain;
    uint32_t check; /* CRC-32C over the above */
};

struct sender {
    const struct options *options;
    int fd; /* of the connection; -1: none */
    int state_fd;
    struct kept kept;
    uint64_t random;
    bool welcomed;
    uint64_t sent;        /* the last message that was handed to the connection */
    uint64_t sent_bytes;  /* of all messages since the ack that this process began with */
    uint64_t acked_bytes; /* of those, how many were acknowledged */
    struct {
        uint32_t chain; /* up to this message */
        uint64_t end;   /* sent_bytes behind it */
    } ring[RING];       /* of messages kept.acked to sent, by their number */
    struct text out;
    size_t written; /* of out */
    char reply[REPLY_BYTES];
    size_t reply_length;
    int64_t heard_ns;    /* when the server last said something */
    int64_t patience_ns; /* how long it may be silent while it owes us something */
    uint64_t connections, resent;
};

static uint64_t draw(struct sender *sender, uint64_t below)
{
    return workload_mix(0, ++sender->random) % below;
}

/* ---- The highest ack ---- */

static uint32_t kept_check(const struct kept *kept)
{
    return crc32c(0, kept, offsetof(struct kept, check));
}

static void open_state(struct sender *sender)
{
    struct kept kept;

    sender->state_fd = open(sender->options->state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (sender->state_fd < 0)
        die(1, "%s: %s", sender->options->state, strerror(errno));
    if (pread(sender->state_fd, &kept, sizeof kept, 0) != sizeof kept)
        return; /* the first start */
    if (kept.check != kept_check(&kept))
        die(1, "%s: torn", sender->options->state);
    sender->kept = kept;
}

/* Notes an ack; from then on the server must never fall behind it. */
static void keep(struct sender *sender, uint64_t acked, uint32_t chain)
{
    struct kept kept = {.acked = acked, .chain = chain};

    if (acked <= sender->kept.acked)
        return;
    kept.check = kept_check(&kept);
    if (pwrite(sender->state_fd, &kept, sizeof kept, 0) != sizeof kept)
        die(1, "%s: %s", sender->options->state, strerror(errno));
    sender->kept = kept;
}

/* ---- Messages ---- */

/* What stands between two messages is free. */
static void add_separator(uint64_t bits, bool is_malformed, struct text *out)
{
    static const char *const separators[] = {"\n", "\n", "\n", "\r\n", " ", "", "\n\n\t", "\n"};

    text_add_string(out, is_malformed ? "\n" : separators[bits % 8]);
}

/* Now and then the old header of 64 bytes stands before a message. */
static void add_header(size_t length, struct text *out)
{
    text_printf(out, "%-64zu", length);
}

static void add_message(struct sender *sender, uint64_t k, struct text *scratch)
{
    uint64_t bits = workload_mix(~(uint32_t)sender->options->index, k);
    bool plain = sender->options->plain != 0;
    uint32_t chain = sender->ring[(k - 1) % RING].chain;

    text_clear(scratch);
    workload_write((uint32_t)sender->options->index, k, plain, scratch);
    if (bits % 128 == 0)
        add_header(scratch->length, &sender->out);
    text_add(&sender->out, scratch->at, scratch->length);
    add_separator(bits >> 8, scratch->at[scratch->length - 1] != '}', &sender->out);
    sender->sent_bytes += scratch->length;
    sender->ring[k % RING].chain = crc32c(chain, scratch->at, scratch->length);
    sender->ring[k % RING].end = sender->sent_bytes;
    sender->sent = k;
}

static void fill(struct sender *sender)
{
    static struct text scratch;
    const struct options *options = sender->options;
    uint64_t most = options_released(options);

    if (sender->written == sender->out.length) {
        text_clear(&sender->out);
        sender->written = 0;
    }
    while (sender->sent < most && sender->out.length < OUT_BYTES &&
           sender->sent_bytes - sender->acked_bytes < options->window_bytes &&
           sender->sent - sender->kept.acked < RING - 1)
        add_message(sender, sender->sent + 1, &scratch);
    if (sender->out.failed || scratch.failed)
        die(1, "out of memory");
}

/* ---- What the server says ---- */

/* The number behind `"name":` in a reply. */
static uint64_t reply_number(const char *reply, const char *name)
{
    const char *at = strstr(reply, name);
    char *end;
    uint64_t number;

    if (at == NULL)
        die(BROKEN_WORD, "no %s in %s", name, reply);
    at += strlen(name);
    number = strtoull(at, &end, 10);
    if (end == at)
        die(BROKEN_WORD, "%s has no number in %s", name, reply);
    return number;
}

/* The messages behind the highest ack are written again, up to what the server has applied. */
static void resume(struct sender *sender, uint64_t applied)
{
    static struct text scratch;
    uint64_t acked = sender->kept.acked;

    if (sender->sent > applied)
        sender->resent += sender->sent - applied;
    sender->ring[acked % RING].chain = sender->kept.chain;
    sender->ring[acked % RING].end = sender->sent_bytes = sender->acked_bytes;
    sender->sent = acked;
    while (sender->sent < applied)
        add_message(sender, sender->sent + 1, &scratch);
    text_clear(&sender->out);
    sender->written = 0;
}

static void on_ack(struct sender *sender, uint64_t acked, const char *reply)
{
    if (acked > sender->sent)
        die(BROKEN_WORD, "acknowledged what was not sent: %s after %" PRIu64, reply, sender->sent);
    if (acked <= sender->kept.acked)
        return; /* it may be repeated */
    sender->acked_bytes = sender->ring[acked % RING].end;
    keep(sender, acked, sender->ring[acked % RING].chain);
}

static void on_welcome(struct sender *sender, const char *reply)
{
    uint64_t applied = reply_number(reply, "\"applied\":");
    uint64_t committed = reply_number(reply, "\"committed\":");
    const char *chain = strstr(reply, "\"chain\":\"");
    char expected[9];

    if (applied < sender->kept.acked || committed < sender->kept.acked)
        die(BROKEN_WORD, "LOST: %" PRIu64 " were acknowledged, but now it says %s",
            sender->kept.acked, reply);
    if (committed > applied)
        die(BROKEN_WORD, "committed more than applied: %s", reply);
    if (applied - sender->kept.acked >= RING || applied > sender->options->messages)
        die(BROKEN_WORD, "applied what was not sent (acked %" PRIu64 "): %s", sender->kept.acked,
            reply);
    resume(sender, applied);
    (void)snprintf(expected, sizeof expected, "%08" PRIx32, sender->ring[applied % RING].chain);
    if (chain == NULL || strncmp(chain + strlen("\"chain\":\""), expected, 8) != 0)
        die(BROKEN_WORD, "ANOTHER CHAIN: not %s in %s", expected, reply);
    sender->welcomed = true;
    on_ack(sender, committed, reply);
}

static void on_reply(struct sender *sender, const char *reply)
{
    if (strncmp(reply, "{\"@ack\":", 8) == 0 && sender->welcomed)
        on_ack(sender, reply_number(reply, "\"@ack\":"), reply);
    else if (strncmp(reply, "{\"@welcome\":", 12) == 0 && !sender->welcomed)
        on_welcome(sender, reply);
    else
        die(BROKEN_WORD, "the server says %s", reply);
}

/* False when the connection has ended. */
static bool hear(struct sender *sender)
{
    size_t room = sizeof sender->reply - sender->reply_length;
    ssize_t got = recv(sender->fd, sender->reply + sender->reply_length, room, MSG_DONTWAIT);
    char *at = sender->reply, *end;

    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    sender->heard_ns = clock_steady_ns();
    sender->reply_length += (size_t)got;
    while ((end = memchr(at, '\n', sender->reply_length - (size_t)(at - sender->reply))) != NULL) {
        *end = '\0';
        on_reply(sender, at);
        at = end + 1;
    }
    sender->reply_length -= (size_t)(at - sender->reply);
    if (sender->reply_length == sizeof sender->reply)
        die(BROKEN_WORD, "a reply without an end");
    memmove(sender->reply, at, sender->reply_length);
    return true;
}

/* ---- The connection ---- */

static void hang_up(struct sender *sender)
{
    close_at(&sender->fd);
    sender->fd = -1;
    sender->welcomed = false;
    sender->reply_length = 0;
}

static void say_hello(struct sender *sender)
{
    const struct options *options = sender->options;

    text_clear(&sender->out);
    sender->written = 0;
    text_printf(&sender->out,
                "{\"@hello\":{\"agent\":\"%s\",\"stream\":\"%s\",\"first\":1,"
                "\"chain\":\"00000000\",\"instance\":\"%" PRIx64 "\"}}\n",
                options->name, options->stream, options->seed);
}

static bool call(struct sender *sender)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)sender->options->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    sender->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sender->fd < 0)
        die(1, "socket: %s", strerror(errno));
    if (connect(sender->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        hang_up(sender);
        return false;
    }
    sender->connections++;
    sender->heard_ns = clock_steady_ns();
    sender->patience_ns = (int64_t)(300 + draw(sender, 2700)) * NS_PER_MS;
    say_hello(sender);
    return true;
}

static bool speak(struct sender *sender)
{
    ssize_t wrote;

    if (sender->welcomed)
        fill(sender);
    if (sender->written == sender->out.length)
        return true;
    wrote = send(sender->fd, sender->out.at + sender->written, sender->out.length - sender->written,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
    if (wrote < 0)
        return errno == EAGAIN || errno == EINTR;
    sender->written += (size_t)wrote;
    return true;
}

/* A server that says nothing for long while it owes us something is left with what was sent. */
static bool is_patient(struct sender *sender)
{
    int64_t now_ns = clock_steady_ns();

    if (sender->welcomed && sender->sent == sender->kept.acked)
        sender->heard_ns = now_ns;
    return now_ns - sender->heard_ns < sender->patience_ns;
}

static void wait_for_news(struct sender *sender)
{
    struct pollfd news = {.fd = sender->fd, .events = POLLIN};

    if (sender->written < sender->out.length)
        news.events |= POLLOUT;
    (void)poll(&news, 1, 5);
}

static int push(const struct options *options)
{
    static struct sender sender;

    sender = (struct sender){.options = options, .fd = -1, .random = options->seed << 20};
    open_state(&sender);
    while (sender.kept.acked < options->messages) {
        if (sender.fd < 0 && !call(&sender)) {
            (void)poll(NULL, 0, 2 + (int)draw(&sender, 40));
            continue;
        }
        if (!speak(&sender) || !hear(&sender) || !is_patient(&sender)) {
            hang_up(&sender);
            (void)poll(NULL, 0, (int)draw(&sender, 30));
            continue;
        }
        wait_for_news(&sender);
    }
    (void)printf("{\"connections\": %" PRIu64 ", \"resent\": %" PRIu64 "}\n", sender.connections,
                 sender.resent);
    return 0;
}

/* ---- For other senders, and for the end ---- */

static int print(const struct options *options)
{
    SCOPED(text_free) struct text out = {0};

    for (uint64_t k = options->first > 0 ? options->first - 1 : 0;
         k < options->messages && !ferror(stdout);) {
        for (uint64_t most = options_released(options); k < most && out.length < OUT_BYTES;) {
            workload_write((uint32_t)options->index, ++k, options->plain != 0, &out);
            text_add_char(&out, '\n');
        }
        if (out.failed)
            die(1, "out of memory");
        if (out.length == 0) {
            (void)poll(NULL, 0, 5);
            continue;
        }
        (void)fwrite(out.at, 1, out.length, stdout);
        (void)fflush(stdout);
        text_clear(&out);
    }
    return ferror(stdout) ? 1 : 0;
}

static void print_paths(const uint64_t paths[WORKLOAD_PATHS])
{
    const char *before = "";

    for (size_t i = 0; i < WORKLOAD_PATHS; i++) {
        if (paths[i] == 0)
            continue;
        (void)printf("%s\"/%zu\": %" PRIu64, before, i, paths[i]);
        before = ", ";
    }
}

static int expect(const struct options *options)
{
    struct workload_totals totals = {0};
    SCOPED(text_free) struct text scratch = {0};

    while (totals.messages < options->messages)
        workload_tally((uint32_t)options->index, options->plain != 0, &totals, &scratch);
    (void)printf("{\"messages\": %" PRIu64 ", \"samples\": %" PRIu64 ", \"chain\": \"%08" PRIx32
                 "\", \"pushes\": %" PRIu64 ", \"letters\": %" PRIu64 ", \"sizes\": %" PRIu64
                 ", \"sizes_sum\": %" PRIu64 ", \"last\": %" PRIu64 ", \"level\": %" PRId64
                 ", \"buckets\": {",
                 totals.messages, totals.samples, totals.chain, totals.pushes, totals.letters,
                 totals.sizes, totals.sizes_sum, totals.last, totals.level);
    for (size_t i = 0; i < WORKLOAD_BOUNDS; i++)
        (void)printf("\"%" PRIu32 "\": %" PRIu64 ", ", workload_bounds[i], totals.buckets[i]);
    (void)printf("\"+Inf\": %" PRIu64 "}, \"paths\": {", totals.sizes);
    print_paths(totals.paths);
    (void)printf("}}\n");
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    const struct options options = options_read(argc - 2, argv + 2);

    if (strcmp(mode, "push") == 0 && options.name && options.stream && options.state)
        return push(&options);
    if (strcmp(mode, "print") == 0)
        return print(&options);
    if (strcmp(mode, "expect") == 0)
        return expect(&options);
    die(64, "push, print or expect? (its source has the words)");
}
