/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * durable: what an upgrade needs to know of the state that outlives the image.
 */
#include <stdbool.h>

#include "base/error.h"
#include "conf/conf.h"

/* Whether there is a state_dir at all. Without one an image takes all counts with it. */
bool durable_is_wanted(const struct conf *conf, struct rasad_error *error);

/* Whether this program can work with what lies in the conf's state_dir; nothing there is changed.
 */
bool durable_is_readable(const struct conf *conf, struct rasad_error *error);
