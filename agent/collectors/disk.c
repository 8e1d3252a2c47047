/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: bytes, operations and busy time of each whole disk since the last sample, from
 * /proc/diskstats (the kernel's Documentation/admin-guide/iostats.rst). Partitions are left out, so
 * that a sum over devices counts nothing twice; so are loop and ram devices.
 */
#include <ctype.h>

#include "proc.h"

#define SECTOR 512 /* bytes of a sector in this file, whatever the disk's own are */

enum { READS, READ_SECTORS, WRITES, WRITTEN_SECTORS, BUSY_MS, COUNTS };

struct state {
    struct proc_devices devices;
};

/*
 * Whether `name` is a partition of the disk `whole`, which the kernel lists right before its
 * partitions: "sda1" of "sda"; with a 'p' between where the disk's name ends in a digit.
 */
static bool is_partition(const char *name, const char *whole)
{
    size_t length = strlen(whole);

    if (length == 0 || strncmp(name, whole, length) != 0)
        return false;
    name += length;
    if (isdigit((unsigned char)whole[length - 1]) && *name++ != 'p')
        return false;
    return *name != '\0' && name[strspn(name, "0123456789")] == '\0';
}

static void send_pair(struct rasad_output *out, const char *key, const char *device, double read,
                      double written)
{
    rasad_send_number(out, key, read,
                      (const char *const[]){"device", device, "direction", "read", NULL});
    rasad_send_number(out, key, written,
                      (const char *const[]){"device", device, "direction", "write", NULL});
}

static void send_disk(struct rasad_output *out, const char *device, const uint64_t counts[COUNTS])
{
    send_pair(out, "disk_bytes_total", device, (double)counts[READ_SECTORS] * SECTOR,
              (double)counts[WRITTEN_SECTORS] * SECTOR);
    send_pair(out, "disk_operations_total", device, (double)counts[READS], (double)counts[WRITES]);
    rasad_send_number(out, "disk_busy_seconds_total", (double)counts[BUSY_MS] / 1000,
                      (const char *const[]){"device", device, NULL});
}

static bool disk_collect(void *state, struct rasad_output *out)
{
    struct state *s = state;
    FILE *file = proc_open(out, "diskstats");
    char line[512], whole[64] = "", name[64];
    unsigned long long c[COUNTS];

    if (file == NULL)
        return false;
    s->devices.look++;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*u %*u %63s %llu %*u %llu %*u %llu %*u %llu %*u %*u %llu", name,
                   &c[READS], &c[READ_SECTORS], &c[WRITES], &c[WRITTEN_SECTORS],
                   &c[BUSY_MS]) != 1 + COUNTS ||
            strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 ||
            is_partition(name, whole))
            continue;
        uint64_t counts[COUNTS] = {c[0], c[1], c[2], c[3], c[4]};

        memcpy(whole, name, sizeof whole);
        if (proc_increments(&s->devices, name, counts, COUNTS))
            send_disk(out, name, counts);
    }
    (void)fclose(file);
    return true;
}

static const struct rasad_key keys[] = {
    {"disk_bytes_total", "counter", "bytes", "device,direction", "Bytes read and written"},
    {"disk_operations_total", "counter", "", "device,direction", "Reads and writes finished"},
    {"disk_busy_seconds_total", "counter", "seconds", "device", "Time with requests under way"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,       .name = "disk",
    .version = "1.0",           .help = "Traffic and busy time of whole disks (/proc/diskstats)",
    RASAD_KEYS(keys),           .state_size = sizeof(struct state),
    .interval_ns = 10000000000, .collect = disk_collect,
};
