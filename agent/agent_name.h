/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * agent_name: the name that an agent's series carry.
 */
#include <stdbool.h>

#include "base/error.h"

/* Room for a name with its NUL. */
#define AGENT_NAME_LENGTH 256

/* Whether this may be an agent's name (docs/protocol.md): 1 to 255 bytes of UTF-8, no controls. */
bool agent_name_check(const char *name, struct rasad_error *error);

/* The host's name, if it will do. */
bool agent_name_of_host(char name[AGENT_NAME_LENGTH], struct rasad_error *error);
