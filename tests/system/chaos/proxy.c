/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_proxy: stands between agents and a server on 127.0.0.1, and is a bad network when told so.
 *
 *   chaos_proxy PORT SERVER_PORT SEED
 *
 * Commands come on standard input, a line each; COUNT connections are drawn at random from those
 * that are not in trouble already, and "ok HOW_MANY" is the answer:
 *   cut COUNT fin|rst BYTES MS DEAF    ends them after 0 to BYTES more bytes upwards, MS at most;
 *                                      DEAF 1: until then the agents hear nothing
 *   delay COUNT MS FOR_MS              all that passes comes MS later
 *   stall COUNT up|down|both FOR_MS    nothing more is read
 *   dribble COUNT FOR_MS               a few bytes at a time
 *   zombie COUNT HOLD_MS LATE_MS|hello nothing is written upwards for HOLD_MS; then the agent's
 * side is reset, and the server's side is kept: it gets the rest after LATE_MS, or together with
 * the agent's next hello heal                               ends all of that The end of standard
 * input ends the proxy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "link.h"
#include "workload.h"

#define MAX_LINKS 1024
#define MAX_WORDS 6

struct proxy {
    int listener;
    uint16_t server_port;
    uint64_t seed, drawn;
    struct link *links[MAX_LINKS];
    size_t count;
    char line[256]; /* of commands, not yet whole */
    size_t length;
};

static uint64_t draw(struct proxy *proxy)
{
    return workload_mix((uint32_t)proxy->seed, ++proxy->drawn);
}

/* ---- Connections ---- */

static struct sockaddr_in address_of(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int open_listener(uint16_t port)
{
    const struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 128) != 0) {
        perror("chaos_proxy: listen");
        exit(1);
    }
    return fd;
}

static int call_server(uint16_t port)
{
    const struct sockaddr_in address = address_of(port);
    SCOPED(close_at) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return take_fd(&fd);
}

/* Without a server, the agent is told so by the end of its connection. */
static void accept_link(struct proxy *proxy)
{
    SCOPED(close_at) int agent = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    SCOPED(close_at) int server = -1;
    int on = 1;

    if (agent < 0 || proxy->count == MAX_LINKS || (server = call_server(proxy->server_port)) < 0)
        return;
    (void)setsockopt(agent, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    proxy->links[proxy->count++] = link_new(take_fd(&agent), take_fd(&server));
}

/* A link has just got its name, so a hello is about to be written: zombies of that name rise. */
static void rise_with(struct proxy *proxy, struct link *link, int64_t now_ns)
{
    struct pollfd none[2] = {{.fd = -1}, {.fd = -1}};

    for (size_t i = 0; i < proxy->count; i++) {
        struct link *zombie = proxy->links[i];

        if (!zombie->rises_with_hello || !zombie->is_zombie ||
            strcmp(zombie->name, link->name) != 0)
            continue;
        link_rise(zombie);
        if (zombie->rises_first)
            (void)link_run(zombie, now_ns, none, 0); /* else its turn comes behind the hello's */
    }
}

static void run_links(struct proxy *proxy, int64_t now_ns, const struct pollfd *polls)
{
    size_t kept = 0, count = proxy->count;
    bool ends[MAX_LINKS] = {false};

    for (size_t i = count; i-- > 0;) { /* the newest first: their hellos wake zombies */
        struct link *link = proxy->links[i];
        bool was_named = link->name[0] != '\0';

        ends[i] = !link_run(link, now_ns, &polls[2 * i], draw(proxy));
        if (!ends[i] && !was_named && link->name[0] != '\0')
            rise_with(proxy, link, now_ns);
    }
    for (size_t i = 0; i < count; i++) {
        if (ends[i])
            link_free(proxy->links[i]);
        else
            proxy->links[kept++] = proxy->links[i];
    }
    proxy->count = kept;
}

/* ---- Commands ---- */

/* Whether nothing was done to it yet that would hide what is done now. */
static bool is_well(const struct link *link, int64_t now_ns)
{
    return !link->is_zombie && link->cut_ns == LINK_NEVER && link->closes_ns == LINK_NEVER &&
           link->name[0] != '\0' && link->up.read_after_ns <= now_ns;
}

static struct link *draw_link(struct proxy *proxy, int64_t now_ns)
{
    size_t at = proxy->count > 0 ? draw(proxy) % proxy->count : 0;

    for (size_t i = 0; i < proxy->count; i++) {
        struct link *link = proxy->links[(at + i) % proxy->count];

        if (is_well(link, now_ns))
            return link;
    }
    return NULL;
}

static int64_t after_ms(int64_t now_ns, const char *ms)
{
    return now_ns + strtol(ms, NULL, 10) * NS_PER_MS;
}

static void cut(struct proxy *proxy, struct link *link, int64_t now_ns, char **words)
{
    link->cut_resets = strcmp(words[2], "rst") == 0;
    link->cut_bytes = draw(proxy) % (strtoull(words[3], NULL, 10) + 1);
    link->cut_ns = after_ms(now_ns, words[4]);
    if (strcmp(words[5], "1") == 0)
        link->down.write_after_ns = LINK_NEVER;
}

static void slow_down(struct proxy *proxy, struct link *link, int64_t now_ns, char **words)
{
    struct pipe *pipes[] = {&link->up, &link->down};

    for (size_t i = 0; i < 2; i++) {
        pipes[i]->delay_ns = strtol(words[2], NULL, 10) * NS_PER_MS;
        pipes[i]->delayed_till_ns = after_ms(now_ns, words[3]);
    }
}

static void stall(struct proxy *proxy, struct link *link, int64_t now_ns, char **words)
{
    if (strcmp(words[2], "down") != 0)
        link->up.read_after_ns = after_ms(now_ns, words[3]);
    if (strcmp(words[2], "up") != 0)
        link->down.read_after_ns = after_ms(now_ns, words[3]);
}

static void dribble(struct proxy *proxy, struct link *link, int64_t now_ns, char **words)
{
    link->up.dribbles_till_ns = link->down.dribbles_till_ns = after_ms(now_ns, words[2]);
}

static void zombie(struct proxy *proxy, struct link *link, int64_t now_ns, char **words)
{
    link->closes_ns = after_ms(now_ns, words[2]);
    link->rises_with_hello = strcmp(words[3], "hello") == 0;
    link->rises_first = draw(proxy) % 2 == 0;
    link->up.write_after_ns =
        link->rises_with_hello ? LINK_NEVER : after_ms(link->closes_ns, words[3]);
}

static const struct {
    const char *name;
    size_t words;
    void (*act)(struct proxy *proxy, struct link *link, int64_t now_ns, char **words);
} commands[] = {
    {"cut", 6, cut},         {"delay", 4, slow_down}, {"stall", 4, stall},
    {"dribble", 3, dribble}, {"zombie", 4, zombie},
};

static void heal(struct proxy *proxy, int64_t now_ns)
{
    for (size_t i = 0; i < proxy->count; i++)
        link_heal(proxy->links[i], now_ns);
    (void)printf("ok %zu\n", proxy->count);
}

static void obey(struct proxy *proxy, char *line, int64_t now_ns)
{
    char *words[MAX_WORDS], *rest = NULL;
    size_t count = 0, hit = 0;
    struct link *link;

    for (char *word = strtok_r(line, " ", &rest); word != NULL && count < MAX_WORDS;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count == 1 && strcmp(words[0], "heal") == 0) {
        heal(proxy, now_ns);
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (count != commands[i].words || strcmp(words[0], commands[i].name) != 0)
            continue;
        for (; hit < strtoull(words[1], NULL, 10); hit++) {
            if ((link = draw_link(proxy, now_ns)) == NULL)
                break;
            commands[i].act(proxy, link, now_ns, words);
        }
        (void)printf("ok %zu\n", hit);
        return;
    }
    (void)printf("what?\n");
}

/* False at the end of standard input. */
static bool take_commands(struct proxy *proxy, int64_t now_ns)
{
    ssize_t got =
        read(STDIN_FILENO, proxy->line + proxy->length, sizeof proxy->line - proxy->length);
    char *at = proxy->line, *end;

    if (got <= 0)
        return got < 0 && errno == EINTR;
    proxy->length += (size_t)got;
    while ((end = memchr(at, '\n', proxy->length - (size_t)(at - proxy->line))) != NULL) {
        *end = '\0';
        obey(proxy, at, now_ns);
        at = end + 1;
    }
    proxy->length -= (size_t)(at - proxy->line);
    memmove(proxy->line, at, proxy->length);
    return true;
}

/* ---- The loop ---- */

static int wait_ms(int64_t next_ns, int64_t now_ns)
{
    int64_t wait_ns = next_ns - now_ns;

    if (next_ns == LINK_NEVER || wait_ns > NS_PER_S)
        return 1000;
    return wait_ns <= 0 ? 0 : (int)(wait_ns / NS_PER_MS) + 1;
}

static bool turn(struct proxy *proxy)
{
    struct pollfd polls[2 + 2 * MAX_LINKS];
    int64_t now_ns = clock_steady_ns(), next_ns = LINK_NEVER;

    polls[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (size_t i = 0; i < proxy->count; i++) {
        int64_t link_ns = link_poll(proxy->links[i], now_ns, &polls[2 + 2 * i]);

        next_ns = link_ns < next_ns ? link_ns : next_ns;
    }
    if (poll(polls, 2 + 2 * proxy->count, wait_ms(next_ns, now_ns)) < 0)
        return errno == EINTR;
    now_ns = clock_steady_ns();
    run_links(proxy, now_ns, polls + 2);
    if (polls[1].revents != 0)
        accept_link(proxy);
    return polls[0].revents == 0 || take_commands(proxy, now_ns);
}

int main(int argc, char **argv)
{
    static struct proxy proxy;

    if (argc != 4)
        return (void)fprintf(stderr, "usage: chaos_proxy PORT SERVER_PORT SEED\n"), 64;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    proxy.listener = open_listener((uint16_t)strtoul(argv[1], NULL, 10));
    proxy.server_port = (uint16_t)strtoul(argv[2], NULL, 10);
    proxy.seed = strtoull(argv[3], NULL, 10);
    (void)printf("ready\n");
    while (turn(&proxy))
        continue;
    for (size_t i = 0; i < proxy.count; i++)
        link_free(proxy.links[i]);
    return close(proxy.listener) != 0;
}
