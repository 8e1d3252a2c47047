/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blast: pours a file of messages into a server, as fast as it takes them, over several connections
 * at once, and waits until the server has closed them all, so until it has handled every byte.
 *
 *   blast PORT CONNECTIONS TIMES FILE        each connection sends the file TIMES times
 *   blast PORT CONNECTIONS 60s FILE          ... or over and over for that many seconds
 *   blast PORT CONNECTIONS 60s FILE AGENT    ... as AGENT-0, AGENT-1, …, each with a stream, so
 * that its messages are numbered and acknowledged
 *
 * SIGTERM ends it sooner, after whole files. Only to 127.0.0.1. It prints one line of JSON:
 * {"seconds": 1.25, "files": 800, "bytes": 16384000}, files and bytes over all connections. The
 * file is mapped, so sending costs little but the copy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/scoped.h"

#define MAX_CONNECTIONS 1024

/* What every connection does. */
struct load {
    uint16_t port;
    const char *bytes;
    size_t size;
    uint64_t times;    /* each; UINT64_MAX: until ends_ns */
    int64_t ends_ns;   /* steady; INT64_MAX: never */
    const char *agent; /* NULL: the senders have no names */
};

struct sender {
    const struct load *load;
    size_t index;
    pthread_t thread;
    uint64_t sent;      /* whole files */
    const char *failed; /* what went wrong, or NULL */
    int error;          /* the errno of that */
};

static _Atomic bool ended; /* by SIGTERM */

static void end(int signal)
{
    ended = true;
}

static bool fail(struct sender *sender, const char *what)
{
    sender->failed = what;
    sender->error = errno;
    return false;
}

static bool send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Reads what the server says, if anything, until it closes. */
static bool wait_for_end(int fd)
{
    char ignored[4096];
    ssize_t got;

    while ((got = recv(fd, ignored, sizeof ignored, 0)) != 0)
        if (got < 0 && errno != EINTR)
            return false;
    return true;
}

/* Reads what the server has said so far: it closes a peer that lets its replies lie. */
static void take_replies(int fd)
{
    char ignored[4096];

    while (recv(fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
        continue;
}

/* Says who it is, if it has a name. */
static bool say_hello(int fd, const struct sender *sender)
{
    char hello[256];
    int length;

    if (sender->load->agent == NULL)
        return true;
    length = snprintf(hello, sizeof hello,
                      "{\"@hello\": {\"agent\": \"%.100s-%zu\", \"stream\": \"%032zx\"}}\n",
                      sender->load->agent, sender->index, sender->index + 1);
    return send_all(fd, hello, (size_t)length);
}

static bool pour(struct sender *sender)
{
    const struct load *load = sender->load;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(load->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SCOPED(close_at) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return fail(sender, "connect");
    if (!say_hello(fd, sender))
        return fail(sender, "hello");
    while (sender->sent < load->times && clock_steady_ns() < load->ends_ns && !ended) {
        if (!send_all(fd, load->bytes, load->size))
            return fail(sender, "send");
        take_replies(fd);
        sender->sent++;
    }
    if (shutdown(fd, SHUT_WR) != 0)
        return fail(sender, "shutdown");
    return wait_for_end(fd) || fail(sender, "receive");
}

static void *pour_thread(void *argument)
{
    (void)pour(argument);
    return NULL;
}

static bool map_file(const char *path, struct load *load)
{
    SCOPED(close_at) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *bytes;

    if (fd < 0 || fstat(fd, &status) != 0)
        return false;
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED)
        return false;
    load->bytes = bytes;
    load->size = (size_t)status.st_size;
    return true;
}

/* Runs all senders to their end; false if one could not be started. */
static bool pour_all(struct sender *senders, size_t count)
{
    bool started = true;
    size_t running = 0;

    while (running < count && started) {
        started =
            pthread_create(&senders[running].thread, NULL, pour_thread, &senders[running]) == 0;
        running += started;
    }
    for (size_t i = 0; i < running; i++)
        (void)pthread_join(senders[i].thread, NULL);
    return started;
}

/* Prints the outcome and returns the exit code. */
static int report(const struct sender *senders, size_t count, int64_t took_ns)
{
    uint64_t files = 0;
    int code = 0;

    for (size_t i = 0; i < count; i++) {
        files += senders[i].sent;
        if (senders[i].failed == NULL)
            continue;
        (void)fprintf(stderr, "blast: %s: %s\n", senders[i].failed, strerror(senders[i].error));
        code = 1;
    }
    (void)printf("{\"seconds\": %.6f, \"files\": %llu, \"bytes\": %llu}\n",
                 (double)took_ns / (double)NS_PER_S, (unsigned long long)files,
                 (unsigned long long)(files * senders[0].load->size));
    return code;
}

int main(int argc, char **argv)
{
    static struct sender senders[MAX_CONNECTIONS];
    struct load load = {.times = UINT64_MAX, .ends_ns = INT64_MAX};
    size_t count = argc == 5 || argc == 6 ? strtoul(argv[2], NULL, 10) : 0;
    int64_t began_ns = clock_steady_ns();

    if (count < 1 || count > MAX_CONNECTIONS)
        return (void)fprintf(stderr, "usage: blast PORT CONNECTIONS TIMES|SECONDSs FILE [AGENT]\n"),
               64;
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    if (strchr(argv[3], 's') != NULL)
        load.ends_ns = began_ns + strtol(argv[3], NULL, 10) * NS_PER_S;
    else
        load.times = strtoull(argv[3], NULL, 10);
    if (!map_file(argv[4], &load))
        return perror(argv[4]), 1;
    load.agent = argv[5]; /* NULL if there is none */
    (void)signal(SIGTERM, end);
    for (size_t i = 0; i < count; i++)
        senders[i] = (struct sender){.load = &load, .index = i};
    if (!pour_all(senders, count))
        return (void)fprintf(stderr, "blast: cannot start %zu threads\n", count), 1;
    return report(senders, count, clock_steady_ns() - began_ns);
}
