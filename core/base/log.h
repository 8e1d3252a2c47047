/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * log: one line a change of state, to a file descriptor (standard error). Two looks:
 *   - for machines and files: `info new connection address=127.0.0.1:41604`, that is: level,
 *     message, and key=value pairs (logfmt; a value with blanks, quotes or '=' stands in quotes);
 *   - on a terminal, in the manner of the original: `[NEW CONNECTION] 127.0.0.1:41604`: an info
 *     line's message in brackets and capitals (unless it begins with one), its first value bare,
 *     further ones as key=value;
 *     warnings and errors as `[WARNING] message key=value`.
 * Values are escaped, so that no agent can forge a line or steer a terminal. There is no colour.
 * Threads: any; a line is one write(2) of at most LOG_MOST_BYTES, so lines never mix. A reader that
 * has stopped reading stops nobody: what would wait for it is lost, and counted.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A longer line is cut. A pipe takes so much in one piece (PIPE_BUF). */
#define LOG_MOST_BYTES 4096

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

struct log {
    int fd;
    bool terminal;          /* which look */
    bool pipe, socket;      /* what could make a writer wait */
    _Atomic uint64_t *lost; /* lines not written since the last that was; may be NULL */
    /* If it isn't NULL it takes the lines instead of the descriptor: NUL-terminated, in the first
     * look, without the level and the line feed. Called from any thread. */
    void (*sink)(void *context, enum log_level level, const char *line);
    void *context; /* lent */
};

/* One key=value pair of a line; made by the functions below, lent for the call. */
struct log_field {
    const char *key;   /* NULL ends the list */
    const char *value; /* text of any bytes; NULL: `number` counts */
    size_t length;
    int64_t number;
};

/* A log to this descriptor, which the caller keeps open, as it does the count of lost lines (NULL:
 * they are not counted). The look follows isatty(). */
struct log log_make(int fd, _Atomic uint64_t *lost);

static inline struct log_field log_bytes(const char *key, const char *value, size_t length)
{
    return (struct log_field){.key = key, .value = value, .length = length};
}

struct log_field log_text(const char *key, const char *value); /* NUL-terminated */

static inline struct log_field log_number(const char *key, int64_t number)
{
    return (struct log_field){.key = key, .number = number};
}

/* Writes one line; `fields` ends with a key of NULL. The message is ours, never from outside.
 * A line that can't be written is lost, and the next one says so. */
void log_line(const struct log *log, enum log_level level, const char *message,
              const struct log_field *fields);

/* A line without fields. */
void log_plain(const struct log *log, enum log_level level, const char *message);

/* log_info(log, "listening", log_text("address", address)); */
#define log_info(log, message, ...) log_at(log, LOG_LEVEL_INFO, message, __VA_ARGS__)
#define log_warning(log, message, ...) log_at(log, LOG_LEVEL_WARNING, message, __VA_ARGS__)
#define log_error(log, message, ...) log_at(log, LOG_LEVEL_ERROR, message, __VA_ARGS__)
#define log_at(log, level, message, ...)                                                           \
    log_line(log, level, message, (const struct log_field[]){__VA_ARGS__, {.key = NULL}})
