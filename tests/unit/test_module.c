/* SPDX-License-Identifier: Apache-2.0 */
/* The loader (base/module.h) and the shelf of plugins above it (plugin.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scoped.h"
#include "plugin.h"

/* A folder of a test's own; the files in it are called NAME.so. */
struct folder {
    char path[32];
};

static int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);

    *state = folder;
    if (folder == NULL)
        return -1;
    memcpy(folder->path, "/tmp/rasad-test-XXXXXX", 23);
    return mkdtemp(folder->path) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct folder *folder = *state;
    char command[64];

    (void)snprintf(command, sizeof command, "rm -r '%s'", folder->path);
    free(*state);
    return system(command);
}

/* The path of NAME.so in the folder; until the next call. */
static const char *path_in(const struct folder *folder, const char *name)
{
    static char path[64];

    (void)snprintf(path, sizeof path, "%s/%s.so", folder->path, name);
    return path;
}

static char *read_file(const char *path, size_t *size)
{
    SCOPED(fclose_at) FILE *file = fopen(path, "rb");
    char *bytes = malloc(1 << 22);

    assert_non_null(file);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 22, file);
    assert_true(*size < 1 << 22);
    return bytes;
}

/* Writes the bytes over the file in place. */
static void write_file(const char *path, const char *bytes, size_t size)
{
    SCOPED(close_at) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
}

/* Copies one of the plugins of the build into the folder, in place of what is there. */
static const char *put(const struct folder *folder, const char *from, const char *name)
{
    char path[4096];
    SCOPED(free_at) char *bytes = NULL;
    size_t size;

    (void)snprintf(path, sizeof path, "%s/%s.so", BROKEN, from);
    bytes = read_file(path, &size);
    write_file(path_in(folder, name), bytes, size);
    return path_in(folder, name);
}

/* Opening this path must fail with "PATH: WHY" and no more than that. */
static void check_refused(const char *path, const char *name, const char *why)
{
    struct rasad_error error = {"nothing"};
    struct plugin *plugin = NULL;
    char expected[5000];

    (void)snprintf(expected, sizeof expected, "%s: %s", path, why);
    if (plugin_open(path, name, &plugin, &error))
        fail_msg("%s was opened, but: %s", path, why);
    assert_string_equal(error.text, expected);
    assert_null(plugin);
}

static void test_a_whole_plugin_is_loaded(void **state)
{
    struct rasad_error error;
    struct plugin *plugin;
    const char *path = put(*state, "whole", "whole");
    uint64_t count = 7;

    if (!plugin_open(path, "whole", &plugin, &error))
        fail_msg("%s", error.text);
    assert_string_equal(plugin->api.name, "whole");
    assert_string_equal(plugin->path, path);
    plugin->api.init(NULL, &count);
    assert_true(plugin->api.update(NULL, &count, NULL, NULL));
    assert_int_equal(count, 1);
    plugin_unref(plugin);
    plugin_unref(NULL);
}

static void test_broken_plugins_are_refused_with_one_line_each(void **unused)
{
    static const struct {
        const char *name, *as, *why;
    } cases[] = {
        {"other_abi", "other_abi", "made for plugin ABI 99, but this is ABI 1 (compile it anew)"},
        {"no_note", "no_note", "no Rasad plugin (it has no \"Rasad\" note)"},
        {"no_symbol", "no_symbol", "no Rasad plugin (it exports no rasad_plugin)"},
        {"undefined", "undefined", "cannot be loaded: undefined symbol: rasad_no_such_function"},
        {"bad_magic", "bad_magic", "rasad_plugin doesn't begin with RASAD_PLUGIN_HEAD"},
        {"small", "small", "incomplete: its struct has 64 bytes only"},
        {"no_update", "no_update", "incomplete: it has no update"},
        {"bad_kind", "bad_kind", "of kind 77, which this server doesn't know"},
        {"nodelete", "nodelete", "made never to be unloaded (link it without -z nodelete)"},
        {"static_tls", "static_tls",
         "has thread-local variables of the static kind, for which a running process may have no "
         "room (do without them)"},
        {"bad_option", "bad_option", "option \"ceiling\" lies outside the config struct"},
        {"whole", "counter", "it calls itself \"whole\" (name the file whole.so)"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[4096];

        (void)snprintf(path, sizeof path, "%s/%s.so", BROKEN, cases[i].name);
        check_refused(path, cases[i].as, cases[i].why);
    }
}

static void test_files_that_are_no_shared_object_are_refused(void **state)
{
    static const char text[] = "{ this is a text, and long enough to hold the head of an object }";
    const char *path = path_in(*state, "whole");

    check_refused(path, "whole", "No such file or directory");
    write_file(path, "", 0);
    check_refused(path, "whole", "the file is empty");
    write_file(path, text, 10);
    check_refused(path, "whole", "no shared object");
    write_file(path, text, sizeof text);
    check_refused(path, "whole", "no shared object");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(path, "whole", "no regular file"); /* and it doesn't wait for a writer */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused(path, "whole", "no regular file");
}

static void test_a_file_cut_anywhere_is_refused_or_whole(void **state)
{
    const char *path = put(*state, "whole", "whole");
    size_t size;
    SCOPED(free_at) char *bytes = read_file(path, &size);

    write_file(path, bytes, 100); /* the head, but not its segments */
    check_refused(path, "whole", "the file is cut short");
    write_file(path, bytes, 4096); /* the first segments, but not all */
    check_refused(path, "whole", "the file is cut short");
    for (size_t cut = 0; cut < size; cut += 509) { /* none may bring us down */
        struct rasad_error error;
        struct plugin *plugin;

        write_file(path, bytes, cut);
        if (plugin_open(path, "whole", &plugin, &error))
            plugin_unref(plugin);
    }
}

static void test_bytes_that_lie_are_refused_before_they_are_followed(void **state)
{
    const char *path = put(*state, "whole", "whole");
    size_t size;
    SCOPED(free_at) char *bytes = read_file(path, &size);

    memset(bytes + 32, 0xff, 8); /* e_phoff: the segments' table, far outside */
    write_file(path, bytes, size);
    check_refused(path, "whole", "the file is cut short");
    bytes[4] = 1; /* EI_CLASS: 32 bits */
    write_file(path, bytes, size);
    check_refused(path, "whole", "made for another kind of machine");
}

static void test_files_that_others_may_change_are_refused(void **state)
{
    const char *path = put(*state, "whole", "whole");
    char other[64], why[128];

    assert_int_equal(chmod(path, 0664), 0);
    check_refused(path, "whole", "writable by others (chmod go-w)");
    assert_int_equal(chmod(path, 0646), 0);
    check_refused(path, "whole", "writable by others (chmod go-w)");
    assert_int_equal(chmod(path, 0644), 0);
    (void)snprintf(other, sizeof other, "%s", path);
    path = path_in(*state, "link");
    assert_int_equal(symlink(other, path), 0);
    check_refused(path, "whole", "a symbolic link (put the file itself there)");
    if (geteuid() != 0)
        return; /* only root can give a file away */
    assert_int_equal(chown(other, 65534, 65534), 0);
    (void)snprintf(why, sizeof why, "owned by uid 65534 (make it root's or uid %u's)", geteuid());
    check_refused(other, "whole", why);
}

static void test_a_folder_that_all_may_write_to_is_refused(void **state)
{
    const struct folder *folder = *state;
    const char *path = put(folder, "whole", "whole");
    struct rasad_error error;
    struct plugin *plugin;
    char why[128];

    (void)snprintf(why, sizeof why, "lies in a folder that all may write to (chmod o-w %s/)",
                   folder->path);
    assert_int_equal(chmod(folder->path, 0777), 0);
    check_refused(path, "whole", why);
    assert_int_equal(chmod(folder->path, 01777), 0); /* sticky, as /tmp is: nobody can replace it */
    if (!plugin_open(path, "whole", &plugin, &error))
        fail_msg("%s", error.text);
    plugin_unref(plugin);
    assert_int_equal(chmod(folder->path, 0775), 0); /* the group's business */
    if (!plugin_open(path, "whole", &plugin, &error))
        fail_msg("%s", error.text);
    plugin_unref(plugin);
}

static void test_what_was_loaded_stays_whatever_happens_to_the_file(void **state)
{
    const char *path = put(*state, "whole", "whole");
    static char zeros[65536];
    struct rasad_error error;
    struct plugin *plugin;
    uint64_t count = 0;

    assert_true(plugin_open(path, "whole", &plugin, &error));
    write_file(path, zeros, sizeof zeros);
    assert_true(plugin->api.update(NULL, &count, NULL, NULL));
    assert_int_equal(truncate(path, 0), 0);
    assert_true(plugin->api.update(NULL, &count, NULL, NULL));
    assert_int_equal(unlink(path), 0);
    assert_true(plugin->api.update(NULL, &count, NULL, NULL));
    assert_int_equal(count, 3);
    assert_string_equal(plugin->api.version, "1.0");
    plugin_unref(plugin);
}

static void test_the_same_path_gives_the_code_that_is_there_now(void **state)
{
    struct rasad_error error;
    struct plugin *old, *renewed;
    struct module module;
    const struct module_kind kind = {"plugin", RASAD_NOTE_OWNER, RASAD_ABI, "rasad_plugin"};

    assert_true(plugin_open(put(*state, "whole", "whole"), "whole", &old, &error));
    if (!module_open(put(*state, "newer", "whole"), &kind, &module, &error))
        fail_msg("%s", error.text);
    assert_string_equal(old->api.version, "1.0");
    assert_string_equal(((const struct rasad_plugin *)module.symbol)->version, "2.0");
    assert_true(module_close(&module));
    plugin_unref(old);
    assert_true(plugin_open(put(*state, "whole", "whole"), "whole", &renewed, &error));
    assert_string_equal(renewed->api.version, "1.0"); /* a reused descriptor is not the old code */
    plugin_unref(renewed);
}

static void test_a_refused_file_leaves_no_descriptor(void **state)
{
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

    (void)close(before);
    check_refused(BROKEN "/no_symbol.so", "no_symbol",
                  "no Rasad plugin (it exports no rasad_plugin)");
    check_refused(path_in(*state, "none"), "none", "No such file or directory");
    after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)close(after);
    assert_int_equal(after, before);
}

static void test_the_shelf_loads_each_name_once(void **unused)
{
    static const char *const folders[] = {"/nonexistent", PLUGINS, BROKEN};
    struct plugin_shelf shelf = {.folders = folders, .folder_count = 3};
    struct rasad_error error;
    const struct plugin *gauge = plugin_shelf_get(&shelf, "gauge", &error);

    assert_non_null(gauge);
    assert_non_null(plugin_shelf_get(&shelf, "whole", &error)); /* from the last folder */
    assert_ptr_equal(plugin_shelf_get(&shelf, "gauge", &error), gauge);
    assert_int_equal(shelf.count, 2);
    assert_string_equal(gauge->path, PLUGINS "/gauge.so");
    plugin_shelf_free(&shelf);
    assert_int_equal(shelf.count, 0);
}

static void test_an_unknown_name_suggests_the_nearest(void **state)
{
    static const struct {
        const char *name, *why;
    } cases[] = {
        {"guage", "unknown plugin \"guage\" (did you mean \"gauge\"?)"},
        {"Counter", "unknown plugin \"Counter\" (did you mean \"counter\"?)"},
        {"sumary", "unknown plugin \"sumary\" (did you mean \"summary\"?)"},
        {"meter", "unknown plugin \"meter\" (no folder of plugin_path has a meter.so)"},
        {"../plugins/gauge", "unknown plugin \"../plugins/gauge\" (no folder of plugin_path has a "
                             "../plugins/gauge.so)"}, /* a name is no path */
    };
    static const char *const folders[] = {"/nonexistent", PLUGINS};
    struct plugin_shelf shelf = {.folders = folders, .folder_count = 2};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = {"nothing"};

        assert_null(plugin_shelf_get(&shelf, cases[i].name, &error));
        assert_string_equal(error.text, cases[i].why);
    }
    plugin_shelf_free(&shelf);
}

static void test_a_broken_plugin_is_not_put_on_the_shelf(void **unused)
{
    static const char *const folders[] = {BROKEN};
    struct plugin_shelf shelf = {.folders = folders, .folder_count = 1};
    struct rasad_error error;

    assert_null(plugin_shelf_get(&shelf, "no_update", &error));
    assert_string_equal(error.text, BROKEN "/no_update.so: incomplete: it has no update");
    assert_int_equal(shelf.count, 0);
    assert_non_null(plugin_shelf_get(&shelf, "whole", &error));
    plugin_shelf_free(&shelf);
}

#define test(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_whole_plugin_is_loaded),
        test(test_broken_plugins_are_refused_with_one_line_each),
        test(test_files_that_are_no_shared_object_are_refused),
        test(test_a_file_cut_anywhere_is_refused_or_whole),
        test(test_bytes_that_lie_are_refused_before_they_are_followed),
        test(test_files_that_others_may_change_are_refused),
        test(test_a_folder_that_all_may_write_to_is_refused),
        test(test_what_was_loaded_stays_whatever_happens_to_the_file),
        test(test_the_same_path_gives_the_code_that_is_there_now),
        test(test_a_refused_file_leaves_no_descriptor),
        test(test_the_shelf_loads_each_name_once),
        test(test_an_unknown_name_suggests_the_nearest),
        test(test_a_broken_plugin_is_not_put_on_the_shelf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
