/* SPDX-License-Identifier: Apache-2.0 */
#include "base/standard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void standard_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* A new descriptor is the lowest that is free; this one must not work the way it's used. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            abort();
    }
}
