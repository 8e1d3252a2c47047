/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scoped.h"

struct lookup {
    pthread_mutex_t lock; /* of what follows up to the blank line */
    int references;       /* the caller's and the thread's */
    bool ended;
    struct addrinfo *infos; /* NULL: failed, see `why`, or taken */
    int why;                /* getaddrinfo()'s code */
    int system_why;         /* errno, if `why` is EAI_SYSTEM */

    int wake_fd; /* owned */
    char host[256];
    char service[8];
};

static void unref(struct lookup *lookup)
{
    int left;

    (void)pthread_mutex_lock(&lookup->lock);
    left = --lookup->references;
    (void)pthread_mutex_unlock(&lookup->lock);
    if (left > 0)
        return;
    if (lookup->infos != NULL)
        freeaddrinfo(lookup->infos);
    (void)pthread_mutex_destroy(&lookup->lock);
    close_at(&lookup->wake_fd);
    free(lookup);
}

static void *run(void *argument)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    static const uint64_t one = 1;
    struct lookup *lookup = argument;
    struct addrinfo *infos = NULL;
    int why = getaddrinfo(lookup->host, lookup->service, &hints, &infos);
    int system_why = errno;

    (void)pthread_mutex_lock(&lookup->lock);
    lookup->ended = true;
    lookup->infos = why == 0 ? infos : NULL;
    lookup->why = why;
    lookup->system_why = system_why;
    (void)pthread_mutex_unlock(&lookup->lock);
    if (write(lookup->wake_fd, &one, sizeof one) < 0)
        errno = 0; /* the counter is full, so the caller wakes anyhow */
    unref(lookup);
    return NULL;
}

/* Starts the thread with all signals blocked: they are the main thread's. */
static int start_thread(struct lookup *lookup)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int why = pthread_attr_init(&attributes);

    if (why != 0)
        return why;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    why = pthread_create(&thread, &attributes, run, lookup);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return why;
}

bool lookup_start(const char *host, uint16_t port, int wake_fd, struct lookup **out,
                  struct rasad_error *error)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    int why;

    if (lookup == NULL)
        return rasad_fail_memory(error);
    (void)pthread_mutex_init(&lookup->lock, NULL);
    lookup->references = 2;
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", host);
    (void)snprintf(lookup->service, sizeof lookup->service, "%u", port);
    lookup->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 0);
    why = lookup->wake_fd < 0 ? errno : start_thread(lookup);
    if (why != 0) {
        lookup->references = 1;
        unref(lookup);
        return rasad_fail(error, "cannot look up \"%s\": %s", host, strerror(why));
    }
    *out = lookup;
    return true;
}

bool lookup_ended(struct lookup *lookup, struct addrinfo **infos, struct rasad_error *error)
{
    bool ended;
    int why, system_why;

    (void)pthread_mutex_lock(&lookup->lock);
    ended = lookup->ended;
    why = lookup->why;
    system_why = lookup->system_why;
    if (ended)
        *infos = TAKE(lookup->infos);
    (void)pthread_mutex_unlock(&lookup->lock);
    if (ended && why != 0)
        (void)rasad_fail(error, "%s", why == EAI_SYSTEM ? strerror(system_why) : gai_strerror(why));
    return ended;
}

void lookup_drop(struct lookup *lookup)
{
    if (lookup != NULL)
        unref(lookup);
}
