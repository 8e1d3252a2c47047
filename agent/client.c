/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "keeper.h"
#include "link.h"
#include "message.h"

#define DEFAULT_MEMORY_BYTES (8 << 20)
#define DEFAULT_DISK_BYTES (64 << 20)

/* Pings that wait for the thread, and pongs that wait for the caller. */
#define MOST_PINGS LINK_PINGS
#define MOST_PONGS 64

struct client {
    /* Constant while the thread runs. */
    char *name;
    char instance[LINK_INSTANCE_LENGTH];
    const struct log *log;
    int wake_fd;           /* owned; wakes the thread */
    int event_fd;          /* owned; tells the caller */
    struct spool *spool;   /* owned */
    struct keeper *keeper; /* owned */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of what follows up to the blank line */
    pthread_cond_t news;  /* something was acknowledged */
    bool stopping;
    bool sleeping; /* the thread is in poll(), or about to be */
    size_t ping_count;
    uint64_t pings[MOST_PINGS];
    size_t pong_count; /* a ring would be more than so few need */
    struct client_pong pongs[MOST_PONGS];

    /* The thread's own. */
    size_t link_count;
    struct link *links;    /* in order of preference */
    struct pollfd *polled; /* one a link, and wake_fd */
};

static void ring(int fd)
{
    static const uint64_t one = 1;

    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        continue; /* EAGAIN: it is readable anyhow */
}

static void unring(int fd)
{
    uint64_t count;

    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
}

/* ---- The thread ---- */

/* The most preferred link that is ready; NULL if none is. */
static struct link *active_link(const struct client *client)
{
    for (size_t i = 0; i < client->link_count; i++) {
        if (client->links[i].state == LINK_READY)
            return &client->links[i];
    }
    return NULL;
}

/* A server is wanted while all better ones are away, and for what it still has to acknowledge. */
static void choose_links(struct client *client, int64_t now_ns)
{
    bool wanted = true;

    for (size_t i = 0; i < client->link_count; i++) {
        struct link *link = &client->links[i];

        link_want(link, wanted, now_ns);
        wanted = wanted && link_failing_ns(link) <= now_ns;
    }
}

/* Hands the active link what the callers have left for it; true if it is to stop. */
static bool take_orders(struct client *client)
{
    struct link *active = active_link(client);
    bool stopping;

    (void)pthread_mutex_lock(&client->lock);
    stopping = client->stopping;
    for (size_t i = 0; active != NULL && i < client->ping_count; i++)
        link_ping(active, client->pings[i]);
    client->ping_count = 0;
    (void)pthread_mutex_unlock(&client->lock);
    return stopping;
}

/* Tells the callers and the keeper what came. The keeper wakes us when it has let go of messages,
 * which is later than a link may have brought them away, so that is news for the callers, too. */
static void give_news(struct client *client, bool was_woken)
{
    const struct link *active = active_link(client);
    bool news = false, pongs = false;

    (void)pthread_mutex_lock(&client->lock);
    for (size_t i = 0; i < client->link_count; i++) {
        struct link *link = &client->links[i];

        news = news || link->has_news;
        pongs = pongs || link->pong_count > 0;
        link->has_news = false;
        for (size_t j = 0; j < link->pong_count && client->pong_count < MOST_PONGS; j++)
            client->pongs[client->pong_count++] = (struct client_pong){
                .token = link->pongs[j].token, .rtt_ns = link->pongs[j].rtt_ns};
        link->pong_count = 0;
    }
    if (news || was_woken)
        (void)pthread_cond_broadcast(&client->news);
    (void)pthread_mutex_unlock(&client->lock);
    if (news || was_woken || pongs)
        ring(client->event_fd);
    keeper_steer(client->keeper, active != NULL ? active->index : SPOOL_NO_SERVER, news);
}

/* How long poll() may wait, in its milliseconds, rounded up; -1 for ever. */
static int patience_ms(const struct client *client, int64_t now_ns)
{
    int64_t first_ns = INT64_MAX, wait_ms;

    for (size_t i = 0; i < client->link_count; i++) {
        const struct link *link = &client->links[i];

        int64_t failing_ns = link_failing_ns(link); /* the next server's turn */

        if (link->deadline_ns < first_ns)
            first_ns = link->deadline_ns;
        if (failing_ns > now_ns && failing_ns < first_ns)
            first_ns = failing_ns;
    }
    if (first_ns == INT64_MAX)
        return -1;
    wait_ms = (first_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    return wait_ms < 0 ? 0 : wait_ms > 60000 ? 60000 : (int)wait_ms;
}

/* Whether there is work that poll() wouldn't tell of; with the lock held. */
static bool has_work(const struct client *client)
{
    return client->stopping || (active_link(client) != NULL && client->ping_count > 0);
}

/* Waits for sockets, deadlines and callers; whether one of these has woken us. */
static bool wait_for_events(struct client *client)
{
    size_t n = client->link_count;
    int timeout_ms = patience_ms(client, clock_steady_ns());

    for (size_t i = 0; i < n; i++)
        client->polled[i] = link_pollfd(&client->links[i]);
    client->polled[n] = (struct pollfd){.fd = client->wake_fd, .events = POLLIN};
    (void)pthread_mutex_lock(&client->lock);
    client->sleeping = !has_work(client);
    if (!client->sleeping)
        timeout_ms = 0;
    (void)pthread_mutex_unlock(&client->lock);
    if (poll(client->polled, n + 1, timeout_ms) < 0) { /* EINTR can't be, nor can others harm */
        for (size_t i = 0; i <= n; i++)
            client->polled[i].revents = 0;
    }
    (void)pthread_mutex_lock(&client->lock);
    client->sleeping = false;
    (void)pthread_mutex_unlock(&client->lock);
    if (client->polled[n].revents != 0)
        unring(client->wake_fd);
    return client->polled[n].revents != 0;
}

static void *run(void *argument)
{
    struct client *client = argument;

    while (!take_orders(client)) {
        int64_t now_ns = clock_steady_ns();
        bool was_woken;

        choose_links(client, now_ns);
        /* First what the callers left goes out, so that it doesn't wait for the next event. */
        for (size_t i = 0; i < client->link_count; i++)
            link_step(&client->links[i], 0, now_ns);
        was_woken = wait_for_events(client);
        now_ns = clock_steady_ns();
        for (size_t i = 0; i < client->link_count; i++) {
            if (client->polled[i].revents != 0)
                link_step(&client->links[i], client->polled[i].revents, now_ns);
        }
        give_news(client, was_woken);
    }
    return NULL;
}

/* Starts the thread with all signals blocked: they are the main thread's. */
static bool start_thread(struct client *client, struct rasad_error *error)
{
    sigset_t all, before;
    int why;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    why = pthread_create(&client->thread, NULL, run, client);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why != 0)
        return rasad_fail(error, "cannot start a thread: %s", strerror(why));
    client->started = true;
    return true;
}

/* ---- For the caller ---- */

static bool make_instance(struct client *client, struct rasad_error *error)
{
    uint64_t random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return rasad_fail(error, "no random bytes: %s", strerror(errno));
    (void)snprintf(client->instance, sizeof client->instance, "%016llx",
                   (unsigned long long)random);
    return true;
}

/* The spool knows servers by the names that links give them. */
static bool open_spool(struct client *client, const struct client_options *options,
                       struct rasad_error *error)
{
    SCOPED(free_at) const char **names = calloc(client->link_count + 1, sizeof *names);
    struct spool_options spool = {.folder = options->folder,
                                  .agent = client->name,
                                  .servers = names,
                                  .server_count = client->link_count,
                                  .max_bytes = options->max_bytes,
                                  .drop_oldest = options->drop_oldest,
                                  .sync =
                                      options->folder != NULL ? options->sync : SPOOL_SYNC_MEMORY,
                                  .log = options->log};

    if (names == NULL)
        return rasad_fail_memory(error);
    for (size_t i = 0; i < client->link_count; i++)
        names[i] = client->links[i].server;
    if (spool.max_bytes == 0)
        spool.max_bytes =
            spool.sync == SPOOL_SYNC_MEMORY ? DEFAULT_MEMORY_BYTES : DEFAULT_DISK_BYTES;
    if (spool.max_bytes < SPOOL_LEAST_BYTES || spool.max_bytes > SPOOL_MOST_BYTES)
        return rasad_fail(error, "a spool of %llu bytes (64KiB to 16GiB)",
                          (unsigned long long)spool.max_bytes);
    return spool_open(&spool, &client->spool, error);
}

static bool open_keeper(struct client *client, const struct client_options *options,
                        struct rasad_error *error)
{
    const struct keeper_options keeper = {.spool = client->spool,
                                          .most_bytes = KEEPER_MOST_BYTES,
                                          .drop_oldest = options->drop_oldest,
                                          .wake_fd = client->wake_fd,
                                          .event_fd = client->event_fd,
                                          .log = options->log};

    return keeper_open(&keeper, &client->keeper, error);
}

/* A server that is named twice is one. */
static bool has_link(const struct client *client, const struct link *link)
{
    for (size_t i = 0; i < client->link_count; i++) {
        if (strcmp(client->links[i].server, link->server) == 0)
            return true;
    }
    return false;
}

static bool open_links(struct client *client, const struct client_options *options,
                       struct rasad_error *error)
{
    client->links = calloc(options->server_count, sizeof *client->links);
    client->polled = calloc(options->server_count + 1, sizeof *client->polled);
    if (client->links == NULL || client->polled == NULL)
        return rasad_fail_memory(error);
    for (size_t i = 0; i < options->server_count; i++) {
        struct link *link = &client->links[client->link_count];

        if (!link_open(link, options->servers[i], client->name, client->instance, options->log,
                       client->wake_fd, error))
            return false;
        if (has_link(client, link))
            link_close(link);
        else
            client->link_count++;
    }
    return true;
}

static bool start(struct client *client, const struct client_options *options,
                  struct rasad_error *error)
{
    if (!make_instance(client, error) || !open_links(client, options, error) ||
        !open_spool(client, options, error))
        return false;
    for (size_t i = 0; i < client->link_count; i++)
        link_bind(&client->links[i], client->spool, i);
    return open_keeper(client, options, error) && start_thread(client, error);
}

static void init_locks(struct client *client)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&client->news, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&client->lock, NULL);
}

bool client_open(const struct client_options *options, struct client **out,
                 struct rasad_error *error)
{
    SCOPED(client_close_at) struct client *client = calloc(1, sizeof *client);

    if (client == NULL)
        return rasad_fail_memory(error);
    client->wake_fd = client->event_fd = -1;
    init_locks(client);
    client->log = options->log;
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    client->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake_fd < 0 || client->event_fd < 0)
        return rasad_fail(error, "cannot make an eventfd: %s", strerror(errno));
    if ((client->name = strdup(options->name)) == NULL)
        return rasad_fail_memory(error);
    if (!start(client, options, error))
        return false;
    *out = TAKE(client);
    return true;
}

/* Wakes the thread if it sleeps; with the lock held. */
static void wake(struct client *client)
{
    if (!client->sleeping)
        return;
    client->sleeping = false;
    ring(client->wake_fd);
}

bool client_give(struct client *client, struct message *message, struct rasad_error *error)
{
    return keeper_push(client->keeper, message, error);
}

bool client_push(struct client *client, const char *bytes, size_t length, struct rasad_error *error)
{
    struct message *message = message_new(bytes, length);

    if (message == NULL)
        return rasad_fail_memory(error);
    if (client_give(client, message, error))
        return true;
    free(message);
    return false;
}

enum spool_result client_put(struct client *client, struct messages *messages, int64_t timeout_ns,
                             struct rasad_error *error)
{
    return keeper_put(client->keeper, messages, timeout_ns, error);
}

size_t client_longest(const struct client *client)
{
    return spool_longest(client->spool);
}

bool client_has_room(struct client *client)
{
    return keeper_has_room(client->keeper);
}

bool client_sync(struct client *client, int64_t timeout_ns)
{
    return keeper_sync(client->keeper, timeout_ns);
}

uint64_t client_taken(struct client *client)
{
    return spool_taken(client->spool);
}

void client_ping(struct client *client, uint64_t token)
{
    (void)pthread_mutex_lock(&client->lock);
    if (client->ping_count < MOST_PINGS) {
        client->pings[client->ping_count++] = token;
        wake(client);
    }
    (void)pthread_mutex_unlock(&client->lock);
}

bool client_take_pong(struct client *client, struct client_pong *pong)
{
    bool any;

    (void)pthread_mutex_lock(&client->lock);
    any = client->pong_count > 0;
    if (any) {
        *pong = client->pongs[0];
        client->pong_count--;
        memmove(client->pongs, client->pongs + 1, client->pong_count * sizeof *client->pongs);
    }
    (void)pthread_mutex_unlock(&client->lock);
    return any;
}

int client_fd(const struct client *client)
{
    return client->event_fd;
}

void client_clear_fd(struct client *client)
{
    unring(client->event_fd);
}

struct client_counts client_counts(struct client *client)
{
    /* In the order that messages go, so that none is missed on its way. */
    struct keeper_counts kept = keeper_counts(client->keeper);
    struct spool_counts spooled = spool_counts(client->spool);

    return (struct client_counts){.pending = kept.waiting + spooled.pending,
                                  .acked = spooled.acked,
                                  .dropped = kept.dropped + spooled.dropped};
}

bool client_flush(struct client *client, int64_t timeout_ns)
{
    int64_t now_ns = clock_steady_ns();
    bool is_endless = timeout_ns < 0 || timeout_ns > INT64_MAX - now_ns;
    int64_t until_ns = is_endless ? INT64_MAX : now_ns + timeout_ns;
    struct timespec until = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    bool is_late = false, is_done;

    (void)pthread_mutex_lock(&client->lock);
    while (!(is_done = client_counts(client).pending == 0) && !is_late)
        is_late = pthread_cond_timedwait(&client->news, &client->lock, &until) == ETIMEDOUT;
    (void)pthread_mutex_unlock(&client->lock);
    return is_done;
}

void client_close(struct client *client)
{
    if (client == NULL)
        return;
    if (client->started) {
        (void)pthread_mutex_lock(&client->lock);
        client->stopping = true;
        wake(client);
        (void)pthread_mutex_unlock(&client->lock);
        (void)pthread_join(client->thread, NULL);
    }
    for (size_t i = 0; i < client->link_count; i++)
        link_close(&client->links[i]);
    keeper_close(client->keeper);
    spool_close(client->spool);
    free(client->links);
    free(client->polled);
    close_at(&client->wake_fd);
    close_at(&client->event_fd);
    (void)pthread_cond_destroy(&client->news);
    (void)pthread_mutex_destroy(&client->lock);
    free(client->name);
    free(client);
}

void client_close_at(struct client **client)
{
    client_close(*client);
}
