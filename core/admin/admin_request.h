/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin_request: what a client of the admin socket asks for (admin.h), read out of a well-formed
 * object.
 * Threads: none inside. Memory: the strings are lent by the object.
 */
#include <json-c/json.h>
#include <stdbool.h>

#include "base/error.h"

enum admin_verb {
    ADMIN_STATUS,
    ADMIN_PLUGINS,
    ADMIN_METRICS,
    ADMIN_AGENTS,
    ADMIN_SERIES,
    ADMIN_TAIL,
    ADMIN_SEND,
    ADMIN_PLAN,
    ADMIN_RELOAD,
    ADMIN_UPGRADE,
    ADMIN_DUMP,
};

struct admin_request {
    enum admin_verb verb;
    const char *selector; /* NULL where not given, as all of these */
    const char *agent;
    const char *key;
    const char *file;
    bool rejected;
};

/* Reads it; the error says what is wrong with it. */
bool admin_request_read(json_object *object, struct admin_request *request,
                        struct rasad_error *error);
