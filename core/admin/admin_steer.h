/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin_steer: the verbs of the admin socket that change the server, or say what would change.
 * Threads: the client's.
 */
#include "admin/admin_client.h"

/* Does an upgrade, after which the new program replies; or makes client->out the reply that says
 * why not. */
void admin_upgrade(struct admin_client *client);

/* Does a plan or a reload and makes client->out the reply. */
void admin_steer(struct admin_client *client, const struct admin_request *request);
