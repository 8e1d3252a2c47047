/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin_show: what the server shows of itself at the admin socket, as of now.
 * Threads: the client's; it reads between view_begin() and view_end(), and stops no shard.
 */
#include "admin/admin_request.h"
#include "base/text.h"

struct server;

/* Adds the member "data" for one of the verbs that show something. False if the request can't be
 * meant so; the error says why. */
bool admin_show(struct server *server, const struct admin_request *request, struct text *out,
                struct rasad_error *error);

/* The part of it for ADMIN_SERIES. */
bool admin_show_series(struct server *server, const struct admin_request *request, struct text *out,
                       struct rasad_error *error);
