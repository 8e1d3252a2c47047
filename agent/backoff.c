/* SPDX-License-Identifier: Apache-2.0 */
#include "backoff.h"

#include "base/clock.h"

#define FIRST_NS (200 * NS_PER_MS)
#define EARLY_NS (300 * NS_PER_S) /* so long the cap is the low one */
#define EARLY_CAP_NS NS_PER_S
#define LATE_CAP_NS (30 * NS_PER_S)

int64_t backoff_next(struct backoff *backoff, int64_t now_ns, uint64_t random)
{
    int64_t cap_ns, jitter_ns;

    if (backoff->since_ns == 0)
        *backoff = (struct backoff){.since_ns = now_ns, .step_ns = FIRST_NS / 2};
    cap_ns = now_ns - backoff->since_ns < EARLY_NS ? EARLY_CAP_NS : LATE_CAP_NS;
    backoff->step_ns *= 2;
    if (backoff->step_ns > cap_ns)
        backoff->step_ns = cap_ns;
    jitter_ns = (int64_t)(random % (uint64_t)(backoff->step_ns / 4 + 1));
    return (backoff->step_ns - jitter_ns) / NS_PER_MS * NS_PER_MS;
}
