/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scoped.h"
#include "base/text.h"

static const char *const level_names[] = {"info", "warning", "error"};

struct log log_make(int fd, _Atomic uint64_t *lost)
{
    struct stat file = {0};

    (void)fstat(fd, &file);
    return (struct log){
        .fd = fd,
        .terminal = isatty(fd) == 1,
        .pipe = S_ISFIFO(file.st_mode),
        .socket = S_ISSOCK(file.st_mode),
        .lost = lost,
    };
}

struct log_field log_text(const char *key, const char *value)
{
    return log_bytes(key, value, strlen(value));
}

/* A value between quotes where it would not be clear without. */
static void add_value(struct text *line, const struct log_field *field)
{
    size_t start = line->length + 1;
    bool quote = field->length == 0;

    if (field->value == NULL) {
        text_printf(line, "%lld", (long long)field->number);
        return;
    }
    text_add_char(line, '"');
    text_add_escaped(line, field->value, field->length);
    if (line->failed)
        return;
    for (size_t i = start; i < line->length && !quote; i++)
        quote = strchr(" \"=\\", line->at[i]) != NULL;
    if (quote) {
        text_add_char(line, '"');
    } else {
        memmove(line->at + start - 1, line->at + start, line->length - start);
        line->length--;
    }
}

static void add_fields(struct text *line, const struct log_field *field)
{
    for (; field->key != NULL; field++) {
        text_printf(line, " %s=", field->key);
        add_value(line, field);
    }
}

/* In capitals, unless it has one already: then it is to be read as it is written. */
static void add_tag(struct text *line, const char *tag)
{
    bool as_written = isupper((unsigned char)tag[0]) != 0;

    text_add_char(line, '[');
    for (; *tag != '\0'; tag++)
        text_add_char(line, as_written ? *tag : (char)toupper((unsigned char)*tag));
    text_add_char(line, ']');
}

static void add_terminal_line(struct text *line, enum log_level level, const char *message,
                              const struct log_field *fields)
{
    if (level != LOG_LEVEL_INFO) {
        add_tag(line, level_names[level]);
        text_printf(line, " %s", message);
        add_fields(line, fields);
        return;
    }
    add_tag(line, message);
    if (fields->key == NULL)
        return;
    text_add_char(line, ' ');
    if (fields->value != NULL)
        text_add_visible(line, fields->value, fields->length);
    else
        add_value(line, fields);
    add_fields(line, fields + 1);
}

/*
 * Writes without waiting; false if that can't be. A pipe counts as full when it is half full: then
 * there is still room for the lines of threads that looked at the same moment.
 */
static bool write_now(const struct log *log, const struct text *line)
{
    int unread = 0, size;

    if (log->socket)
        return send(log->fd, line->at, line->length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    if (log->pipe && ioctl(log->fd, FIONREAD, &unread) == 0 &&
        (size = fcntl(log->fd, F_GETPIPE_SZ)) > 0 && unread > size / 2)
        return false;
    return write(log->fd, line->at, line->length) >= 0;
}

static void compose(struct text *line, const struct log *log, enum log_level level,
                    const char *message, const struct log_field *fields)
{
    if (log->terminal) {
        add_terminal_line(line, level, message, fields);
    } else {
        text_printf(line, "%s %s", level_names[level], message);
        add_fields(line, fields);
    }
    if (line->length >= LOG_MOST_BYTES) {
        line->length = LOG_MOST_BYTES - 4;
        while ((line->at[line->length] & 0xc0) == 0x80) /* not within a character */
            line->length--;
        text_add_string(line, "...");
    }
    text_add_char(line, '\n');
}

/* Tells of lines that were lost before this one. */
static void tell_lost(const struct log *log)
{
    SCOPED(text_free) struct text line = {0};
    uint64_t lost = atomic_exchange_explicit(log->lost, 0, memory_order_relaxed);
    const struct log_field fields[] = {log_number("count", (int64_t)lost), {.key = NULL}};

    if (lost == 0)
        return;
    compose(&line, log, LOG_LEVEL_WARNING, "log lines were lost, for nobody read them", fields);
    if (line.failed || !write_now(log, &line))
        (void)atomic_fetch_add_explicit(log->lost, lost, memory_order_relaxed);
}

static void hand_to_sink(const struct log *log, enum log_level level, const char *message,
                         const struct log_field *fields)
{
    SCOPED(text_free) struct text line = {0};

    text_add_string(&line, message);
    add_fields(&line, fields);
    (void)text_end(&line);
    log->sink(log->context, level, line.failed ? message : line.at);
}

void log_line(const struct log *log, enum log_level level, const char *message,
              const struct log_field *fields)
{
    SCOPED(text_free) struct text line = {0};

    if (log->sink != NULL) {
        hand_to_sink(log, level, message, fields);
        return;
    }
    if (log->lost != NULL)
        tell_lost(log);
    compose(&line, log, level, message, fields);
    if ((line.failed || !write_now(log, &line)) && log->lost != NULL)
        (void)atomic_fetch_add_explicit(log->lost, 1, memory_order_relaxed);
}

void log_plain(const struct log *log, enum log_level level, const char *message)
{
    log_line(log, level, message, &(const struct log_field){.key = NULL});
}
