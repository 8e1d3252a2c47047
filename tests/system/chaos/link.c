/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/scoped.h"

#define PIPE_BYTES (1 << 20) /* a pipe that holds so many reads no more */
#define READ_BYTES 65536
#define ZOMBIE_DIES_NS (10 * NS_PER_S)

struct link *link_new(int agent, int server)
{
    struct link *link = calloc(1, sizeof *link);

    if (link == NULL)
        abort();
    link->agent = agent;
    link->server = server;
    link->cut_ns = link->closes_ns = link->dies_ns = LINK_NEVER;
    link->cut_bytes = UINT64_MAX;
    return link;
}

/* So that closing resets the connection. */
static void reset_on_close(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

void link_free(struct link *link)
{
    if (link->cut_resets && link->agent >= 0)
        reset_on_close(link->agent);
    if (link->cut_resets && link->server >= 0)
        reset_on_close(link->server);
    close_at(&link->agent);
    close_at(&link->server);
    text_free(&link->up.bytes);
    text_free(&link->down.bytes);
    free(link);
}

static size_t pipe_holds(const struct pipe *pipe)
{
    return pipe->bytes.length - pipe->at;
}

/* ---- What to wait for ---- */

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Adds what this pipe waits for to the entries of the side it reads and the side it writes. */
static int64_t pipe_poll(const struct pipe *pipe, int64_t now_ns, struct pollfd *from,
                         struct pollfd *to)
{
    int64_t next_ns = LINK_NEVER;

    if (!pipe->ended && pipe_holds(pipe) < PIPE_BYTES) {
        if (pipe->read_after_ns <= now_ns)
            from->events |= POLLIN;
        else
            next_ns = pipe->read_after_ns;
    }
    if (pipe_holds(pipe) > 0) {
        if (pipe->write_after_ns <= now_ns)
            to->events |= POLLOUT;
        else
            next_ns = earliest(next_ns, pipe->write_after_ns);
    }
    return next_ns;
}

int64_t link_poll(const struct link *link, int64_t now_ns, struct pollfd polls[2])
{
    int64_t next_ns = earliest(earliest(link->cut_ns, link->closes_ns), link->dies_ns);

    polls[0] = (struct pollfd){.fd = link->agent};
    polls[1] = (struct pollfd){.fd = link->server};
    next_ns = earliest(next_ns, pipe_poll(&link->up, now_ns, &polls[0], &polls[1]));
    next_ns = earliest(next_ns, pipe_poll(&link->down, now_ns, &polls[1], &polls[0]));
    /* A hang-up is reported whether or not one asks; a pipe that must not notice yet looks away. */
    if (polls[0].events == 0)
        polls[0].fd = -1;
    if (polls[1].events == 0)
        polls[1].fd = -1;
    return next_ns;
}

/* ---- Moving bytes ---- */

/* False when the connection is broken. */
static bool pipe_read(struct pipe *pipe, int from, int64_t now_ns)
{
    bool was_empty = pipe_holds(pipe) == 0;
    ssize_t got;

    if (was_empty) {
        text_clear(&pipe->bytes);
        pipe->at = 0;
    }
    if (!text_reserve(&pipe->bytes, READ_BYTES))
        abort();
    got = recv(from, pipe->bytes.at + pipe->bytes.length, READ_BYTES, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    pipe->ended = got == 0;
    pipe->bytes.length += (size_t)got;
    if (was_empty && now_ns < pipe->delayed_till_ns && pipe->write_after_ns < now_ns)
        pipe->write_after_ns = now_ns + pipe->delay_ns;
    return true;
}

/* Writes at most `most` bytes and takes those written off it; false when it is broken. */
static bool pipe_write(struct pipe *pipe, int to, uint64_t *most, int64_t now_ns, uint64_t random)
{
    size_t length = pipe_holds(pipe);
    ssize_t wrote;

    if (now_ns < pipe->dribbles_till_ns)
        length = length < 16 ? length : 1 + random % 16;
    if (length > *most)
        length = *most;
    wrote = send(to, pipe->bytes.at + pipe->at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (wrote < 0)
        return errno == EAGAIN || errno == EINTR;
    pipe->at += (size_t)wrote;
    if (*most != UINT64_MAX)
        *most -= (size_t)wrote;
    return true;
}

/* The end is told once all is written. */
static void pipe_pass_end(struct pipe *pipe, int to)
{
    if (!pipe->ended || pipe->passed_on || pipe_holds(pipe) > 0)
        return;
    pipe->passed_on = true;
    if (to >= 0)
        (void)shutdown(to, SHUT_WR);
}

static void note_name(struct link *link)
{
    static const char before[] = "\"agent\":";
    size_t length = link->up.bytes.length;
    const char *at = memmem(link->up.bytes.at, length, before, strlen(before));
    const char *end;

    if (at == NULL)
        return;
    length -= (size_t)(at - link->up.bytes.at);
    if ((at = memchr(at + strlen(before), '"', length - strlen(before))) == NULL)
        return;
    length = link->up.bytes.length - (size_t)(at - link->up.bytes.at) - 1;
    if ((end = memchr(++at, '"', length)) != NULL && (size_t)(end - at) < sizeof link->name)
        memcpy(link->name, at, (size_t)(end - at));
}

/* The agent's side is given up, as if the network had failed; the server's side lives on. */
static void become_zombie(struct link *link, int64_t now_ns)
{
    link->closes_ns = LINK_NEVER;
    link->is_zombie = true;
    link->dies_ns = now_ns + ZOMBIE_DIES_NS;
    link->up.ended = true;
    reset_on_close(link->agent);
    close_at(&link->agent);
    link->agent = -1;
}

/* What the server says to a zombie goes nowhere; false when it has hung up. */
static bool zombie_hears(struct link *link)
{
    link->down.at = link->down.bytes.length;
    return !link->down.ended;
}

static bool link_reads(struct link *link, int64_t now_ns, const struct pollfd polls[2])
{
    short in = POLLIN | POLLERR | POLLHUP;

    if ((polls[0].events & POLLIN) && (polls[0].revents & in) && link->agent >= 0 &&
        !pipe_read(&link->up, link->agent, now_ns))
        return false;
    if (link->name[0] == '\0' && pipe_holds(&link->up) > 0)
        note_name(link);
    return !((polls[1].events & POLLIN) && (polls[1].revents & in)) ||
           pipe_read(&link->down, link->server, now_ns);
}

static bool link_writes(struct link *link, int64_t now_ns, uint64_t random)
{
    uint64_t all = UINT64_MAX;

    if (pipe_holds(&link->up) > 0 && link->up.write_after_ns <= now_ns &&
        !pipe_write(&link->up, link->server, &link->cut_bytes, now_ns, random))
        return false;
    if (link->is_zombie)
        return zombie_hears(link);
    return pipe_holds(&link->down) == 0 || link->down.write_after_ns > now_ns ||
           pipe_write(&link->down, link->agent, &all, now_ns, random >> 8);
}

bool link_run(struct link *link, int64_t now_ns, const struct pollfd polls[2], uint64_t random)
{
    if (now_ns >= link->dies_ns || !link_reads(link, now_ns, polls) ||
        !link_writes(link, now_ns, random))
        return false;
    if (now_ns >= link->cut_ns || link->cut_bytes == 0)
        return false;
    if (now_ns >= link->closes_ns)
        become_zombie(link, now_ns);
    pipe_pass_end(&link->up, link->server);
    pipe_pass_end(&link->down, link->agent);
    return !link->up.passed_on || !link->down.passed_on;
}

static void pipe_heal(struct pipe *pipe)
{
    pipe->read_after_ns = pipe->write_after_ns = 0;
    pipe->delayed_till_ns = pipe->dribbles_till_ns = 0;
}

void link_rise(struct link *link)
{
    link->rises_with_hello = false;
    link->up.write_after_ns = 0;
}

void link_heal(struct link *link, int64_t now_ns)
{
    pipe_heal(&link->up);
    pipe_heal(&link->down);
    link->rises_with_hello = false;
    if (link->closes_ns != LINK_NEVER)
        link->closes_ns = now_ns;
}
