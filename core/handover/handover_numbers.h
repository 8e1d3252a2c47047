/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * handover_numbers: the counts of the server itself that go on over an exec, since it is one
 * process that counts: what rasad_* shows, and the numbers that names are made of.
 * Threads: one, while nobody counts.
 */
#include <stdbool.h>

#include "handover/handover_wire.h"

struct server;

/* Adds them; false if there is no memory. */
bool handover_numbers_collect(struct server *server, struct handover *handover);

/* Sets them, as far as they are there. */
void handover_numbers_adopt(struct server *server, const struct handover *handover);
