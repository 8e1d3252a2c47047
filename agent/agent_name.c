/* SPDX-License-Identifier: Apache-2.0 */
#include "agent_name.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

bool agent_name_check(const char *name, struct rasad_error *error)
{
    size_t length = strlen(name);

    if (length == 0 || length >= AGENT_NAME_LENGTH)
        return rasad_fail(error, "a name of %zu bytes (write 1 to %d)", length,
                          AGENT_NAME_LENGTH - 1);
    if (!utf8_valid(name, length))
        return rasad_fail(error, "the name is no UTF-8");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i], next = (unsigned char)name[i + 1];

        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0)) /* C0, DEL, C1 */
            return rasad_fail(error, "the name has a control character");
    }
    return true;
}

bool agent_name_of_host(char name[AGENT_NAME_LENGTH], struct rasad_error *error)
{
    if (gethostname(name, AGENT_NAME_LENGTH - 1) != 0)
        return rasad_fail(error, "the host's name can't be told: %s", strerror(errno));
    name[AGENT_NAME_LENGTH - 1] = '\0';
    return agent_name_check(name, error) || rasad_fail_at(error, "the host's name");
}
