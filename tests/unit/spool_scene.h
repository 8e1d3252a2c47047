/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * spool_scene: a spool in a folder of its own, with messages {"n":1}, {"n":2}, … in it, and the
 * eyes of a server on what it sends. For the tests of the spool.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/text.h"
#include "spool.h"

#define SERVER "mon-1:5050"
#define OTHER "mon-2:5050"
#define INBOX "web-1-804a2c1f.inbox"

struct scene {
    char folder[64];
    struct log log; /* into memory */
    struct spool_options options;
    struct spool *spool;
    int last;       /* number of the last message pushed */
    uint64_t lost;  /* for spool_take() */
    int64_t now_ns; /* as far as the spool knows */
};

static const char *const scene_servers[] = {SERVER, OTHER};

/* In memory if possible: thousands of spools are made, and a busy disk would hold them up. */
static inline void scene_make(struct scene *scene)
{
    *scene = (struct scene){.now_ns = NS_PER_S};
    (void)snprintf(scene->folder, sizeof scene->folder, "%s/rasad-spool-XXXXXX",
                   access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(scene->folder));
    scene->log = (struct log){.fd = memfd_create("log", MFD_CLOEXEC)};
    scene->options = (struct spool_options){.folder = scene->folder,
                                            .agent = "web-1",
                                            .servers = scene_servers,
                                            .server_count = 2,
                                            .max_bytes = 64 << 10,
                                            .sync = SPOOL_SYNC_OS,
                                            .log = &scene->log};
}

static inline void scene_open(struct scene *scene)
{
    struct rasad_error error;

    if (!spool_open(&scene->options, &scene->spool, &error))
        fail_msg("%s", error.text);
}

static inline void scene_close(struct scene *scene)
{
    spool_close(scene->spool);
    scene->spool = NULL;
}

static inline void scene_reopen(struct scene *scene)
{
    scene_close(scene);
    scene_open(scene);
}

static inline int scene_remove_one(const char *path, const struct stat *file, int kind,
                                   struct FTW *where)
{
    return remove(path);
}

static inline void scene_free(struct scene *scene)
{
    scene_close(scene);
    (void)nftw(scene->folder, scene_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    (void)close(scene->log.fd);
}

/* Whether this was logged. */
static inline bool scene_logged(const struct scene *scene, const char *wanted)
{
    off_t size = lseek(scene->log.fd, 0, SEEK_END);
    SCOPED(free_at) char *text = calloc(1, (size_t)size + 1);

    return text != NULL && pread(scene->log.fd, text, (size_t)size, 0) == size &&
           strstr(text, wanted) != NULL;
}

static inline void scene_add(struct messages *messages, int n, int padding)
{
    char text[2048];
    int length = padding > 0
                     ? snprintf(text, sizeof text, "{\"n\":%d,\"p\":\"%0*d\"}", n, padding, 0)
                     : snprintf(text, sizeof text, "{\"n\":%d}", n);
    struct message *message = message_new(text, (size_t)length);

    assert_non_null(message);
    messages_add(messages, message);
}

/* Pushes the next `count` messages in one list; what isn't taken is forgotten and doesn't count. */
static inline enum spool_result scene_push(struct scene *scene, size_t server, int count,
                                           int padding, struct rasad_error *error)
{
    enum spool_result result = SPOOL_DONE;
    struct messages messages = {0};

    for (int i = 1; i <= count; i++)
        scene_add(&messages, scene->last + i, padding);
    while (result == SPOOL_DONE && messages.count > 0)
        result = spool_take(scene->spool, server, &messages, &scene->lost, error);
    scene->last += count - (int)messages.count;
    messages_free(&messages);
    return result;
}

static inline void scene_take(struct scene *scene, size_t server, int count)
{
    struct rasad_error error;

    assert_int_equal(scene_push(scene, server, count, 0, &error), SPOOL_DONE);
}

static inline void scene_move(struct scene *scene, size_t server)
{
    struct rasad_error error;

    while (spool_can_move(scene->spool, server))
        assert_int_equal(spool_move(scene->spool, server, &error), SPOOL_DONE);
}

/* Connects as a server that has applied so much, and agrees. */
static inline void scene_welcome(struct scene *scene, size_t server, uint64_t applied,
                                 uint64_t committed)
{
    struct rasad_error error;

    if (!spool_welcome(scene->spool, server, applied, committed, NULL, scene->now_ns, &error))
        fail_msg("%s", error.text);
}

/* What a server saw. */
struct seen {
    struct text text; /* "1 2 3 skip:5 6": numbers n of messages, and to where was skipped */
    uint64_t number;  /* in the stream, of the last */
    uint64_t skipped; /* how many numbers */
    int last;         /* the last n; they must rise */
    int count;
    int n_of[4096]; /* by number in the stream; 0: none */
};

static inline void seen_free(struct seen *seen)
{
    text_free(&seen->text);
}

static inline void seen_line(struct seen *seen, const char *line)
{
    unsigned long long to;
    int n;

    if (seen->text.length > 0)
        text_add_char(&seen->text, ' ');
    if (sscanf(line, "{\"@skip\":{\"to\":%llu", &to) == 1) {
        if (to <= seen->number)
            fail_msg("skips back to %llu behind %llu", to, (unsigned long long)seen->number);
        seen->skipped += to - seen->number;
        seen->number = to;
        text_printf(&seen->text, "skip:%llu", to);
    } else {
        if (sscanf(line, "{\"n\":%d", &n) != 1 || line[strlen(line) - 1] != '}')
            fail_msg("garbage: %.100s", line);
        if (n <= seen->last)
            fail_msg("%d comes after %d", n, seen->last);
        seen->last = n;
        seen->number++;
        seen->count++;
        seen->n_of[seen->number % 4096] = n;
        text_printf(&seen->text, "%d", n);
    }
}

/* Reads all that is sent to a server now. */
static inline void scene_see(struct scene *scene, size_t server, struct seen *seen)
{
    SCOPED(text_free) struct text out = {0};
    struct rasad_error error;
    char *rest = NULL;
    size_t before;

    do {
        before = out.length;
        assert_true(spool_send(scene->spool, server, &out, before + 4096, &error));
    } while (out.length > before);
    (void)text_end(&out);
    for (char *line = out.at != NULL ? strtok_r(out.at, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        seen_line(seen, line);
}

/* Moves and sends all there is to the first server, which acknowledges it. */
static inline void scene_drain(struct scene *scene, struct seen *seen)
{
    struct spool_hello hello;
    struct rasad_error error;

    assert_true(spool_hello(scene->spool, 0, &hello));
    scene_welcome(scene, 0, hello.first - 1, hello.first - 1);
    seen->number = hello.first - 1;
    for (;;) {
        scene_see(scene, 0, seen);
        assert_true(spool_ack(scene->spool, 0, seen->number, scene->now_ns));
        if (!spool_can_move(scene->spool, 0))
            break;
        assert_int_equal(spool_move(scene->spool, 0, &error), SPOOL_DONE);
    }
}

/* Connects and expects this to be sent: as in struct seen. */
static inline void scene_expect(struct scene *scene, size_t server, uint64_t applied,
                                const char *wanted)
{
    SCOPED(seen_free) struct seen seen = {.number = applied};

    scene_welcome(scene, server, applied, applied);
    scene_see(scene, server, &seen);
    assert_string_equal(text_end(&seen.text), wanted);
}
