/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * install: where our own files lie, found from where the running program lies, so that an installed
 * tree works in any place. A program is PREFIX/bin/X or PREFIX/sbin/X; the build folder has the
 * same layout.
 */
#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

/* PREFIX/RELATIVE, such as RASAD_PLUGIN_DIR (a definition of the build). */
bool install_path(const char *relative, char path[PATH_MAX], struct rasad_error *error);

/* The conf file of this name: PREFIX/etc/rasad/NAME if the prefix is not /usr and has it, else
 * /etc/rasad/NAME. */
void install_conf_path(const char *name, char path[PATH_MAX]);
