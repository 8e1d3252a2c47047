/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scoped.h"
#include "base/text.h"

static const char *const level_names[] = {"info", "warning", "error"};
static const char *const level_colors[] = {"\033[1;32m", "\033[1;33m", "\033[1;31m"};

struct log log_make(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(fd) == 1;

    return (struct log){.fd = fd,
                        .terminal = terminal,
                        .color = terminal && (no_color == NULL || no_color[0] == '\0')};
}

struct log_field log_text(const char *key, const char *value)
{
    return log_bytes(key, value, strlen(value));
}

static void add_value(struct text *line, const struct log_field *field, bool bare)
{
    size_t start;
    bool quote = false;

    if (field->value == NULL) {
        text_printf(line, "%lld", (long long)field->number);
        return;
    }
    start = line->length;
    text_add_escaped(line, field->value, field->length);
    for (size_t i = start; i < line->length && !quote; i++)
        quote = strchr(" \"=\\", line->at[i]) != NULL;
    if (bare || (!quote && line->length > start))
        return;
    text_add_string(line, "\"\"");
    if (line->failed)
        return;
    memmove(line->at + start + 1, line->at + start, line->length - start - 2);
    line->at[start] = '"';
    line->at[line->length - 1] = '"';
}

static void add_fields(struct text *line, const struct log_field *field)
{
    for (; field->key != NULL; field++) {
        text_printf(line, " %s=", field->key);
        add_value(line, field, false);
    }
}

static void add_tag(struct text *line, const struct log *log, enum log_level level,
                    const char *tag)
{
    if (log->color)
        text_add_string(line, level_colors[level]);
    text_add_char(line, '[');
    for (; *tag != '\0'; tag++)
        text_add_char(line, (char)toupper((unsigned char)*tag));
    text_add_char(line, ']');
    if (log->color)
        text_add_string(line, "\033[0m");
}

static void add_terminal_line(struct text *line, const struct log *log, enum log_level level,
                              const char *message, const struct log_field *fields)
{
    if (level != LOG_LEVEL_INFO) {
        add_tag(line, log, level, level_names[level]);
        text_printf(line, " %s", message);
        add_fields(line, fields);
        return;
    }
    add_tag(line, log, level, message);
    if (fields->key == NULL)
        return;
    text_add_char(line, ' ');
    add_value(line, fields, true);
    add_fields(line, fields + 1);
}

void log_line(const struct log *log, enum log_level level, const char *message,
              const struct log_field *fields)
{
    SCOPED(text_free) struct text line = {0};

    if (log->terminal) {
        add_terminal_line(&line, log, level, message, fields);
    } else {
        text_printf(&line, "%s %s", level_names[level], message);
        add_fields(&line, fields);
    }
    text_add_char(&line, '\n');
    if (!line.failed && write(log->fd, line.at, line.length) < 0)
        return;
}

void log_plain(const struct log *log, enum log_level level, const char *message)
{
    log_line(log, level, message, &(const struct log_field){.key = NULL});
}
