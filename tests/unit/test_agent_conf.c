/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.conf and the command line: what they say, and what a user is told who writes them wrong.
 * SOURCE comes from the build: the source tree.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_conf.h"
#include "base/clock.h"
#include "base/scoped.h"
#include "options.h"
#include "state_folder.h"

static char path[] = "/tmp/rasad-agent-conf-XXXXXX";

static int make_file(void **state)
{
    int fd = mkstemp(path);

    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    return unlink(path);
}

static void write_conf(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void what_is_written_is_what_is_read(void **state)
{
    SCOPED(agent_conf_free_at) struct agent_conf *conf = NULL;
    SCOPED(text_free) struct text report = {0};

    write_conf("server = { \"mon-1:5050\", \"[::1]:6000\" }\n"
               "name = \"web-1\"\n"
               "spool = \"/var/spool/x\"  spool_max = \"128MiB\"\n"
               "spool_full = \"block\"  spool_sync = \"os\"\n"
               "collectors_path = \"/usr/local/lib/rasad/collectors\"\n"
               "collector \"memory\" { }\n"
               "collector \"letters\" { enabled = false }\n"
               "collector \"cpu\" { interval = \"250ms\" }\n");
    if (!agent_conf_read(path, &conf, &report))
        fail_msg("%s", text_end(&report));
    assert_int_equal(conf->server.count, 2);
    assert_string_equal(conf->server.at[0], "mon-1:5050");
    assert_string_equal(conf->server.at[1], "[::1]:6000");
    assert_string_equal(conf->name, "web-1");
    assert_int_equal(conf->collectors_path.count, 1);
    assert_int_equal(conf->collector_count, 3);
    assert_string_equal(conf->collectors[0].name, "memory");
    assert_true(conf->collectors[0].enabled);
    assert_int_equal(conf->collectors[0].interval, 0); /* the collector's own */
    assert_false(conf->collectors[1].enabled);
    assert_int_equal(conf->collectors[2].interval, 250 * NS_PER_MS);
    assert_int_equal(conf->collectors[2].line, 8);
    assert_true(conf->has_spool);
    assert_string_equal(conf->spool, "/var/spool/x");
    assert_int_equal(conf->spool_max_bytes, 128 << 20);
    assert_string_equal(conf->spool_full, "block");
    assert_string_equal(conf->spool_sync, "os");
}

static void an_empty_conf_leaves_all_to_others(void **state)
{
    SCOPED(agent_conf_free_at) struct agent_conf *conf = NULL;
    SCOPED(text_free) struct text report = {0};

    write_conf("# nothing\n");
    assert_true(agent_conf_read(path, &conf, &report));
    assert_int_equal(conf->server.count, 0);
    assert_string_equal(conf->name, "");
    assert_int_equal(conf->collector_count, 0);
    assert_false(conf->has_spool);
    assert_int_equal(conf->spool_max_bytes, 0);
    assert_string_equal(conf->spool_full, "");
    assert_string_equal(conf->spool_sync, "disk");
}

static void the_shipped_conf_is_fine(void **state)
{
    SCOPED(agent_conf_free_at) struct agent_conf *conf = NULL;
    SCOPED(text_free) struct text report = {0};

    if (!agent_conf_read(SOURCE "/etc/agent.conf", &conf, &report))
        fail_msg("%s", text_end(&report));
    assert_int_equal(conf->server.count, 1);
    assert_int_equal(conf->collector_count, 9); /* each one is there to be switched */
}

static void what_is_wrong_is_said_with_its_line(void **state)
{
    static const struct {
        const char *conf;
        const char
            *lines[3]; /* ":LINE: …": each must begin a line of the report, behind the path */
    } rows[] = {
        {"server = { \"a\", \"b:0\" }", {":1: \"0\" is no port (write 1 to 65535)"}},
        {"\nserver = \"\"", {":2: "}},
        {"name = \"a\\nb\"", {":1: the name has a control character"}},
        {"collector \"cpu\" { interval = \"1ms\" }", {":1: "}}, /* below 10ms */
        {"collector \"cpu\" { intervall = \"1s\" }", {":1: "}},
        {"collector { }", {":1: "}},
        {"spool_full = \"drop\"",
         {":1: \"spool_full\" can't be \"drop\" (write \"block\" or \"drop-oldest\")"}},
        {"\nspool_sync = \"fsync\"",
         {":2: \"spool_sync\" can't be \"fsync\" (write \"disk\" or \"os\" or \"memory\")"}},
        {"spool_max = \"63KiB\"",
         {":1: \"spool_max\" must be 64KiB to 16GiB, got \"63KiB\" (write bytes, or such as "}},
        {"spool_max = \"17GiB\"", {":1: \"spool_max\" must be "}},
        {"spool_max = \"1 MiB\"", {":1: \"spool_max\" must be "}},
        {"colector \"cpu\" { }", {":1: "}},
        {"collector \"cpu\" { }\ncollector \"cpu\" { }", {":2: "}},
        {"collector \"cpu\" {\n", {":1: "}},                               /* never closed */
        {"name = 1\n\nserver = \"x:y\"\nnam = \"z\"\n", {":3: ", ":4: "}}, /* all at once */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        SCOPED(agent_conf_free_at) struct agent_conf *conf = NULL;
        SCOPED(text_free) struct text report = {0};

        write_conf(rows[i].conf);
        if (agent_conf_read(path, &conf, &report))
            fail_msg("row %zu was taken", i);
        assert_null(conf);
        for (size_t j = 0; j < 3 && rows[i].lines[j] != NULL; j++) {
            SCOPED(text_free) struct text wanted = {0};

            text_printf(&wanted, "%s%s", path, rows[i].lines[j]);
            if (strstr(text_end(&report), text_end(&wanted)) == NULL)
                fail_msg("row %zu: no %s in\n%s", i, wanted.at, report.at);
        }
    }
}

static void the_spool_lies_where_the_environment_says(void **state)
{
    static const struct {
        const char *state_directory, *xdg, *name, *path;
    } rows[] = {
        {"/var/lib/a", "/x", "web-1", "/var/lib/a"},
        {"/var/lib/a:/var/lib/b", "/x", "web-1", "/var/lib/a"}, /* systemd's list */
        {"relative", "/x", "web-1", "/x/rasad-agent/web-1"},
        {NULL, "/x", "web-1", "/x/rasad-agent/web-1"},
        {NULL, "relative", "web-1", "/home/me/.local/state/rasad-agent/web-1"},
        {NULL, NULL, "a/../b", "/home/me/.local/state/rasad-agent/a%2F..%2Fb"},
        {NULL, NULL, "..", "/home/me/.local/state/rasad-agent/%2E."},
        {NULL, NULL, "50%", "/home/me/.local/state/rasad-agent/50%25"},
    };
    char long_name[256], folder[PATH_MAX];
    struct rasad_error error;

    assert_int_equal(setenv("HOME", "/home/me", 1), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(
            setenv("STATE_DIRECTORY", rows[i].state_directory ? rows[i].state_directory : "", 1),
            0);
        assert_int_equal(setenv("XDG_STATE_HOME", rows[i].xdg ? rows[i].xdg : "", 1), 0);
        assert_true(state_folder(rows[i].name, folder, &error));
        assert_string_equal(folder, rows[i].path);
    }
    memset(long_name, '/', 255); /* each becomes three bytes, and a file's name has at most 255 */
    long_name[255] = '\0';
    assert_true(state_folder(long_name, folder, &error));
    assert_in_range(strlen(strrchr(folder, '/') + 1), 200, 255);
}

static void a_missing_file_is_an_error(void **state)
{
    SCOPED(agent_conf_free_at) struct agent_conf *conf = NULL;
    SCOPED(text_free) struct text report = {0};

    assert_false(agent_conf_read("/nowhere/agent.conf", &conf, &report));
    assert_non_null(strstr(text_end(&report), "/nowhere/agent.conf"));
}

/* ---- The command line ---- */

#define MOST_WORDS 12

/* Parses these words as a command line; they are copied, since -C is taken apart in place. */
static bool parse(const char *const *words, struct options *options, struct rasad_error *error)
{
    static char copies[MOST_WORDS][64];
    char *argv[MOST_WORDS + 2] = {(char[]){"rasad-agent"}};
    int argc = 1;

    for (; words[argc - 1] != NULL; argc++) {
        (void)snprintf(copies[argc - 1], sizeof copies[0], "%s", words[argc - 1]);
        argv[argc] = copies[argc - 1];
    }
    return options_parse(argc, argv, options, error);
}

static void short_and_long_options_say_the_same(void **state)
{
    static const char *const lines[][MOST_WORDS] = {
        {"-s", "a:1", "-s", "b", "-n", "web", "-i", "0.25", "-C", "cpu,rtt,cpu", "-cF"},
        {"--server=a:1", "--server", "b", "--name=web", "--interval=2.5e-1", "--collectors=cpu,rtt",
         "--conf=F"},
    };

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct options options;
        struct rasad_error error = {0};

        if (!parse(lines[i], &options, &error))
            fail_msg("%s", error.text);
        assert_int_equal(options.action, OPTIONS_RUN);
        assert_int_equal(options.server_count, 2);
        assert_string_equal(options.servers[0], "a:1");
        assert_string_equal(options.servers[1], "b");
        assert_string_equal(options.name, "web");
        assert_int_equal(options.interval_ns, 250 * NS_PER_MS);
        assert_int_equal(options.collector_count, 2);
        assert_string_equal(options.collectors[1], "rtt");
        assert_string_equal(options.conf, "F");
        assert_false(options.from_stdin);
    }
}

static void wrong_usage_is_explained(void **state)
{
    static const struct {
        const char *words[3];
        const char *text;
    } rows[] = {
        {{"-x"}, "unknown option -x"},
        {{"--sever"}, "unknown option --sever"},
        {{"-n"}, "-n wants a value"},
        {{"--name"}, "--name wants a value"},
        {{"-n", ""}, "a name of 0 bytes (write 1 to 255)"},
        {{"-n", "a\tb"}, "the name has a control character"},
        {{"-n", "a\xc2\x85"}, "the name has a control character"},
        {{"-n", "\xff"}, "the name is no UTF-8"},
        {{"-i", "0"}, "\"0\" is no interval (write seconds, 0.01 to 86400)"},
        {{"-i", "1s"}, "\"1s\" is no interval (write seconds, 0.01 to 86400)"},
        {{"-i", "nan"}, "\"nan\" is no interval (write seconds, 0.01 to 86400)"},
        {{"-s", "a:70000"}, "\"70000\" is no port (write 1 to 65535)"},
        {{"-C", ","}, "no collector named (write -C cpu,letters)"},
        {{"now"}, "unknown argument \"now\""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct options options;
        struct rasad_error error = {0};

        assert_false(parse(rows[i].words, &options, &error));
        assert_string_equal(error.text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_what_is_read),
        cmocka_unit_test(an_empty_conf_leaves_all_to_others),
        cmocka_unit_test(the_shipped_conf_is_fine),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(the_spool_lies_where_the_environment_says),
        cmocka_unit_test(short_and_long_options_say_the_same),
        cmocka_unit_test(wrong_usage_is_explained),
    };

    return cmocka_run_group_tests_name("agent_conf", tests, make_file, remove_file);
}
