/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network: bytes, packets, errors and drops of each interface since the last sample, from
 * /proc/net/dev (proc_pid_net(5)).
 */
#include "proc.h"

enum { BYTES, PACKETS, ERRORS, DROPS, COLUMNS };

static const char *const names[COLUMNS] = {"network_bytes_total", "network_packets_total",
                                           "network_errors_total", "network_drops_total"};

struct state {
    struct proc_devices interfaces;
};

/* Receive counts stand first, transmit counts behind them. */
static void send_interface(struct rasad_output *out, const char *interface,
                           const uint64_t counts[2 * COLUMNS])
{
    for (int i = 0; i < 2 * COLUMNS; i++) {
        const char *direction = i < COLUMNS ? "receive" : "transmit";

        rasad_send_number(
            out, names[i % COLUMNS], (double)counts[i],
            (const char *const[]){"interface", interface, "direction", direction, NULL});
    }
}

static bool network_collect(void *state, struct rasad_output *out)
{
    struct state *s = state;
    FILE *file = proc_open(out, "net/dev");
    char line[512], name[64];
    unsigned long long c[2 * COLUMNS];

    if (file == NULL)
        return false;
    s->interfaces.look++;
    while (fgets(line, sizeof line, file) != NULL) { /* two head lines don't fit the pattern */
        if (sscanf(line, " %63[^:|]: %llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu", name,
                   &c[0], &c[1], &c[2], &c[3], &c[4], &c[5], &c[6], &c[7]) != 1 + 2 * COLUMNS)
            continue;
        uint64_t counts[2 * COLUMNS] = {c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]};

        if (proc_increments(&s->interfaces, name, counts, 2 * COLUMNS))
            send_interface(out, name, counts);
    }
    (void)fclose(file);
    return true;
}

static const struct rasad_key keys[] = {
    {"network_bytes_total", "counter", "bytes", "interface,direction", "Bytes received and sent"},
    {"network_packets_total", "counter", "", "interface,direction", "Packets received and sent"},
    {"network_errors_total", "counter", "", "interface,direction", "Packets with an error"},
    {"network_drops_total", "counter", "", "interface,direction", "Packets dropped"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,       .name = "network",
    .version = "1.0",           .help = "Traffic of network interfaces (/proc/net/dev)",
    RASAD_KEYS(keys),           .state_size = sizeof(struct state),
    .interval_ns = 10000000000, .collect = network_collect,
};
