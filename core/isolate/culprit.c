/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/culprit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "base/text.h"
#include "base/utf8.h"

/* How many files of this plugin the folder has. */
static size_t count_files(const char *folder, const char *plugin)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry;
    size_t count = 0, length = strlen(plugin);

    while (listing != NULL && (entry = readdir(listing)) != NULL)
        count += strncmp(entry->d_name, plugin, length) == 0 && entry->d_name[length] == '-';
    if (listing != NULL)
        (void)closedir(listing);
    return count;
}

/* A new file for it; -1 if none can be made. */
static int make_file(const char *folder, const struct culprit *culprit, char path[PATH_MAX])
{
    time_t seconds = (time_t)(culprit->wall_ns / NS_PER_S);
    struct tm parts;
    char when[32];

    (void)gmtime_r(&seconds, &parts);
    (void)strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &parts);
    for (int n = 1; n <= 2 * CULPRIT_MOST_FILES; n++) {
        int fd;

        if (snprintf(path, PATH_MAX, "%s/%s-%s-%d.json", folder, culprit->plugin, when, n) >=
            PATH_MAX)
            return -1;
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static void add_hex(struct text *out, const void *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;

    text_add_char(out, '"');
    for (size_t i = 0; i < length; i++) {
        text_add_char(out, digits[at[i] >> 4]);
        text_add_char(out, digits[at[i] & 15]);
    }
    text_add_char(out, '"');
}

static void add_string(struct text *out, const char *name, const char *string)
{
    text_printf(out, "  \"%s\": ", name);
    text_add_json(out, string, strlen(string));
    text_add_string(out, ",\n");
}

static void add_labels(struct text *out, const struct rasad_exemplar *exemplar)
{
    text_add_string(out, ", \"exemplar\": {");
    for (uint64_t i = 0; i < exemplar->label_count; i++) {
        text_add_string(out, i > 0 ? ", " : "");
        text_add_json(out, exemplar->labels[i].name, strlen(exemplar->labels[i].name));
        text_add_string(out, ": ");
        text_add_json(out, exemplar->labels[i].value, strlen(exemplar->labels[i].value));
    }
    text_add_char(out, '}');
}

static void add_value(struct text *out, const struct rasad_value *value)
{
    static const char *const types[] = {"", "number", "change", "text"};

    text_printf(out, "  \"value\": {\"type\": \"%s\", \"number\": %.17g, \"text\": ",
                value->type <= RASAD_TEXT ? types[value->type] : "", value->number);
    text_add_json(out, value->text, value->length);
    text_printf(out, ", \"time_ns\": %" PRId64 ", \"seed\": \"%016" PRIx64 "\"", value->time_ns,
                value->seed);
    if (value->exemplar != NULL)
        add_labels(out, value->exemplar);
    text_add_string(out, "},\n");
}

static void write_culprit(struct text *out, const struct culprit *culprit)
{
    text_add_string(out, "{\n");
    add_string(out, "plugin", culprit->plugin);
    add_string(out, "version", culprit->version);
    add_string(out, "metric", culprit->metric);
    if (culprit->agent != NULL)
        add_string(out, "agent", culprit->agent);
    add_string(out, "doing", culprit->doing);
    add_string(out, "why", culprit->why);
    text_printf(out, "  \"when_ns\": %" PRId64 ",\n", culprit->wall_ns);
    if (culprit->value != NULL)
        add_value(out, culprit->value);
    text_printf(out, "  \"state_version\": %" PRIu32 ",\n  \"state\": ", culprit->state_version);
    add_hex(out, culprit->state, culprit->state_bytes);
    text_add_string(out, ",\n  \"conf\": ");
    text_add_json(out, culprit->section, strlen(culprit->section));
    text_add_string(out, "\n}\n");
}

void culprit_keep(const char *folder, const struct culprit *culprit, char path[PATH_MAX])
{
    SCOPED(text_free) struct text out = {0};
    SCOPED(close_at) int fd = -1;

    path[0] = '\0';
    if (folder == NULL || count_files(folder, culprit->plugin) >= CULPRIT_MOST_FILES)
        return;
    write_culprit(&out, culprit);
    if (out.failed || (fd = make_file(folder, culprit, path)) < 0 ||
        write(fd, out.at, out.length) != (ssize_t)out.length)
        path[0] = '\0';
}
