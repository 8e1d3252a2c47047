/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtt: how long the server takes to answer, in seconds: the agent's network thread stamps an @ping
 * when it is handed to the kernel and its @pong when it is taken from there.
 */
#include <stddef.h>

#include <rasad/collector.h>

static bool rtt_collect(void *state, struct rasad_output *out)
{
    rasad_send_ping(out);
    return true;
}

static void rtt_pong(void *state, int64_t rtt_ns, struct rasad_output *out)
{
    rasad_send_number(out, "RTT", (double)rtt_ns / 1e9, NULL);
}

static const struct rasad_key keys[] = {
    {"RTT", "histogram", "seconds", "", "Round-trip time from @ping to @pong"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,   .name = "rtt",
    .version = "1.0",       .help = "Round-trip time to the server in use",
    RASAD_KEYS(keys),       .interval_ns = 1000000000,
    .collect = rtt_collect, .pong = rtt_pong,
};
