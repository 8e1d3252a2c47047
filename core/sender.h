/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * sender: who sends a message, as ingest sees it; all of it is lent by the connection.
 */
#include <stdint.h>

#include "admin/verdict.h"
#include "agents.h"

struct sender {
    struct agent *agent;
    const char *address;
    struct report *report; /* where the verdicts about his samples go; NULL: nowhere */
    uint64_t number;       /* of the message in its stream or connection: the seed goes by it */
};
