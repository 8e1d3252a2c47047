/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/admin_request.h"

#include <string.h>

enum { HAS_SELECTOR = 1, HAS_AGENT = 2, HAS_KEY = 4, HAS_FILE = 8, HAS_REJECTED = 16 };

static const struct {
    const char *name;
    unsigned members; /* that it may have beside "verb" */
} verbs[] = {
    [ADMIN_STATUS] = {"status", 0},
    [ADMIN_PLUGINS] = {"plugins", 0},
    [ADMIN_METRICS] = {"metrics", 0},
    [ADMIN_AGENTS] = {"agents", 0},
    [ADMIN_SERIES] = {"series", HAS_SELECTOR | HAS_AGENT},
    [ADMIN_TAIL] = {"tail", HAS_AGENT | HAS_KEY | HAS_REJECTED},
    [ADMIN_SEND] = {"send", 0},
    [ADMIN_PLAN] = {"plan", HAS_FILE},
    [ADMIN_RELOAD] = {"reload", 0},
    [ADMIN_UPGRADE] = {"upgrade", 0},
    [ADMIN_DUMP] = {"dump", 0},
};

/* A string that C can hold. */
static bool take_text(json_object *json, const char *name, const char **text,
                      struct rasad_error *error)
{
    if (!json_object_is_type(json, json_type_string))
        return rasad_fail(error, "\"%s\" must be a string", name);
    *text = json_object_get_string(json);
    if (strlen(*text) != (size_t)json_object_get_string_len(json))
        return rasad_fail(error, "\"%s\" has a NUL in it", name);
    return true;
}

static bool take_verb(json_object *object, struct admin_request *request, struct rasad_error *error)
{
    json_object *member;
    const char *name;

    if (!json_object_object_get_ex(object, "verb", &member))
        return rasad_fail(error, "the request has no verb");
    if (!take_text(member, "verb", &name, error))
        return false;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(name, verbs[i].name) == 0) {
            request->verb = (enum admin_verb)i;
            return true;
        }
    }
    return rasad_fail(error, "unknown verb \"%.60s\" (is this server older than rasadctl?)", name);
}

static bool take_member(const char *name, json_object *json, struct admin_request *request,
                        unsigned *given, struct rasad_error *error)
{
    const struct {
        const char *name;
        unsigned bit;
        const char **text;
    } texts[] = {
        {"selector", HAS_SELECTOR, &request->selector},
        {"agent", HAS_AGENT, &request->agent},
        {"key", HAS_KEY, &request->key},
        {"file", HAS_FILE, &request->file},
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *given |= texts[i].bit;
            return take_text(json, name, texts[i].text, error);
        }
    }
    if (strcmp(name, "rejected") != 0)
        return rasad_fail(error, "unknown member \"%.60s\" (is this server older than rasadctl?)",
                          name);
    if (!json_object_is_type(json, json_type_boolean))
        return rasad_fail(error, "\"rejected\" must be true or false");
    *given |= HAS_REJECTED;
    request->rejected = json_object_get_boolean(json);
    return true;
}

bool admin_request_read(json_object *object, struct admin_request *request,
                        struct rasad_error *error)
{
    unsigned given = 0;

    *request = (struct admin_request){.verb = ADMIN_STATUS};
    if (!take_verb(object, request, error))
        return false;
    for (struct json_object_iterator it = json_object_iter_begin(object),
                                     end = json_object_iter_end(object);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        const char *name = json_object_iter_peek_name(&it);

        if (strcmp(name, "verb") != 0 &&
            !take_member(name, json_object_iter_peek_value(&it), request, &given, error))
            return false;
    }
    if ((given & ~verbs[request->verb].members) != 0)
        return rasad_fail(error, "\"%s\" doesn't go with all of these members",
                          verbs[request->verb].name);
    return true;
}
