/* SPDX-License-Identifier: Apache-2.0 */
#include "base/planted.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *planted;

static void read_environment(void)
{
    planted = getenv("RASAD_PLANTED_BUG");
}

bool planted_bug(const char *name)
{
    (void)pthread_once(&once, read_environment);
    return planted != NULL && strcmp(planted, name) == 0;
}
