/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/durable.h"

#include "store/store.h"

bool durable_is_wanted(const struct conf *conf, struct rasad_error *error)
{
    return conf->state_dir[0] != '\0' ||
           rasad_fail(error,
                      "state_dir is \"\", so an upgrade would lose all counts (set state_dir, "
                      "or restart the server)");
}

bool durable_is_readable(const struct conf *conf, struct rasad_error *error)
{
    return conf->state_dir[0] == '\0' || store_is_readable(conf->state_dir, error);
}
