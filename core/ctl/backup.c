/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs dump and restore: a backup of a running server's state, and a state folder out of one,
 * for which no server need run.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "client.h"
#include "ctl.h"
#include "output.h"
#include "store/store.h"

/* ---- dump ---------------------------------------------------------------------------------- */

static int cannot_write(void)
{
    if (output_is_closed())
        (void)fputs("rasadctl: nobody took the whole backup\n", stderr);
    else
        (void)fprintf(stderr, "rasadctl: cannot write the backup: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

static int write_out(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return cannot_write();
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* A backup in a file is on disk before we say that all is well. */
static int sync_out(void)
{
    struct stat out;

    if (fstat(STDOUT_FILENO, &out) != 0 || !S_ISREG(out.st_mode) || fsync(STDOUT_FILENO) == 0)
        return 0;
    return cannot_write();
}

static int copy(struct client *client, uint64_t left)
{
    int status = 0;

    while (status == 0 && left > 0) {
        const char *bytes;
        size_t length;

        status = client_read_bytes(client, &bytes, &length);
        if (status != 0)
            break;
        length = length < left ? length : (size_t)left;
        left -= length;
        status = write_out(bytes, length);
    }
    return status != 0 ? status : sync_out();
}

int dump_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl dump [-S SOCKET] >FILE\n"
                 "Makes a backup of the server's state, as its last commit left it; the server "
                 "goes on.\n",
    };
    SCOPED(text_free) struct text request = {0};
    SCOPED(json_put_at) json_object *reply = NULL;
    SCOPED(client_close) struct client client = {.fd = -1};
    struct arguments arguments;
    int status;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    if (isatty(STDOUT_FILENO))
        return arguments_refuse(&rule, "a backup is nothing for a terminal", NULL);
    client_begin(&request, "dump");
    status = client_open(&client);
    client.patience_s = CLIENT_LONG_PATIENCE_S;
    if (status == 0)
        status = client_ask(&client, &request, &reply);
    if (status == 0)
        status = copy(&client, json_object_get_uint64(output_member(reply, "bytes")));
    return status;
}

/* ---- restore ------------------------------------------------------------------------------- */

/* The error may hold what stands in the backup. */
static int tell(const char *error)
{
    SCOPED(text_free) struct text visible = {0};

    text_add_visible(&visible, error, strlen(error));
    (void)fprintf(stderr, "rasadctl: %s\n", text_end(&visible));
    return EXIT_FAILURE;
}

static int tell_restored(const char *folder, const struct store_restored *restored)
{
    SCOPED(text_free) struct text out = {0};
    time_t seconds = (time_t)(restored->time_ns / NS_PER_S);
    char when[64] = "?";
    struct tm utc;

    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &utc);
    text_add_visible(&out, folder, strlen(folder));
    text_printf(&out,
                ": %" PRIu64 " series in %" PRIu64 " layouts and %" PRIu64
                " streams, of commit %" PRIu64 ", from %s, version ",
                restored->series, restored->layouts, restored->streams, restored->commit, when);
    text_add_visible(&out, restored->version, strlen(restored->version));
    text_add_char(&out, '\n');
    return output_text(&out) ? 0 : EXIT_FAILURE;
}

int restore_main(int argc, char *argv[])
{
    static const struct arguments_rule rule = {
        .usage = "usage: rasadctl restore FOLDER [FILE]\n"
                 "Makes a state folder out of a backup, by default that of standard input, for a "
                 "server to be\nstarted on. A folder that has a database is refused, and so is a "
                 "backup that is not whole.\n",
        .most = 2,
    };
    SCOPED(close_at) int file = -1;
    struct rasad_error error = {""};
    struct store_restored restored;
    struct arguments arguments;
    const char *name;

    if (!arguments_read(argc, argv, &rule, &arguments))
        return arguments.status;
    if (arguments.operand_count == 0)
        return arguments_refuse(&rule, "no FOLDER to restore into", NULL);
    name = arguments.operand_count > 1 ? arguments.operands[1] : NULL;
    if (name != NULL && (file = open(name, O_RDONLY | O_CLOEXEC)) < 0) {
        (void)rasad_fail(&error, "cannot open %s: %s", name, strerror(errno));
        return tell(error.text);
    }
    if (!store_restore(arguments.operands[0], name != NULL ? file : STDIN_FILENO,
                       name != NULL ? name : "standard input", &restored, &error))
        return tell(error.text);
    return tell_restored(arguments.operands[0], &restored);
}
