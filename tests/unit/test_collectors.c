/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collectors of the build folder on canned files, the runner that calls them, and that the
 * documentation and rasad.conf as shipped know every key that they send.
 * SOURCE and COLLECTORS come from the build: the source tree and the folder of the .so files.
 */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/conf_scan.h"
#include "base/scoped.h"
#include "base/text.h"
#include "collector.h"
#include "runner.h"

/* ---- A collector at a desk ---- */

/* A folder that stands for /proc, a runner with one collector, and what it sent. */
struct desk {
    char proc[64];
    struct log log;
    struct runner runner;
    struct text sent; /* a line a message, "ping\n" for a ping */
};

static void note_push(void *user, const char *bytes, size_t length)
{
    struct desk *desk = user;

    text_add(&desk->sent, bytes, length);
    text_add_char(&desk->sent, '\n');
}

static void note_ping(void *user, uint64_t token)
{
    struct desk *desk = user;

    text_printf(&desk->sent, "ping %u\n", (unsigned)token);
}

static void desk_begin(struct desk *desk)
{
    *desk = (struct desk){.proc = "/tmp/rasad-test-XXXXXX",
                          .log = {.fd = memfd_create("log", MFD_CLOEXEC)}};
    assert_non_null(mkdtemp(desk->proc));
    desk->runner = (struct runner){.log = &desk->log,
                                   .proc = desk->proc,
                                   .sink = {.user = desk, .push = note_push, .ping = note_ping}};
}

/* The same with this collector of the build folder, called every 10 s. */
static void desk_begin_with(struct desk *desk, const char *name)
{
    struct collector *collector;
    struct rasad_error error = {0};

    desk_begin(desk);
    if (!collector_open((const char *const[]){COLLECTORS}, 1, name, &collector, &error))
        fail_msg("%s", error.text);
    assert_true(runner_add(&desk->runner, collector, 10 * NS_PER_S, &error));
}

/* Removes the folder with what is in it, one folder deep. */
static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char inner[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_folder(inner);
    }
    if (folder != NULL)
        (void)closedir(folder);
    (void)rmdir(path);
}

static void desk_end(struct desk *desk)
{
    runner_free(&desk->runner);
    text_free(&desk->sent);
    (void)close(desk->log.fd);
    remove_folder(desk->proc);
}

/* Writes a file below the desk's /proc. */
static void put(const struct desk *desk, const char *name, const char *content)
{
    SCOPED(text_free) struct text path = {0};
    char *slash;
    FILE *file;

    text_printf(&path, "%s/%s", desk->proc, name);
    (void)text_end(&path);
    slash = strrchr(path.at, '/');
    *slash = '\0';
    (void)mkdir(path.at, 0700);
    *slash = '/';
    file = fopen(path.at, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What was sent at this time (seconds) since the last look. */
static const char *sent_at(struct desk *desk, double at_s)
{
    text_clear(&desk->sent);
    runner_run(&desk->runner, (int64_t)((at_s + 1000) * NS_PER_S));
    return text_end(&desk->sent);
}

static void expect_logged(const struct desk *desk, const char *wanted, int times)
{
    char log[4096];
    ssize_t got = pread(desk->log.fd, log, sizeof log - 1, 0);
    int found = 0;

    assert_true(got >= 0);
    log[got] = '\0';
    for (const char *at = log; (at = strstr(at, wanted)) != NULL; at++)
        found++;
    if (found != times)
        fail_msg("%d times, not %d: %s\nin:\n%s", found, times, wanted, log);
}

/* ---- Each collector ---- */

static void cpu_is_the_share_of_time_not_idle(void **state)
{
    static const struct {
        const char *stat;
        const char *sent;
    } rows[] = {
        /*    user nice system idle iowait irq softirq steal guest guest_nice */
        {"cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1 2 3\n", ""},                    /* only primes */
        {"cpu  150 0 150 1200 100 0 0 0 99 9\n", "{\"CPU_Utilization\":16.7}\n"}, /* 100 of 600 */
        {"cpu  150 0 150 1200 100 0 0 0 99 9\n", ""}, /* no tick has passed */
        {"cpu  250 0 150 1200 100 0 0 0 99 9\n", "{\"CPU_Utilization\":100}\n"},
        {"cpu  250 0 150 1700 600 0 0 0 0 0\n", "{\"CPU_Utilization\":0}\n"}, /* iowait is idle */
        {"cpu  250 1 151 1700 600 1 1 1 0 0\n", "{\"CPU_Utilization\":100}\n"},
        {"cpu  350 1 151 1799 600 1 1 1 0 0\n", "{\"CPU_Utilization\":50.3}\n"}, /* one decimal */
        {"cpu  450 1 151 1790 600 1 1 1 0 0\n", "{\"CPU_Utilization\":100}\n"},  /* idle may fall */
        {"cpu  550 1 151 1890\n", ""}, /* fewer columns: the total fell, so it primes anew */
        {"cpu  650 1 151 1990\n", "{\"CPU_Utilization\":50}\n"},
    };
    struct desk desk;

    desk_begin_with(&desk, "cpu");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *sent;

        put(&desk, "stat", rows[i].stat);
        sent = sent_at(&desk, 20 * (double)i);
        if (strcmp(sent, rows[i].sent) != 0)
            fail_msg("row %zu: %s", i, sent);
    }
    put(&desk, "stat", "intr 7\n");
    assert_string_equal(sent_at(&desk, 1000), "");
    expect_logged(&desk, "has no line \\\"cpu\\\"", 1);
    desk_end(&desk);
}

static size_t count_lines(const char *text, const char *line)
{
    size_t count = 0;

    for (; *text != '\0'; count++) {
        assert_memory_equal(text, line, strlen(line));
        text += strlen(line);
    }
    return count;
}

static void letters_come_at_their_rate_whatever_the_interval(void **state)
{
    static const double intervals_s[] = {0.1, 0.33, 10, 40};

    for (size_t i = 0; i < sizeof intervals_s / sizeof *intervals_s; i++) {
        size_t count = 0;
        double end_s = 20000, at_s = 0;
        struct desk desk;
        struct rasad_error error;
        struct collector *collector;

        desk_begin(&desk);
        assert_true(
            collector_open((const char *const[]){COLLECTORS}, 1, "letters", &collector, &error));
        assert_true(runner_add(&desk.runner, collector, 1, &error));
        for (; at_s < end_s; at_s += intervals_s[i])
            count += count_lines(sent_at(&desk, at_s), "{\"A_Pressed\":\"1\"}\n");
        /* 20 a second, 2 of 52 of them: five standard deviations around 400,000 / 26. */
        if (fabs((double)count - 20 * end_s / 26) > 5 * sqrt(20 * end_s / 26))
            fail_msg("%zu with an interval of %g s", count, intervals_s[i]);
        /* After a night's sleep: no more than 1000 letters, and the rest is let go. */
        count = count_lines(sent_at(&desk, at_s + 30000), "{\"A_Pressed\":\"1\"}\n");
        assert_in_range(count, 10, 80);
        assert_string_equal(sent_at(&desk, at_s + 30000.01), "");
        desk_end(&desk);
    }
}

static void rtt_pings_and_sends_what_the_pong_took(void **state)
{
    struct desk desk;

    desk_begin_with(&desk, "rtt");
    assert_string_equal(sent_at(&desk, 0), "ping 0\n");
    text_clear(&desk.sent);
    runner_pong(&desk.runner, 0, 1500000, NS_PER_S);
    assert_string_equal(text_end(&desk.sent), "{\"RTT\":0.0015}\n");
    runner_pong(&desk.runner, 7, 1500000, NS_PER_S); /* nobody's */
    assert_string_equal(text_end(&desk.sent), "{\"RTT\":0.0015}\n");
    desk_end(&desk);
}

static void load_sends_three_averages(void **state)
{
    struct desk desk;

    desk_begin_with(&desk, "load");
    put(&desk, "loadavg", "0.58 0.37 12.14 3/200 4711\n");
    assert_string_equal(sent_at(&desk, 0), "{\"load1\":0.58,\"load5\":0.37,\"load15\":12.14}\n");
    put(&desk, "loadavg", "0.58\n");
    assert_string_equal(sent_at(&desk, 100), "");
    expect_logged(&desk, "warning collector fails collector=load", 1);
    desk_end(&desk);
}

static void memory_sends_the_kinds_that_it_knows_in_bytes(void **state)
{
    struct desk desk;

    desk_begin_with(&desk, "memory");
    put(&desk, "meminfo",
        "MemTotal:        1000 kB\nMemFree: 10 kB\nActive(anon): 5 kB\nHugePages_Total: 0\n");
    assert_string_equal(sent_at(&desk, 0),
                        "{\"memory_bytes\":[{\"value\":1024000,\"labels\":{\"kind\":\"total\"}},"
                        "{\"value\":10240,\"labels\":{\"kind\":\"free\"}}]}\n");
    desk_end(&desk);
}

static void disk_sends_increments_of_whole_disks(void **state)
{
    struct desk desk;
    const char *sent;

    desk_begin_with(&desk, "disk");
    put(&desk, "diskstats",
        "   8  0 sda 10 0 100 0 20 0 200 0 0 1000 0 0 0 0 0\n"
        "   8  1 sda1 10 0 100 0 20 0 200 0 0 1000 0\n"
        " 259  0 nvme0n1 1 0 1 0 1 0 1 0 0 1 0\n"
        " 259  1 nvme0n1p1 1 0 1 0 1 0 1 0 0 1 0\n"
        "   7  0 loop0 1 0 1 0 1 0 1 0 0 1 0\n");
    assert_string_equal(sent_at(&desk, 0), ""); /* only primes */
    put(&desk, "diskstats",
        "   8  0 sda 15 0 110 0 21 0 204 0 0 1500 0 0 0 0 0\n"
        "   8  1 sda1 15 0 110 0 21 0 204 0 0 1500 0\n"
        " 259  0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0\n" /* its counts fell: another disk */
        " 259  1 nvme0n1p1 1 0 1 0 1 0 1 0 0 1 0\n"
        "   7  0 loop0 9 0 9 0 9 0 9 0 0 9 0\n"
        "   8 16 sdb 9 0 9 0 9 0 9 0 0 9 0\n"); /* new */
    assert_string_equal(
        sent_at(&desk, 20),
        "{\"disk_bytes_total\":[{\"value\":5120,\"labels\":{\"device\":\"sda\",\"direction\":"
        "\"read\"}},{\"value\":2048,\"labels\":{\"device\":\"sda\",\"direction\":\"write\"}}],"
        "\"disk_operations_total\":[{\"value\":5,\"labels\":{\"device\":\"sda\",\"direction\":"
        "\"read\"}},{\"value\":1,\"labels\":{\"device\":\"sda\",\"direction\":\"write\"}}],"
        "\"disk_busy_seconds_total\":{\"value\":0.5,\"labels\":{\"device\":\"sda\"}}}\n");
    put(&desk, "diskstats", "   8 16 sdb 9 0 9 0 9 0 10 0 0 9 0\n"); /* sda is gone */
    sent = sent_at(&desk, 40);
    assert_non_null(strstr(sent, "{\"value\":512,\"labels\":{\"device\":\"sdb\",\"direction\":"));
    assert_null(strstr(sent, "sda"));
    put(&desk, "diskstats", "   8  0 sda 99 0 999 0 99 0 999 0 0 9999 0\n");
    assert_string_equal(sent_at(&desk, 60), ""); /* back, and nobody knows since when */
    desk_end(&desk);
}

static void network_sends_increments_of_each_interface(void **state)
{
    static const char head[] =
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop "
        "fifo colls carrier compressed\n";
    SCOPED(text_free) struct text file = {0};
    struct desk desk;

    desk_begin_with(&desk, "network");
    text_printf(&file, "%s  eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n", head);
    put(&desk, "net/dev", text_end(&file));
    assert_string_equal(sent_at(&desk, 0), "");
    text_clear(&file);
    text_printf(&file, "%s  eth0:1500 11 2 3 0 0 0 0 2600 22 4 5 0 0 0 0\n", head);
    put(&desk, "net/dev", text_end(&file));
#define PAIR(name, received, sent)                                                                 \
    "\"network_" name "_total\":[{\"value\":" received                                             \
    ",\"labels\":{\"interface\":\"eth0\",\"direction\":\"receive\"}},{\"value\":" sent             \
    ",\"labels\":{\"interface\":\"eth0\",\"direction\":\"transmit\"}}]"
    assert_string_equal(sent_at(&desk, 20),
                        "{" PAIR("bytes", "500", "600") "," PAIR("packets", "1", "2") "," PAIR(
                            "errors", "2", "4") "," PAIR("drops", "3", "5") "}\n");
    desk_end(&desk);
}

static void filesystem_asks_block_devices_only(void **state)
{
    SCOPED(text_free) struct text file = {0};
    struct desk desk;
    const char *sent;
    char place[128];

    desk_begin_with(&desk, "filesystem");
    (void)snprintf(place, sizeof place, "%s/a place\xff", desk.proc);
    assert_int_equal(mkdir(place, 0700), 0);
    text_printf(&file, "/dev/sda1 %s/a\\040place\xff ext4 rw 0 0\n", desk.proc);
    text_printf(&file, "server:/home %s nfs4 rw 0 0\n", desk.proc);
    text_printf(&file, "/dev/fuse %s fuse.sshfs rw 0 0\n", desk.proc);
    text_printf(&file, "/dev/loop1 %s squashfs ro 0 0\n", desk.proc);
    text_printf(&file, "/dev/sdb1 %s/self/mounts ext4 rw 0 0\n", desk.proc); /* a single file */
    text_printf(&file, "proc /proc proc rw 0 0\n\n");
    put(&desk, "self/mounts", text_end(&file));
    sent = sent_at(&desk, 0);
    assert_non_null(strstr(sent, "{\"filesystem_size_bytes\":{\"value\":"));
    assert_non_null(strstr(sent, ",\"labels\":{\"device\":\"/dev/sda1\",\"mountpoint\":\"/tmp/"));
    assert_non_null(strstr(sent, "/a place\xef\xbf\xbd\"}}")); /* no UTF-8 becomes U+FFFD */
    assert_non_null(strstr(sent, "\"filesystem_available_bytes\":{\"value\":"));
    assert_null(strstr(sent, "fuse"));
    assert_null(strstr(sent, "server"));
    assert_null(strstr(sent, "loop"));
    assert_null(strstr(sent, "sdb"));
    desk_end(&desk);
}

static void pressure_sends_stalls_and_misses_them_quietly(void **state)
{
    struct desk desk;

    desk_begin_with(&desk, "pressure");
    assert_string_equal(sent_at(&desk, 0), "");
    assert_string_equal(sent_at(&desk, 20), "");
    expect_logged(&desk, "warning collector fails collector=pressure reason=\"cannot read ", 1);
    put(&desk, "pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
    put(&desk, "pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    put(&desk, "pressure/memory", "");
    assert_string_equal(sent_at(&desk, 40), "");
    expect_logged(&desk, "info collector works again collector=pressure", 1);
    put(&desk, "pressure/cpu", "some avg10=1.00 avg60=0.00 avg300=0.00 total=1250000\n");
    put(&desk, "pressure/io", "");
    assert_string_equal(sent_at(&desk, 60),
                        "{\"pressure_stalled_seconds_total\":{\"value\":0.25,\"labels\":"
                        "{\"resource\":\"cpu\",\"kind\":\"some\"}}}\n");
    desk_end(&desk);
}

/* ---- The runner, with a collector of the test's own ---- */

static bool own_collect(void *state, struct rasad_output *out)
{
    uint64_t *calls = state;

    rasad_send_number(out, "calls", (double)++*calls, NULL);
    rasad_send_number(out, "nan", NAN, NULL);  /* left out: JSON has none */
    rasad_send_number(out, "secret", 1, NULL); /* not declared */
    rasad_send_text(out, "says", "\"hi\"\n");
    return true;
}

static const struct rasad_key own_keys[] = {
    {"calls", "gauge", "", "", ""}, {"nan", "gauge", "", "", ""}, {"says", "gauge", "", "", ""}};

static struct collector *own_collector(void)
{
    static const struct rasad_collector api = {RASAD_COLLECTOR_HEAD, .name = "own",
                                               RASAD_KEYS(own_keys), .interval_ns = 2 * NS_PER_S,
                                               .collect = own_collect};
    struct collector *collector = calloc(1, sizeof *collector);

    assert_non_null(collector);
    *collector = (struct collector){.module = {.fd = -1}, .api = api, .state = calloc(1, 8)};
    assert_non_null(collector->state);
    return collector;
}

static void the_runner_calls_soon_and_then_at_the_interval(void **state)
{
    static const struct {
        double at_s;
        int calls; /* so far */
        double next_s;
    } rows[] = {
        {0, 1, 0.5},   /* at once, and soon again */
        {0.4, 1, 0.5}, /* not yet */
        {0.5, 2, 2.5}, /* its interval is 2 s */
        {2.6, 3, 4.5}, /* late by a little: no drift */
        {30, 4, 32},   /* late by much: what was missed is left out */
    };
    struct rasad_error error;
    struct desk desk;

    desk_begin(&desk);
    assert_true(runner_due_ns(&desk.runner) == INT64_MAX);
    assert_true(runner_add(&desk.runner, own_collector(), 0, &error));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)sent_at(&desk, rows[i].at_s);
        assert_int_equal(*(uint64_t *)desk.runner.tasks[0].collector->state, rows[i].calls);
        assert_int_equal(runner_due_ns(&desk.runner),
                         (int64_t)((rows[i].next_s + 1000) * NS_PER_S));
    }
    desk_end(&desk);
}

static void what_a_collector_sends_becomes_sound_messages(void **state)
{
    struct rasad_error error;
    struct desk desk;

    desk_begin(&desk);
    assert_true(runner_add(&desk.runner, own_collector(), 0, &error));
    assert_string_equal(sent_at(&desk, 0), "{\"says\":\"\\\"hi\\\"\\u000a\"}\n{\"calls\":1}\n");
    assert_string_equal(sent_at(&desk, 9), "{\"says\":\"\\\"hi\\\"\\u000a\"}\n{\"calls\":2}\n");
    expect_logged(&desk, "error collector sends a key that it doesn't declare collector=own", 1);
    desk_end(&desk);
}

static void a_wrong_name_gets_a_hint(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"memroy", "unknown collector \"memroy\" (did you mean \"memory\"?)"},
        {"thermometer", "unknown collector \"thermometer\" (there is no thermometer.so in "},
        {"../cpu", "unknown collector \"../cpu\""},
        {"", "unknown collector \"\""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct collector *collector = NULL;
        struct rasad_error error = {0};

        assert_false(collector_open((const char *const[]){"/nowhere", COLLECTORS}, 2, rows[i].name,
                                    &collector, &error));
        assert_null(collector);
        if (strncmp(error.text, rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s", error.text);
    }
}

/* ---- What others must know of them ---- */

/* Calls back with every collector of the build folder. */
static size_t each_collector(void (*check)(const struct collector *collector, void *user),
                             void *user)
{
    DIR *folder = opendir(COLLECTORS);
    const struct dirent *entry;
    size_t keys = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        size_t length = strlen(entry->d_name);
        struct collector *collector;
        struct rasad_error error;
        char name[64];

        if (length < 4 || length > 60 || strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)length - 3, entry->d_name);
        if (!collector_open((const char *const[]){COLLECTORS}, 1, name, &collector, &error))
            fail_msg("%s", error.text);
        check(collector, user);
        keys += collector->api.key_count;
        collector_close(collector);
    }
    (void)closedir(folder);
    return keys;
}

static void check_documented(const struct collector *collector, void *user)
{
    const struct text *docs = user;

    for (size_t i = 0; i < collector->api.key_count; i++) {
        struct rasad_key key = collector_key(collector, i);
        SCOPED(text_free) struct text row = {0};

        text_printf(&row, "\n| %s | `%s` | %s | %s%s| %s%s| %s |\n", collector->api.name, key.name,
                    key.plugin, key.unit, key.unit[0] != '\0' ? " " : "", key.labels,
                    key.labels[0] != '\0' ? " " : "", key.help);
        if (strstr(docs->at, text_end(&row)) == NULL)
            fail_msg("docs/collectors.md has no row%s", row.at);
    }
}

static void every_key_is_documented_and_no_other(void **state)
{
    SCOPED(fclose_at) FILE *file = fopen(SOURCE "/docs/collectors.md", "re");
    SCOPED(text_free) struct text docs = {0};
    size_t rows = 0, got;

    assert_non_null(file);
    do {
        assert_true(text_reserve(&docs, 4096));
        got = fread(docs.at + docs.length, 1, 4096, file);
        docs.length += got;
    } while (got > 0);
    (void)text_end(&docs);
    /* Lines whose second cell is a key. */
    for (const char *at = docs.at; (at = strstr(at, "\n| ")) != NULL;) {
        at = strstr(at + 3, " | ");
        assert_non_null(at);
        rows += at[3] == '`';
    }
    assert_int_equal(each_collector(check_documented, &docs), rows);
}

/* Whether the statement's values, by commas, are these. */
static bool has_values(const struct conf_statement *section, const char *name, const char *wanted)
{
    const struct conf_statement *option = conf_find(section, name);
    SCOPED(text_free) struct text values = {0};

    for (size_t i = 0; option != NULL && i < option->value_count; i++)
        text_printf(&values, "%s%s", i > 0 ? "," : "", option->values[i].text);
    return strcmp(text_end(&values), wanted) == 0;
}

static void check_configured(const struct collector *collector, void *user)
{
    const struct conf_tree *tree = user;

    for (size_t i = 0; i < collector->api.key_count; i++) {
        struct rasad_key key = collector_key(collector, i);
        bool found = false;

        for (size_t j = 0; j < tree->root.child_count; j++) {
            const struct conf_statement *child = &tree->root.children[j];

            if (strcmp(child->name, "metric") != 0 || child->title == NULL ||
                strcmp(child->title, key.name) != 0)
                continue;
            found = true;
            if (!has_values(child, "plugin", key.plugin) ||
                !has_values(child, "labels", key.labels))
                fail_msg("etc/rasad.conf:%d: \"%s\" wants plugin %s and labels %s", child->line,
                         key.name, key.plugin, key.labels);
        }
        if (!found)
            fail_msg("etc/rasad.conf has no metric \"%s\"", key.name);
    }
}

static void the_shipped_conf_takes_every_key(void **state)
{
    SCOPED(conf_tree_free) struct conf_tree tree = {0};

    conf_scan(SOURCE "/etc/rasad.conf", &tree);
    assert_true(conf_tree_ok(&tree));
    assert_true(each_collector(check_configured, &tree) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_is_the_share_of_time_not_idle),
        cmocka_unit_test(letters_come_at_their_rate_whatever_the_interval),
        cmocka_unit_test(rtt_pings_and_sends_what_the_pong_took),
        cmocka_unit_test(load_sends_three_averages),
        cmocka_unit_test(memory_sends_the_kinds_that_it_knows_in_bytes),
        cmocka_unit_test(disk_sends_increments_of_whole_disks),
        cmocka_unit_test(network_sends_increments_of_each_interface),
        cmocka_unit_test(filesystem_asks_block_devices_only),
        cmocka_unit_test(pressure_sends_stalls_and_misses_them_quietly),
        cmocka_unit_test(the_runner_calls_soon_and_then_at_the_interval),
        cmocka_unit_test(what_a_collector_sends_becomes_sound_messages),
        cmocka_unit_test(a_wrong_name_gets_a_hint),
        cmocka_unit_test(every_key_is_documented_and_no_other),
        cmocka_unit_test(the_shipped_conf_takes_every_key),
    };

    return cmocka_run_group_tests_name("collectors", tests, NULL, NULL);
}
