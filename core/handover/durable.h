/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * durable: what an upgrade needs to know and to have done of the state that outlives the image.
 */
#include <stdbool.h>

#include "base/error.h"
#include "conf/conf.h"

struct server;

/* Whether there is a state_dir at all. Without one an image takes all counts with it. */
bool durable_is_wanted(const struct conf *conf, struct rasad_error *error);

/* Whether this program can work with what lies in the conf's state_dir; nothing there is changed.
 */
bool durable_is_readable(const struct conf *conf, struct rasad_error *error);

/* Whether states and streams of the image before were found there. */
bool durable_was_loaded(const struct server *server);

/*
 * Brings all that the shards have applied to where it outlives the image, and ends what runs there.
 * In a standstill, while the view is shut; any thread but the shards'. On false the image goes on,
 * with nothing lost. So it does when it succeeded, if the upgrade then comes to nothing.
 */
bool server_commit_all(struct server *server, struct rasad_error *error);
