/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial_spool: uses an agent's spool as the agent does, under the recorder, and checks images of
 * it.
 *
 *     trial_spool write FOLDER SERVER COUNT SEED    until so many messages were ever taken
 *     trial_spool check FOLDER NOTE
 *
 * The spool lies in FOLDER/spool. SERVER is a file for what the server has, which is no part of
 * what a power cut hits. Message k is {"n":k} with k mod 97 digits more, and as nothing is dropped,
 * k is its number in the stream as well. Notes: "taken K" once K messages were taken, and "acked K"
 * before the spool hears of it.
 */
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "spool.h"

/* Exit codes of a check. */
enum { WELL, LOST = 3, INCONSISTENT = 4, UNUSABLE = 5 };

#define WINDOW_NS (61 * NS_PER_S) /* after which what is acknowledged may go */
#define SPOOL_BYTES (256 << 10)

static struct spool *open_spool(const char *folder)
{
    static const char *const servers[] = {"mon-1:5050"};
    static char path[4096];
    static struct log log;
    struct rasad_error error = {""};
    struct spool *spool;
    const struct spool_options options = {.folder = path,
                                          .agent = "web-1",
                                          .servers = servers,
                                          .server_count = 1,
                                          .max_bytes = SPOOL_BYTES,
                                          .sync = SPOOL_SYNC_DISK,
                                          .log = &log};

    log = log_make(STDERR_FILENO, NULL);
    (void)snprintf(path, sizeof path, "%s/spool", folder);
    if (!spool_open(&options, &spool, &error))
        errx(UNUSABLE, "%s", error.text);
    return spool;
}

static size_t print(char text[256], uint64_t k)
{
    return (size_t)snprintf(text, 256, "{\"n\":%llu,\"p\":\"%0*d\"}", (unsigned long long)k,
                            (int)(k % 97), 0);
}

/* Takes the next messages, for the server or none; false when there is no room. */
static bool take(struct spool *spool, size_t server, uint64_t count)
{
    enum spool_result result = SPOOL_DONE;
    struct rasad_error error = {""};
    struct messages messages = {0};
    uint64_t lost = 0, first = spool_taken(spool) + 1;
    char text[256];

    for (uint64_t k = first; k < first + count; k++)
        messages_add(&messages, message_new(text, print(text, k)));
    while (result == SPOOL_DONE && messages.count > 0)
        result = spool_take(spool, server, &messages, &lost, &error);
    messages_free(&messages);
    if (result == SPOOL_BROKEN)
        errx(UNUSABLE, "%s", error.text);
    return result == SPOOL_DONE;
}

static void move(struct spool *spool)
{
    struct rasad_error error = {""};

    while (spool_can_move(spool, 0)) {
        if (spool_move(spool, 0, &error) != SPOOL_DONE)
            errx(UNUSABLE, "cannot move: %s", error.text);
    }
}

static void welcome(struct spool *spool, uint64_t acked, int64_t now_ns, struct spool_hello *hello)
{
    struct rasad_error error = {""};

    if (!spool_hello(spool, 0, hello) ||
        !spool_welcome(spool, 0, acked, acked, NULL, now_ns, &error))
        errx(INCONSISTENT, "the stream is not the server's: %s", error.text);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void note(const char *what, uint64_t number)
{
    static void (*record)(const char *text);
    char text[64];

    if (record == NULL) {
        void *symbol = dlsym(RTLD_DEFAULT, "rasad_record_note");

        if (symbol == NULL)
            errx(2, "not under the recorder");
        memcpy(&record, &symbol, sizeof record);
    }
    (void)snprintf(text, sizeof text, "%s %llu", what, (unsigned long long)number);
    record(text);
}

static void acknowledge(struct spool *spool, int server, uint64_t acked, int64_t now_ns)
{
    if (pwrite(server, &acked, sizeof acked, 0) != sizeof acked)
        err(2, "server");
    note("acked", acked);
    if (!spool_ack(spool, 0, acked, now_ns))
        errx(2, "%llu were never sent", (unsigned long long)acked);
}

/* A connection: what waits is moved and sent, more is taken, some of it acknowledged. */
static void connect_for_a_while(struct spool *spool, int server, int64_t *now_ns)
{
    SCOPED(text_free) struct text out = {0};
    struct spool_hello hello;
    struct rasad_error error;
    uint64_t acked = 0;

    if (pread(server, &acked, sizeof acked, 0) < 0)
        err(2, "server");
    welcome(spool, acked, *now_ns, &hello);
    move(spool);
    for (int rounds = (int)(random() % 12); rounds >= 0; rounds--) {
        if (take(spool, 0, 1 + (uint64_t)random() % 30))
            note("taken", spool_taken(spool));
        if (!spool_send(spool, 0, &out, 1 << 20, &error))
            errx(2, "cannot send: %s", error.text);
        text_clear(&out);
        if (rounds % 3 == 0 && spool_taken(spool) > acked) {
            acked += 1 + (uint64_t)random() % (spool_taken(spool) - acked);
            acknowledge(spool, server, acked, *now_ns);
            *now_ns += WINDOW_NS;
        }
        (void)spool_trim(spool, *now_ns);
    }
    spool_hang_up(spool, 0);
}

static int write_spool(const char *folder, const char *server_path, uint64_t count)
{
    int server = open(server_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct spool *spool = open_spool(folder);
    int64_t now_ns = NS_PER_S;

    if (server < 0)
        err(2, "%s", server_path);
    while (spool_taken(spool) < count) {
        for (int rounds = (int)(random() % 8); rounds > 0; rounds--) {
            if (take(spool, SPOOL_NO_SERVER, 1 + (uint64_t)random() % 30))
                note("taken", spool_taken(spool));
        }
        connect_for_a_while(spool, server, &now_ns);
    }
    spool_close(spool);
    return WELL;
}

/* ---- Checking ------------------------------------------------------------------------------ */

static void read_notes(uint64_t *taken, uint64_t *acked)
{
    FILE *notes = fopen(getenv("RASAD_IMAGE_NOTES"), "r");
    unsigned long long number;
    char kind[16];

    while (notes != NULL && fscanf(notes, "%15s %llu\n", kind, &number) == 2)
        *(strcmp(kind, "taken") == 0 ? taken : acked) = number;
    if (notes == NULL || !feof(notes))
        errx(2, "no notes, or of another kind");
    (void)fclose(notes);
}

/* That the lines are the messages from `first` to `last`. */
static void compare(const struct text *lines, uint64_t first, uint64_t last)
{
    const char *at = lines->at, *end = lines->at + lines->length;
    char text[256];

    for (uint64_t k = first; k <= last; k++) {
        size_t length = print(text, k);

        if ((size_t)(end - at) < length + 1)
            errx(LOST, "message %llu of %llu to %llu is not there", (unsigned long long)k,
                 (unsigned long long)first, (unsigned long long)last);
        if (memcmp(at, text, length) != 0 || at[length] != '\n')
            errx(INCONSISTENT, "instead of message %llu there is %.40s", (unsigned long long)k, at);
        at += length + 1;
    }
    if (at != end)
        errx(INCONSISTENT, "behind message %llu there is %.40s", (unsigned long long)last, at);
}

/* That a server which has `acked` is sent all the rest. */
static void check_sent(struct spool *spool, uint64_t acked)
{
    SCOPED(text_free) struct text lines = {0};
    struct spool_hello hello;
    struct rasad_error error;

    welcome(spool, acked, NS_PER_S, &hello);
    if (hello.first > acked + 1)
        errx(LOST, "the first is %llu, and %llu were acknowledged", (unsigned long long)hello.first,
             (unsigned long long)acked);
    move(spool);
    if (!spool_send(spool, 0, &lines, 16 << 20, &error))
        errx(UNUSABLE, "cannot send: %s", error.text);
    compare(&lines, acked + 1, spool_taken(spool));
}

static int check_spool(const char *folder)
{
    uint64_t noted = 0, acked = 0, taken;
    struct spool *spool;

    read_notes(&noted, &acked);
    spool = open_spool(folder);
    taken = spool_taken(spool);
    if (taken < noted)
        errx(LOST, "%llu taken, %llu there", (unsigned long long)noted, (unsigned long long)taken);
    /* It goes on: some are taken behind what a torn tail may have left, for either place. */
    (void)take(spool, SPOOL_NO_SERVER, 3);
    check_sent(spool, acked);
    (void)take(spool, 0, 3);
    spool_close(spool);
    spool = open_spool(folder);
    if (spool_taken(spool) < taken)
        errx(LOST, "opened twice, %llu of %llu are there", (unsigned long long)spool_taken(spool),
             (unsigned long long)taken);
    check_sent(spool, acked);
    spool_close(spool);
    return WELL;
}

int main(int count, char **arguments)
{
    if (count == 6 && strcmp(arguments[1], "write") == 0) {
        srandom((unsigned)strtoul(arguments[5], NULL, 10));
        return write_spool(arguments[2], arguments[3], strtoull(arguments[4], NULL, 10));
    }
    if (count != 4 || strcmp(arguments[1], "check") != 0)
        errx(2, "trial_spool write FOLDER SERVER COUNT SEED | trial_spool check FOLDER NOTE");
    return check_spool(arguments[2]);
}
