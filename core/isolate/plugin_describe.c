/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/plugin_describe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/keeper.h"
#include "isolate/worker_link.h"

/* More options than this are a mistake. */
#define MOST_OPTIONS 1000

/* A larger config struct, too. */
#define MOST_CONFIG_BYTES (1U << 20)

/* At the start; the texts follow: name, version, help, and for each option a struct wire_option and
 * its texts. A text is "+" and its bytes and a NUL, or only a NUL for NULL. */
struct wire_plugin {
    uint32_t flags;
    uint32_t kind;
    uint32_t state_version;
    uint32_t option_count;
    uint32_t migrates;
    uint32_t reserved;
    uint64_t config_size;
};

struct wire_option {
    uint32_t type;
    uint32_t offset;
    uint32_t flags;
    uint32_t reserved;
};

/* What is not read yet. */
struct rest {
    const char *at;
    size_t left;
};

/* ---- Writing ------------------------------------------------------------------------------- */

static void write_text(const char *string, struct text *out)
{
    if (string != NULL) {
        text_add_char(out, '+');
        text_add_string(out, string);
    }
    text_add_char(out, '\0');
}

static void write_option(const struct rasad_option *row, struct text *out)
{
    const struct wire_option wire = {.type = row->type, .offset = row->offset, .flags = row->flags};

    text_add(out, &wire, sizeof wire);
    write_text(row->name, out);
    write_text(row->help, out);
    write_text(row->preset, out);
    write_text(row->min, out);
    write_text(row->max, out);
}

void plugin_describe_write(const struct plugin *plugin, struct text *out)
{
    const struct wire_plugin wire = {
        .flags = plugin->api.flags,
        .kind = plugin->api.kind,
        .state_version = plugin->api.state_version,
        .option_count = (uint32_t)plugin->api.option_count,
        .migrates = plugin->migrates,
        .config_size = plugin->api.config_size,
    };

    text_add(out, &wire, sizeof wire);
    write_text(plugin->api.name, out);
    write_text(plugin->api.version, out);
    write_text(plugin->api.help, out);
    for (size_t i = 0; i < plugin->api.option_count; i++) {
        struct rasad_option row = plugin_option(plugin, i);

        write_option(&row, out);
    }
}

/* ---- Reading ------------------------------------------------------------------------------- */

static bool read_bytes(struct rest *rest, void *into, size_t length)
{
    if (rest->left < length)
        return false;
    memcpy(into, rest->at, length);
    rest->at += length;
    rest->left -= length;
    return true;
}

static bool read_text(struct rest *rest, const char **string)
{
    const char *end = rest->left > 0 ? memchr(rest->at, '\0', rest->left) : NULL;

    if (end == NULL || (end > rest->at && rest->at[0] != '+'))
        return false;
    *string = end > rest->at ? rest->at + 1 : NULL;
    rest->left -= (size_t)(end - rest->at) + 1;
    rest->at = end + 1;
    return true;
}

static bool read_option(struct rest *rest, struct rasad_option *row)
{
    struct wire_option wire;

    if (!read_bytes(rest, &wire, sizeof wire))
        return false;
    *row = (struct rasad_option){.type = wire.type, .offset = wire.offset, .flags = wire.flags};
    return read_text(rest, &row->name) && read_text(rest, &row->help) &&
           read_text(rest, &row->preset) && read_text(rest, &row->min) &&
           read_text(rest, &row->max);
}

bool plugin_describe_read(struct plugin *plugin, const char *bytes, size_t length)
{
    struct wire_plugin wire;
    struct rest rest = {bytes, length};
    struct rasad_option *rows;
    char *copy;

    if (!read_bytes(&rest, &wire, sizeof wire) || wire.option_count > MOST_OPTIONS ||
        wire.config_size > MOST_CONFIG_BYTES)
        return false;
    /* One block: the rows, and behind them the texts that they and the api point to. */
    rows = malloc(wire.option_count * sizeof *rows + rest.left + 1);
    if (rows == NULL)
        return false;
    free(plugin->described);
    plugin->described = rows;
    plugin->migrates = wire.migrates != 0;
    copy = memcpy((char *)(rows + wire.option_count), rest.at, rest.left);
    rest.at = copy;
    plugin->api = (struct rasad_plugin){
        .magic = RASAD_MAGIC,
        .abi = RASAD_ABI,
        .size = sizeof plugin->api,
        .option_size = sizeof *rows,
        .flags = wire.flags,
        .kind = wire.kind,
        .state_version = wire.state_version,
        .options = wire.option_count > 0 ? rows : NULL,
        .option_count = wire.option_count,
        .config_size = wire.config_size,
    };
    if (!read_text(&rest, &plugin->api.name) || !read_text(&rest, &plugin->api.version) ||
        !read_text(&rest, &plugin->api.help))
        return false;
    for (uint32_t i = 0; i < wire.option_count; i++) {
        if (!read_option(&rest, &rows[i]))
            return false;
    }
    return rest.left == 0;
}

/* ---- Asking -------------------------------------------------------------------------------- */

/* The worker's answer; the error names no path. */
static bool take_answer(struct plugin *plugin, const struct worker_message *answer,
                        struct rasad_error *error)
{
    if (answer->kind == WORKER_FAILED)
        return rasad_fail(error, "%.*s", (int)answer->bytes.length, answer->bytes.at);
    if (answer->kind != WORKER_DESCRIBED ||
        !plugin_describe_read(plugin, answer->bytes.at, answer->bytes.length))
        return rasad_fail(error, "%s: its worker talks nonsense", plugin->path);
    return true;
}

bool plugin_describe(struct plugin *plugin, const char *name, struct rasad_error *error)
{
    SCOPED(worker_message_end) struct worker_message answer = WORKER_MESSAGE_NONE;
    SCOPED(close_at) int link = -1, process = -1;
    int64_t deadline_ns = clock_steady_ns() + KEEPER_PATIENCE_NS;
    pid_t pid;
    bool answered;
    char end[64];
    int status;

    if (!keeper_spawn("describe", name, plugin->path, plugin->module.fd, &link, &process, &pid,
                      error))
        return false;
    answered = worker_receive(link, deadline_ns, &answer);
    /* It ends by itself; one that hangs is killed. */
    status = keeper_reap(process, answered ? deadline_ns : clock_steady_ns());
    if (!answered && clock_steady_ns() >= deadline_ns)
        return rasad_fail(error, "%s: its worker does not answer while it loads it", plugin->path);
    if (!answered) {
        keeper_say_end(status, end);
        return rasad_fail(error, "%s: its worker died while it loaded it: %s", plugin->path, end);
    }
    return take_answer(plugin, &answer, error) && (plugin_check_description(plugin, name, error) ||
                                                   rasad_fail_at(error, "%s", plugin->path));
}
