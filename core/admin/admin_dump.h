/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * admin_dump: a backup of the running server's database. It is made in memory, in one go, while no
 * commit can be under way; then those go on, and the client takes it as slowly as he likes.
 * Threads: the client's. Memory: the backup, one at a time for all clients.
 */
#include "admin/admin_client.h"

/* Sends the reply and the backup; false if the connection ends with that. */
bool admin_dump(struct admin_client *client);
