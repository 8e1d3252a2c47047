/* SPDX-License-Identifier: Apache-2.0 */
/* Isolation (isolate.h), with the real worker and a plugin that goes wrong in every way we know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "isolate/isolate.h"
#include "isolate/plugin_describe.h"
#include "laws/sanitized.h"

/* As the plugin has it. */
struct state {
    uint64_t count;
    double sum;
    uint64_t texts;
    uint64_t exemplars;
};

#define BATCH ISOLATE_BATCH
#define MOST_STATES 64

/* An isolate with a log and a folder of its own. */
struct stage {
    struct plugin *plugin;
    struct isolate *isolate;
    char folder[64];
    int log_fd;
    struct log log;
    struct state states[MOST_STATES];
    struct isolate_sample samples[BATCH];
    size_t count;
};

static struct plugin *describe(const char *name)
{
    char path[4096];
    struct rasad_error error = {""};
    struct plugin *plugin;

    (void)snprintf(path, sizeof path, "%s/%s.so", NAUGHTY, name);
    if (!plugin_take(path, &plugin, &error) || !plugin_describe(plugin, name, &error))
        fail_msg("%s", error.text);
    return plugin;
}

static struct stage *stage_new(const char *options, int64_t timeout_ms)
{
    struct stage *stage = calloc(1, sizeof *stage);
    struct isolate_house house = {.lanes = 2};
    struct rasad_error error = {""};
    char section[1024];

    assert_non_null(stage);
    (void)snprintf(stage->folder, sizeof stage->folder, "/tmp/rasad-isolate-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    stage->log_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(stage->log_fd >= 0);
    stage->log = log_make(stage->log_fd, NULL);
    house.log = &stage->log;
    house.crash_folder = stage->folder;
    stage->plugin = describe("naughty");
    (void)snprintf(section, sizeof section, "metric \"hits\" { plugin = \"naughty\" %s }", options);
    if (!isolate_open(stage->plugin, "hits", section, timeout_ms * NS_PER_MS, &stage->isolate,
                      &error) ||
        !isolate_begin(stage->isolate, &house, &error))
        fail_msg("%s", error.text);
    return stage;
}

/* The files in the folder; they are gone then. */
static size_t take_files(struct stage *stage, char *last, size_t room)
{
    DIR *folder = opendir(stage->folder);
    const struct dirent *entry;
    size_t count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        SCOPED(close_at) int fd = openat(dirfd(folder), entry->d_name, O_RDONLY);
        ssize_t got;

        if (entry->d_name[0] == '.')
            continue;
        got = read(fd, last, room - 1);
        assert_true(got > 0);
        last[got] = '\0';
        assert_int_equal(unlinkat(dirfd(folder), entry->d_name, 0), 0);
        count++;
    }
    (void)closedir(folder);
    return count;
}

static void stage_free(struct stage *stage)
{
    char last[16384];

    isolate_close(stage->isolate);
    (void)take_files(stage, last, sizeof last);
    assert_int_equal(rmdir(stage->folder), 0);
    plugin_unref(stage->plugin);
    (void)close(stage->log_fd);
    free(stage);
    /* Whatever happened, no process is left, not even a dead one. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Whether the log has this. */
static bool has_logged(const struct stage *stage, const char *text)
{
    static char log[1 << 20];
    ssize_t got = pread(stage->log_fd, log, sizeof log - 1, 0);

    log[got > 0 ? got : 0] = '\0';
    return strstr(log, text) != NULL;
}

static void add(struct stage *stage, size_t state, uint32_t type, double number, const char *text)
{
    assert_true(stage->count < BATCH);
    stage->samples[stage->count++] = (struct isolate_sample){
        .state = &stage->states[state],
        .agent = "web-1",
        .value = {.size = sizeof(struct rasad_value),
                  .type = type,
                  .number = number,
                  .text = text,
                  .length = strlen(text),
                  .time_ns = 1700000000 * NS_PER_S,
                  .seed = 42},
    };
}

/* Runs what was added; how many were taken. */
static size_t run(struct stage *stage, uint32_t lane)
{
    size_t taken = 0;

    isolate_update(stage->isolate, lane, stage->samples, stage->count);
    for (size_t i = 0; i < stage->count; i++)
        taken += stage->samples[i].verdict == ISOLATE_TAKEN;
    stage->count = 0;
    return taken;
}

/* ---- What goes well ------------------------------------------------------------------------ */

static void described_plugins_have_no_functions_and_all_else(void **unused)
{
    struct plugin *plugin = describe("naughty");
    struct rasad_option row;

    assert_null(plugin->module.handle);
    assert_null(plugin->api.update);
    assert_string_equal(plugin->api.version, "1.0");
    assert_int_equal(plugin->api.kind, RASAD_COUNTER);
    assert_int_equal(plugin->api.state_version, 2);
    assert_int_equal(plugin->api.option_count, 4);
    row = plugin_option(plugin, 2);
    assert_string_equal(row.name, "padding");
    assert_string_equal(row.preset, "0");
    assert_string_equal(row.max, "1000000");
    assert_null(row.min);
    plugin_unref(plugin);
}

static void descriptions_are_not_believed(void **unused)
{
    struct plugin *plugin = describe("naughty"), *other = describe("naughty");
    SCOPED(text_free) struct text whole = {0};

    plugin_describe_write(plugin, &whole);
    assert_true(plugin_describe_read(other, whole.at, whole.length));
    for (size_t length = 0; length < whole.length; length++)
        assert_false(plugin_describe_read(other, whole.at, length));
    for (size_t i = 0; i < whole.length; i++) { /* any byte may be wrong: no harm is done */
        whole.at[i] = (char)~whole.at[i];
        (void)plugin_describe_read(other, whole.at, whole.length);
        whole.at[i] = (char)~whole.at[i];
    }
    plugin_unref(other);
    plugin_unref(plugin);
}

static void samples_come_to_their_states(void **unused)
{
    struct stage *stage = stage_new("words = { \"twice\" }", 2000);
    static const struct rasad_label labels[] = {{"trace_id", "abc"}, {"span", "d"}};
    static const struct rasad_exemplar exemplar = {labels, 2};

    for (size_t i = 0; i < BATCH; i++)
        add(stage, i % 7, RASAD_NUMBER, 0.5, "");
    assert_int_equal(run(stage, 0), BATCH);
    add(stage, 0, RASAD_TEXT, 0, "twice");
    add(stage, 1, RASAD_NUMBER, 1, "1");
    stage->samples[1].value.exemplar = &exemplar;
    assert_int_equal(run(stage, 1), 2); /* the other lane's process works on the same masters */
    assert_int_equal(stage->states[0].count, 37 + 2);
    assert_int_equal(stage->states[0].texts, 5);
    assert_int_equal(stage->states[1].count, 37 + 1);
    assert_int_equal(stage->states[1].exemplars, 16);
    assert_int_equal(stage->states[6].count, 36);
    assert_true(stage->states[6].sum == 18);
    assert_int_equal(isolate_started(stage->isolate), 2);
    stage_free(stage);
}

static void refusals_have_their_reason_and_change_nothing(void **unused)
{
    struct stage *stage = stage_new("ceiling = 3", 2000);

    for (size_t i = 0; i < BATCH; i++)
        add(stage, i % 3, RASAD_NUMBER, i % 2 == 0 ? 1 : 4, "");
    assert_int_equal(run(stage, 0), BATCH / 2);
    assert_int_equal(stage->samples[1].verdict, ISOLATE_REFUSED);
    assert_string_equal(stage->samples[BATCH - 1].reason, "4 is above 3");
    assert_int_equal(stage->states[0].count + stage->states[1].count + stage->states[2].count,
                     BATCH / 2);
    assert_int_equal(isolate_started(stage->isolate), 1);
    stage_free(stage);
}

static void large_texts_and_states_have_room(void **unused)
{
    struct stage *stage = stage_new("", 5000);
    size_t length = 20 << 20;
    SCOPED(free_at) char *text = malloc(length + 1);

    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    add(stage, 0, RASAD_TEXT, 0, text);
    add(stage, 1, RASAD_TEXT, 0, "small");
    add(stage, 0, RASAD_TEXT, 0, text);
    assert_int_equal(run(stage, 0), 3);
    assert_int_equal(stage->states[0].texts, 2 * length);
    assert_int_equal(stage->states[1].texts, 5);
    stage_free(stage);
}

static void large_states_come_in_several_batches(void **unused)
{
    struct stage *stage = stage_new("padding = 1000000", 5000);
    size_t bytes;
    const void *fresh = isolate_fresh(stage->isolate, &bytes);
    unsigned char *states[8];

    assert_int_equal(bytes, sizeof(struct state) + 1000000);
    for (size_t i = 0; i < 8; i++) {
        assert_non_null(states[i] = malloc(bytes));
        memcpy(states[i], fresh, bytes);
    }
    for (size_t i = 0; i < 32; i++) {
        add(stage, 0, RASAD_NUMBER, 1, "");
        stage->samples[i].state = states[i % 8];
    }
    assert_int_equal(run(stage, 0), 32);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(((struct state *)states[i])->count, 4);
        free(states[i]);
    }
    stage_free(stage);
}

/* ---- What goes wrong ----------------------------------------------------------------------- */

static const struct {
    double value;
    const char *why; /* in a build without sanitizers */
} mistakes[] = {
    {13, "it was ended by SIGSEGV"},    {14, "no answer within 1000 ms"},
    {15, "it wrote outside its state"}, {16, "it ended with status 0"},
    {17, "it was ended by SIGABRT"},    {18, "it was ended by SIGSYS"},
    {19, "it wrote outside its state"}, {21, "it was ended by SIGSEGV"},
    {22, "it was ended by SIGSEGV"},    {23, "it was ended by SIGSEGV"},
};

static void each_culprit_is_found_and_kept(void **unused)
{
    struct stage *stage = stage_new("", 1000);
    uint64_t expected = 0;
    char file[16384];

    for (size_t m = 0; m < sizeof mistakes / sizeof *mistakes; m++) {
        if (mistakes[m].value == 18 && LAWS_SANITIZED)
            continue; /* such a build allows every system call */
        for (size_t i = 0; i < 20; i++)
            add(stage, i % 4, RASAD_NUMBER, i == 9 ? mistakes[m].value : 1, "");
        assert_int_equal(run(stage, 0), 19);
        expected += 19;
        assert_int_equal(stage->samples[9].verdict, ISOLATE_CRASHED);
        if (strstr(stage->samples[9].reason, mistakes[m].why) == NULL)
            fail_msg("%s, not %s", stage->samples[9].reason, mistakes[m].why);
        assert_int_equal(take_files(stage, file, sizeof file), 1);
        assert_non_null(strstr(file, "\"agent\": \"web-1\""));
        assert_non_null(strstr(file, mistakes[m].why));
        assert_non_null(strstr(file, "\"seed\": \"000000000000002a\""));
    }
    assert_int_equal(stage->states[0].count + stage->states[1].count + stage->states[2].count +
                         stage->states[3].count,
                     expected);
    assert_true(has_logged(stage, "an isolated plugin crashed"));
    assert_false(isolate_is_off(stage->isolate));
    stage_free(stage);
}

static void a_culprits_file_tells_all_that_is_needed(void **unused)
{
    struct stage *stage = stage_new("ceiling = 99", 2000);
    char file[16384];

    stage->states[5].count = 0x1122334455667788;
    add(stage, 5, RASAD_CHANGE, 13, "");
    assert_int_equal(run(stage, 0), 0);
    assert_int_equal(take_files(stage, file, sizeof file), 1);
    assert_non_null(strstr(file, "\"plugin\": \"naughty\""));
    assert_non_null(strstr(file, "\"version\": \"1.0\""));
    assert_non_null(strstr(file, "\"metric\": \"hits\""));
    assert_non_null(strstr(file, "\"doing\": \"update\""));
    assert_non_null(strstr(file, "\"type\": \"change\", \"number\": 13, \"text\": \"\", "
                                 "\"time_ns\": 1700000000000000000"));
    assert_non_null(strstr(file, "\"state_version\": 2"));
    assert_non_null(strstr(file, "\"state\": \"8877665544332211000000"));
    assert_non_null(strstr(file, "metric \\\"hits\\\" { plugin = \\\"naughty\\\" ceiling = 99 }"));
    stage_free(stage);
}

/* One sample of fourteen kills; every other one counts. */
static void counts_are_exact_less_the_culprits(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    int64_t start_ns = clock_steady_ns();
    uint64_t taken = 0, sum = 0;

    for (size_t i = 0; i < 10000;) {
        for (size_t k = 0; k < BATCH && i < 10000; k++, i++)
            add(stage, i % 10, RASAD_NUMBER, (double)(i % 14), "");
        taken += run(stage, 0);
    }
    for (size_t i = 0; i < 10; i++)
        sum += stage->states[i].count;
    assert_int_equal(taken, 10000 - 10000 / 14);
    assert_int_equal(sum, taken);
    assert_false(isolate_is_off(stage->isolate));
    print_message("%d culprits among 10000 samples: %.2f s, %d processes\n", 10000 / 14,
                  (double)(clock_steady_ns() - start_ns) / 1e9,
                  (int)isolate_started(stage->isolate));
    stage_free(stage);
}

static void five_in_a_row_switch_it_off(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    uint64_t started;

    for (int i = 0; i < 4; i++)
        add(stage, 0, RASAD_NUMBER, 13, "");
    add(stage, 0, RASAD_NUMBER, 1, ""); /* a success between: it begins anew */
    for (int i = 0; i < 4; i++)
        add(stage, 0, RASAD_NUMBER, 13, "");
    assert_int_equal(run(stage, 0), 1);
    assert_false(isolate_is_off(stage->isolate));
    add(stage, 0, RASAD_NUMBER, 13, "");
    add(stage, 0, RASAD_NUMBER, 1, "");
    assert_int_equal(run(stage, 1), 0);
    assert_true(isolate_is_off(stage->isolate));
    assert_true(has_logged(stage, "switched off until the next reload"));
    started = isolate_started(stage->isolate);
    for (size_t i = 0; i < BATCH; i++)
        add(stage, 0, RASAD_NUMBER, 1, "");
    assert_int_equal(run(stage, 0), 0);
    assert_int_equal(stage->samples[255].verdict, ISOLATE_CRASHED);
    assert_non_null(strstr(stage->samples[255].reason, "switched off"));
    assert_int_equal(isolate_started(stage->isolate), started);
    assert_int_equal(stage->states[0].count, 1);
    stage_free(stage);
}

static void a_lie_about_verdicts_is_harmless(void **unused)
{
    struct stage *stage = stage_new("", 200);

    add(stage, 0, RASAD_NUMBER, 20, "");
    assert_int_equal(run(stage, 0), 0);
    assert_int_equal(stage->samples[0].verdict, ISOLATE_REFUSED);
    assert_int_equal(strlen(stage->samples[0].reason), 511);
    add(stage, 0, RASAD_NUMBER, 1, ""); /* it sleeps, and is replaced */
    assert_int_equal(run(stage, 0), 1);
    stage_free(stage);
}

/* ---- Killed from outside ------------------------------------------------------------------- */

/* Kills descendants of ours: of the given depth, 1 being the keeper. How many. */
static size_t kill_workers(int depth)
{
    pid_t pids[64], parents[64];
    size_t count = 0, killed = 0;
    DIR *all = opendir("/proc");
    const struct dirent *entry;

    assert_non_null(all);
    while ((entry = readdir(all)) != NULL && count < 64) {
        char path[300], line[512];
        SCOPED(fclose_at) FILE *file = NULL;
        const char *end;

        (void)snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        if ((file = fopen(path, "re")) == NULL || fgets(line, sizeof line, file) == NULL ||
            (end = strrchr(line, ')')) == NULL || strstr(line, "(rasad-worker)") == NULL)
            continue;
        pids[count] = (pid_t)atoi(entry->d_name);
        parents[count++] = (pid_t)atoi(end + 4);
    }
    (void)closedir(all);
    for (size_t i = 0; i < count; i++) {
        bool is_keeper = parents[i] == getpid(), is_hand = false;

        for (size_t k = 0; k < count; k++)
            is_hand |= parents[i] == pids[k] && parents[k] == getpid();
        if ((depth == 1 && is_keeper) || (depth == 2 && is_hand))
            killed += kill(pids[i], SIGKILL) == 0;
    }
    return killed;
}

static void killed_workers_are_replaced_and_blame_nobody(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    const void *only[] = {&stage->states[0]};
    char file[16384];
    uint64_t sum = 0;

    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < BATCH; i++)
            add(stage, i % 5, RASAD_NUMBER, 1, "");
        assert_int_equal(run(stage, (uint32_t)round % 2), BATCH);
        assert_true(kill_workers(round % 4 < 2 ? 2 : 1) > 0);
        assert_true(isolate_merge(stage->isolate, &stage->states[9], only, 1, NULL));
    }
    for (size_t i = 0; i < 5; i++)
        sum += stage->states[i].count;
    assert_int_equal(sum, 20 * BATCH);
    assert_int_equal(take_files(stage, file, sizeof file), 0);
    assert_false(isolate_is_off(stage->isolate));
    stage_free(stage);
}

static size_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

static void nothing_is_left_open(void **unused)
{
    size_t before = count_descriptors();

    for (int round = 0; round < 5; round++) {
        struct stage *stage = stage_new("", 2000);

        for (size_t i = 0; i < 28; i++)
            add(stage, 0, RASAD_NUMBER, (double)(i % 14), "");
        assert_int_equal(run(stage, 0), 26);
        (void)kill_workers(round % 2 + 1);
        stage_free(stage);
    }
    assert_int_equal(count_descriptors(), before);
}

/* ---- Reading ------------------------------------------------------------------------------- */

struct seen {
    struct rasad_writer writer;
    size_t points;
    uint64_t count;
    char word[16];
    char trace[16];
    size_t ended, failed;
};

static void see(struct rasad_writer *writer, const struct rasad_point *point)
{
    struct seen *seen = (struct seen *)writer;

    seen->points++;
    if (point->type == RASAD_POINT_COUNTER)
        seen->count = point->count;
    if (point->type == RASAD_POINT_LABEL)
        (void)snprintf(seen->word, sizeof seen->word, "%s", point->label.value);
    if (point->exemplar != NULL && point->exemplar->label_count == 1)
        (void)snprintf(seen->trace, sizeof seen->trace, "%s", point->exemplar->labels[0].value);
}

static struct seen seen_make(void)
{
    return (struct seen){.writer = {.size = sizeof(struct rasad_writer), .write = see}};
}

static void states_are_merged_and_rendered(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    const void *states[] = {&stage->states[0], &stage->states[1], &stage->states[2]};
    struct seen seen = seen_make();

    for (size_t i = 0; i < 3; i++)
        stage->states[i].count = 10 + i;
    assert_true(isolate_render(stage->isolate, states, 3, &seen.writer, NULL));
    assert_int_equal(seen.points, 2);
    assert_int_equal(seen.count, 33);
    assert_string_equal(seen.word, "a word");
    assert_string_equal(seen.trace, "abc");
    assert_int_equal(stage->states[0].count, 10); /* masters are not touched by that */
    assert_true(isolate_merge(stage->isolate, &stage->states[0], states + 1, 2, NULL));
    assert_int_equal(stage->states[0].count, 33);
    stage_free(stage);
}

static struct rasad_writer *begin(void *context, size_t i)
{
    struct seen *seen = context;

    assert_int_equal(seen->ended, i);
    return &seen->writer;
}

static void end(void *context, size_t i, bool fine)
{
    struct seen *seen = context;

    assert_int_equal(seen->ended, i);
    seen->ended++;
    if (!fine)
        seen->failed++;
    else
        assert_int_equal(seen->count, i + 1);
}

static void many_series_are_rendered_at_once(void **unused)
{
    enum { SERIES = 20000 };
    struct stage *stage = stage_new("", 2000);
    struct state *states = calloc(SERIES, sizeof *states);
    const void **at = calloc(SERIES, sizeof *at);
    struct isolate_series *series = calloc(SERIES, sizeof *series);
    struct seen seen = seen_make();
    const struct isolate_sink sink = {begin, end, &seen};
    int64_t start_ns;

    assert_true(states != NULL && at != NULL && series != NULL);
    for (size_t i = 0; i < SERIES; i++) {
        states[i].count = i + 1;
        at[i] = &states[i];
        series[i] = (struct isolate_series){&at[i], 1};
    }
    states[777].count = 131313;     /* render() crashes on that */
    states[9999].texts = 3000000;   /* has more points than there is usually room */
    states[10001].texts = 30000000; /* more than ever */
    start_ns = clock_steady_ns();
    isolate_render_all(stage->isolate, series, SERIES, 0, &sink);
    print_message("%.2f us a series\n", (double)(clock_steady_ns() - start_ns) / 1e3 / SERIES);
    assert_int_equal(seen.ended, SERIES);
    assert_int_equal(seen.failed, 2);
    assert_int_equal(seen.count, SERIES);
    free(states);
    free(at);
    free(series);
    stage_free(stage);
}

static void more_states_than_a_job_has_room_for_are_one_series(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    const void *states[1000];
    struct seen seen = seen_make();

    stage->states[0].count = 1;
    for (size_t i = 0; i < 1000; i++)
        states[i] = &stage->states[0];
    assert_true(isolate_render(stage->isolate, states, 1000, &seen.writer, NULL));
    assert_int_equal(seen.count, 1000);
    stage_free(stage);
}

static void what_crashes_while_reading_is_an_error(void **unused)
{
    struct stage *stage = stage_new("", 2000);
    const void *states[] = {&stage->states[0], &stage->states[1]};
    struct rasad_error error = {""};
    struct seen seen = seen_make();
    uint64_t old = 13;
    char file[16384];

    stage->states[0].count = 1300;
    stage->states[1].count = 13;
    assert_false(isolate_render(stage->isolate, states, 2, &seen.writer, &error));
    assert_non_null(strstr(error.text, "crashed on it"));
    assert_int_equal(seen.points, 0);
    assert_false(isolate_merge(stage->isolate, &stage->states[0], states + 1, 1, &error));
    assert_int_equal(stage->states[0].count, 1300);
    assert_false(isolate_migrate(stage->isolate, 1, &old, sizeof old, &stage->states[0], &error));
    assert_int_equal(stage->states[0].count, 1300);
    assert_int_equal(take_files(stage, file, sizeof file), 3);
    old = 14;
    assert_true(isolate_migrate(stage->isolate, 1, &old, sizeof old, &stage->states[0], &error));
    assert_int_equal(stage->states[0].count, 14);
    assert_false(isolate_migrate(stage->isolate, 7, &old, sizeof old, &stage->states[0], &error));
    assert_string_equal(error.text,
                        "plugin \"naughty\" cannot bring over a state of version 7 (8 bytes)");
    stage_free(stage);
}

static void lies_about_points_are_harmless(void **unused)
{
    static const char *const fakes[] = {"fake = 1", "fake = 2", "fake = 3", "fake = 4"};

    for (size_t i = 0; i < sizeof fakes / sizeof *fakes; i++) {
        struct stage *stage = stage_new(fakes[i], 500);
        const void *only[] = {&stage->states[0]};
        struct rasad_error error = {""};
        struct seen seen = seen_make();

        assert_false(isolate_render(stage->isolate, only, 1, &seen.writer, &error));
        assert_non_null(strstr(error.text, "its points could not be read"));
        assert_int_equal(seen.points, 0);
        stage_free(stage);
    }
}

/* ---- Loading ------------------------------------------------------------------------------- */

static void what_configure_says_is_the_error(void **unused)
{
    static const struct {
        const char *section;
        const char *why;
    } cases[] = {
        {"metric \"x\" { ceiling = -1 }", "ceiling must not be below zero"},
        {"metric \"x\" { ceiling = 666 }", "died while it loaded it: it was ended by SIGABRT"},
        {"metric \"x\" { padding = 1000000000 }", "wants a state of 1000000032 bytes"},
    };
    struct plugin *plugin = describe("naughty");

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = {""};
        struct isolate *isolate = NULL;

        if (i == 1 && LAWS_SANITIZED)
            continue; /* a sanitizer makes a status of it */
        assert_false(isolate_open(plugin, "x", cases[i].section, NS_PER_S, &isolate, &error));
        if (strstr(error.text, cases[i].why) == NULL)
            fail_msg("\"%s\" has no \"%s\"", error.text, cases[i].why);
    }
    plugin_unref(plugin);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Its constructor would end this test. */
static void none_of_its_code_runs_here(void **unused)
{
    struct rasad_error error = {""};
    struct isolate *isolate = NULL;
    struct plugin *plugin;

    assert_int_equal(setenv("RASAD_TEST_HOST", "1", 1), 0);
    plugin = describe("loud");
    if (!isolate_open(plugin, "x", "metric \"x\" { }", NS_PER_S, &isolate, &error))
        fail_msg("%s", error.text);
    isolate_close(isolate);
    plugin_unref(plugin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(described_plugins_have_no_functions_and_all_else),
        cmocka_unit_test(descriptions_are_not_believed),
        cmocka_unit_test(samples_come_to_their_states),
        cmocka_unit_test(refusals_have_their_reason_and_change_nothing),
        cmocka_unit_test(large_texts_and_states_have_room),
        cmocka_unit_test(large_states_come_in_several_batches),
        cmocka_unit_test(each_culprit_is_found_and_kept),
        cmocka_unit_test(a_culprits_file_tells_all_that_is_needed),
        cmocka_unit_test(counts_are_exact_less_the_culprits),
        cmocka_unit_test(five_in_a_row_switch_it_off),
        cmocka_unit_test(a_lie_about_verdicts_is_harmless),
        cmocka_unit_test(killed_workers_are_replaced_and_blame_nobody),
        cmocka_unit_test(nothing_is_left_open),
        cmocka_unit_test(states_are_merged_and_rendered),
        cmocka_unit_test(many_series_are_rendered_at_once),
        cmocka_unit_test(more_states_than_a_job_has_room_for_are_one_series),
        cmocka_unit_test(what_crashes_while_reading_is_an_error),
        cmocka_unit_test(lies_about_points_are_harmless),
        cmocka_unit_test(what_configure_says_is_the_error),
        cmocka_unit_test(none_of_its_code_runs_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
