/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/scoped.h"

#define DEFAULT_PORT 5050
#define NEVER INT64_MAX
#define CONNECT_NS NS_PER_S            /* for an address, while there are others */
#define LAST_CONNECT_NS (5 * NS_PER_S) /* for the last one */
#define WELCOME_NS (5 * NS_PER_S)
#define SLOW_NS NS_PER_S /* a try that takes longer is as good as failed to the next server */
#define OUT_BYTES (64 << 10)
#define REPLY_BYTES (64 << 10)
#define DEAD_PEER_MS 30000 /* a connection whose bytes the peer's kernel doesn't take any more */

/* ---- Beginning and ending connections ---- */

static void hang_up(struct link *link)
{
    if (link->spool != NULL)
        spool_hang_up(link->spool, link->index);
    close_at(&link->fd);
    link->fd = -1;
    text_clear(&link->out);
    text_clear(&link->in);
    link->out_sent = 0;
    memset(link->pings, 0, sizeof link->pings);
    lookup_drop(link->lookup);
    link->lookup = NULL;
    if (link->infos != NULL)
        freeaddrinfo(link->infos);
    link->infos = NULL;
    link->next_info = NULL;
}

/* splitmix64 (Steele, Lea, Flood 2014), for jitter. */
static uint64_t next_random(struct link *link)
{
    uint64_t z = link->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* This try has failed, or the connection is lost: another one after a while. */
static void fail(struct link *link, const char *reason, int64_t now_ns)
{
    int64_t delay_ns = backoff_next(&link->backoff, now_ns, next_random(link));
    char delay[32];

    if (link->state == LINK_READY)
        log_info(link->log, "connection lost", log_text("server", link->server),
                 log_text("reason", reason), log_text("agent", link->agent));
    (void)snprintf(delay, sizeof delay, "%gs", (double)delay_ns / NS_PER_S);
    log_info(link->log, "Trying to reconnect", log_text("server", link->server),
             log_text("delay", delay), log_text("reason", reason), log_text("agent", link->agent));
    hang_up(link);
    link->state = LINK_WAITING;
    link->deadline_ns = now_ns + delay_ns;
}

static void start_lookup(struct link *link, int64_t now_ns)
{
    struct rasad_error error;

    link->state = LINK_RESOLVING;
    link->since_ns = now_ns;
    link->deadline_ns = NEVER;
    if (!lookup_start(link->host, link->port, link->wake_fd, &link->lookup, &error))
        fail(link, error.text, now_ns);
}

/* A socket that connects to the address; -1 with errno set if it can't begin. */
static int begin_connect(const struct addrinfo *info)
{
    static const int on = 1, idle_s = 15, interval_s = 5, probes = 3;
    static const unsigned dead_ms = DEAD_PEER_MS;
    SCOPED(close_at)
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    if (connect(fd, info->ai_addr, info->ai_addrlen) != 0 && errno != EINPROGRESS &&
        errno != EINTR) /* a connect that a signal interrupts goes on */
        return -1;
    return take_fd(&fd);
}

/* Tries the addresses that are left, until one is on its way. */
static void connect_next(struct link *link, int64_t now_ns)
{
    while (link->next_info != NULL) {
        const struct addrinfo *info = link->next_info;

        link->next_info = info->ai_next;
        close_at(&link->fd);
        link->fd = begin_connect(info);
        if (link->fd >= 0) {
            link->state = LINK_CONNECTING;
            link->deadline_ns = now_ns + (link->next_info != NULL ? CONNECT_NS : LAST_CONNECT_NS);
            return;
        }
        (void)rasad_fail(&link->error, "%s", strerror(errno));
    }
    fail(link, link->error.text, now_ns);
}

static void end_lookup(struct link *link, int64_t now_ns)
{
    struct addrinfo *infos = NULL;

    if (!lookup_ended(link->lookup, &infos, &link->error))
        return;
    lookup_drop(link->lookup);
    link->lookup = NULL;
    link->infos = infos;
    link->next_info = infos;
    connect_next(link, now_ns);
}

/* `again` are the digits with which the server has asked for it; NULL: it begins the connection.
 * What was half sent before it is a line of its own, which the server passes over. */
static bool say_hello(struct link *link, const char *again, int64_t now_ns,
                      struct rasad_error *error)
{
    struct spool_hello hello;

    if (!spool_hello(link->spool, link->index, &hello))
        return rasad_fail(error, "the new stream isn't there yet");
    text_clear(&link->out);
    link->out_sent = 0;
    text_add_string(&link->out,
                    again != NULL ? "\n{\"@hello\":{\"agent\":" : "{\"@hello\":{\"agent\":");
    text_add_json(&link->out, link->agent, strlen(link->agent));
    text_printf(&link->out,
                ",\"stream\":\"%s\",\"instance\":\"%s\",\"first\":%" PRIu64
                ",\"chain\":\"%08" PRIx32 "\"",
                hello.stream, link->instance, hello.first, hello.chain);
    if (again != NULL)
        text_printf(&link->out, ",\"again\":\"%s\"", again);
    text_add_string(&link->out, "}}\n");
    link->state = LINK_GREETING;
    link->deadline_ns = now_ns + WELCOME_NS;
    return true;
}

static void end_connect(struct link *link, short events, int64_t now_ns)
{
    int why = 0;
    socklen_t size = sizeof why;

    if (events == 0 && now_ns < link->deadline_ns)
        return;
    if (events == 0)
        why = ETIMEDOUT;
    else if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &why, &size) != 0)
        why = errno;
    link->frame = frame_make(REPLY_BYTES);
    if (why == 0) {
        if (!say_hello(link, NULL, now_ns, &link->error))
            fail(link, link->error.text, now_ns);
        return;
    }
    (void)rasad_fail(&link->error, "%s", strerror(why));
    connect_next(link, now_ns);
}

/* ---- What the server says ---- */

static bool hear_welcome(struct link *link, const struct reply *welcome, int64_t now_ns,
                         struct rasad_error *error)
{
    if (link->state != LINK_GREETING)
        return rasad_fail(error, "the server says welcome unasked");
    link->has_news = true;
    if (!spool_welcome(link->spool, link->index, welcome->applied, welcome->committed,
                       welcome->has_chain ? &welcome->chain : NULL, now_ns, error))
        return false;
    link->state = LINK_READY;
    link->deadline_ns = NEVER;
    link->backoff = (struct backoff){0};
    log_info(link->log, "connected", log_text("server", link->server),
             log_number("unacknowledged", (int64_t)spool_unacked(link->spool, link->index)),
             log_text("agent", link->agent));
    return true;
}

static bool hear_ack(struct link *link, const struct reply *ack, int64_t now_ns,
                     struct rasad_error *error)
{
    if (link->state != LINK_READY || !spool_ack(link->spool, link->index, ack->committed, now_ns))
        return rasad_fail(error, "the server acknowledges message %" PRIu64 ", which it never got",
                          ack->committed);
    link->has_news = true;
    return true;
}

static void hear_pong(struct link *link, const struct reply *pong, int64_t now_ns)
{
    struct link_ping *ping = &link->pings[pong->pong % LINK_PINGS];

    if (pong->pong == 0 || ping->id != pong->pong || ping->sent_ns == 0)
        return;
    if (link->pong_count < LINK_PINGS)
        link->pongs[link->pong_count++] =
            (struct link_pong){.token = ping->token, .rtt_ns = now_ns - ping->sent_ns};
    ping->id = 0;
}

/* The connection has come to another process of the server, which only knows what its disk does. It
 * is as after a reconnect, but that the way there is open. */
static bool hear_again(struct link *link, const struct reply *reply, int64_t now_ns,
                       struct rasad_error *error)
{
    spool_hang_up(link->spool, link->index);
    memset(link->pings, 0, sizeof link->pings);
    link->since_ns = now_ns;
    log_info(link->log, "the server has started anew, and the connection goes on",
             log_text("server", link->server), log_text("agent", link->agent));
    return say_hello(link, reply->again, now_ns, error);
}

static bool hear(struct link *link, const struct reply *reply, int64_t now_ns,
                 struct rasad_error *error)
{
    switch (reply->kind) {
    case REPLY_WELCOME:
        return hear_welcome(link, reply, now_ns, error);
    case REPLY_ACK:
        return hear_ack(link, reply, now_ns, error);
    case REPLY_PONG:
        hear_pong(link, reply, now_ns);
        return true;
    case REPLY_AGAIN:
        return hear_again(link, reply, now_ns, error);
    case REPLY_ERROR:
        return rasad_fail(error, "the server refuses: %s: %s", reply->reason, reply->text);
    case REPLY_BROKEN:
        return rasad_fail(error, "the server's answer makes no sense");
    case REPLY_OTHER:
        break;
    }
    return true;
}

/* Takes the whole replies out of `in`. */
static bool hear_all(struct link *link, int64_t now_ns, struct rasad_error *error)
{
    size_t at, size, dropped;
    enum frame_kind kind;

    while ((kind = frame_next(&link->frame, link->in.at, link->in.length, &at, &size)) !=
           FRAME_MORE) {
        struct reply reply;

        if (kind != FRAME_OBJECT)
            return rasad_fail(error, "what answers is no Rasad server");
        reply = reply_parse(link->in.at + at, size);
        if (!hear(link, &reply, now_ns, error))
            return false;
    }
    dropped = frame_drop(&link->frame);
    link->in.length -= dropped;
    memmove(link->in.at, link->in.at + dropped, link->in.length);
    return true;
}

/* Reads what is there; false if the connection is at its end. */
static bool receive(struct link *link, struct rasad_error *error)
{
    for (int reads = 0; reads < 16; reads++) { /* then the other links have their turn */
        ssize_t got;
        int64_t now_ns;

        if (!text_reserve(&link->in, 4096))
            return rasad_fail_memory(error);
        got = recv(link->fd, link->in.at + link->in.length, 4096, 0);
        now_ns = clock_steady_ns(); /* at once, since pongs are timed by it */
        if (got == 0)
            return rasad_fail(error, "the server closed the connection");
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ||
                   rasad_fail(error, "%s", strerror(errno));
        link->in.length += (size_t)got;
        if (!hear_all(link, now_ns, error))
            return false;
    }
    return true;
}

/* ---- What we say ---- */

static void write_pings(struct link *link)
{
    for (size_t i = 0; i < LINK_PINGS; i++) {
        if (link->pings[i].id != 0 && link->pings[i].sent_ns == 0)
            text_printf(&link->out, "{\"@ping\":%" PRIu64 "}\n", link->pings[i].id);
    }
}

/* Puts the next objects into `out`, which the kernel has taken all of: pings go first. False
 * if that can't be done. */
static bool fill(struct link *link, struct rasad_error *error)
{
    text_clear(&link->out);
    link->out_sent = 0;
    if (link->state != LINK_READY)
        return true;
    write_pings(link);
    return spool_send(link->spool, link->index, &link->out, OUT_BYTES, error);
}

static void stamp_pings(struct link *link)
{
    int64_t now_ns = clock_steady_ns();

    for (size_t i = 0; i < LINK_PINGS; i++) {
        if (link->pings[i].id != 0 && link->pings[i].sent_ns == 0)
            link->pings[i].sent_ns = now_ns;
    }
}

/* Sends until the kernel takes no more or nothing is left. */
static bool transmit(struct link *link, struct rasad_error *error)
{
    for (;;) {
        ssize_t put;

        if (link->out_sent == link->out.length) {
            if (!fill(link, error)) {
                link->out.failed = false;
                return false;
            }
            if (link->out.length == 0)
                return true;
            stamp_pings(link);
        }
        put = send(link->fd, link->out.at + link->out_sent, link->out.length - link->out_sent,
                   MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ||
                   rasad_fail(error, "%s", strerror(errno));
        link->out_sent += (size_t)put;
    }
}

/* ---- For the client ---- */

bool link_open(struct link *link, const char *server, const char *agent, const char *instance,
               const struct log *log, int wake_fd, struct rasad_error *error)
{
    *link = (struct link){.agent = agent,
                          .instance = instance,
                          .log = log,
                          .wake_fd = wake_fd,
                          .fd = -1,
                          .deadline_ns = NEVER};
    if (!address_split(server, DEFAULT_PORT, link->host, &link->port, error))
        return false;
    (void)snprintf(link->server, sizeof link->server,
                   strchr(link->host, ':') != NULL ? "[%s]:%u" : "%s:%u", link->host, link->port);
    if (getrandom(&link->random, sizeof link->random, 0) != sizeof link->random)
        return rasad_fail(error, "no random bytes: %s", strerror(errno));
    return true;
}

void link_bind(struct link *link, struct spool *spool, size_t index)
{
    link->spool = spool;
    link->index = index;
}

void link_close(struct link *link)
{
    hang_up(link);
    text_free(&link->out);
    text_free(&link->in);
}

void link_want(struct link *link, bool wanted, int64_t now_ns)
{
    wanted = wanted || spool_unacked(link->spool, link->index) > 0;
    if (wanted && link->state == LINK_RESTING) {
        start_lookup(link, now_ns);
    } else if (!wanted && link->state != LINK_RESTING) {
        if (link->state == LINK_READY)
            log_info(link->log, "disconnected", log_text("server", link->server),
                     log_text("agent", link->agent));
        hang_up(link);
        link->state = LINK_RESTING;
        link->deadline_ns = NEVER;
        link->backoff = (struct backoff){0};
    }
}

int64_t link_failing_ns(const struct link *link)
{
    if (link->state == LINK_RESTING || link->state == LINK_READY)
        return NEVER;
    return link->backoff.since_ns != 0 ? link->backoff.since_ns : link->since_ns + SLOW_NS;
}

void link_ping(struct link *link, uint64_t token)
{
    if (link->state != LINK_READY)
        return;
    link->last_ping++;
    link->pings[link->last_ping % LINK_PINGS] =
        (struct link_ping){.id = link->last_ping, .token = token};
}

struct pollfd link_pollfd(const struct link *link)
{
    struct pollfd wanted = {.fd = link->fd, .events = POLLIN};

    /* After link_step() bytes are only left if the kernel would not take them. */
    if (link->state == LINK_CONNECTING)
        wanted.events = POLLOUT;
    else if (link->out_sent < link->out.length)
        wanted.events |= POLLOUT;
    return wanted;
}

void link_step(struct link *link, short events, int64_t now_ns)
{
    struct rasad_error error;

    if (link->state == LINK_WAITING && now_ns >= link->deadline_ns)
        start_lookup(link, now_ns);
    if (link->state == LINK_RESOLVING)
        end_lookup(link, now_ns);
    else if (link->state == LINK_CONNECTING)
        end_connect(link, events, now_ns);
    if (link->state != LINK_GREETING && link->state != LINK_READY)
        return;
    if ((events & ~POLLOUT) != 0 && !receive(link, &error))
        fail(link, error.text, now_ns);
    else if (link->state == LINK_GREETING && now_ns >= link->deadline_ns)
        fail(link, "no welcome within 5 s", now_ns);
    else if (!transmit(link, &error))
        fail(link, error.text, now_ns);
}
