/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gate.h"

#include <assert.h>

struct gate gate_make(uint32_t per_second, uint32_t burst)
{
    int64_t interval_ns;

    assert(per_second >= 1 && burst >= 1);
    interval_ns = INT64_C(1000000000) / per_second;
    return (struct gate){.interval_ns = interval_ns, .slack_ns = interval_ns * (burst - 1)};
}

bool gate_pass(struct gate *gate, int64_t now_ns, uint64_t *held_back)
{
    /* A quiet spell earns a full bucket and no more. */
    int64_t next_ns = gate->next_ns > now_ns ? gate->next_ns : now_ns;

    if (next_ns - now_ns > gate->slack_ns) {
        gate->held_back++;
        return false;
    }
    gate->next_ns = next_ns + gate->interval_ns;
    *held_back = gate->held_back;
    gate->held_back = 0;
    return true;
}
