/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"

/* What log_line() writes in this look, in a buffer that lives until the next call. */
static const char *line_of(struct log look, enum log_level level, const char *message,
                           const struct log_field *fields)
{
    static char line[2 * LOG_MOST_BYTES];
    ssize_t length;

    look.fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(look.fd >= 0);
    log_line(&look, level, message, fields);
    length = pread(look.fd, line, sizeof line - 1, 0);
    assert_true(length >= 0);
    line[length] = '\0';
    (void)close(look.fd);
    return line;
}

static void test_lines_for_machines(void **unused)
{
    static const struct {
        enum log_level level;
        const char *message;
        struct log_field fields[3];
        const char *line;
    } cases[] = {
        {LOG_LEVEL_INFO, "stopped", {{0}}, "info stopped\n"},
        {LOG_LEVEL_INFO,
         "new connection",
         {{.key = "address", .value = "127.0.0.1:41604", .length = 15}},
         "info new connection address=127.0.0.1:41604\n"},
        {LOG_LEVEL_WARNING,
         "refused",
         {{.key = "more", .number = -41}, {.key = "key", .value = "R T", .length = 3}},
         "warning refused more=-41 key=\"R T\"\n"},
        {LOG_LEVEL_ERROR, "x", {{.key = "k", .value = "", .length = 0}}, "error x k=\"\"\n"},
        {LOG_LEVEL_INFO, "x", {{.key = "k", .value = "a=b", .length = 3}}, "info x k=\"a=b\"\n"},
        {LOG_LEVEL_INFO,
         "x",
         {{.key = "k", .value = "a\"b", .length = 3}},
         "info x k=\"a\\\"b\"\n"},
        {LOG_LEVEL_INFO,
         "x",
         {{.key = "k", .value = "a\ninfo y\033[m", .length = 11}},
         "info x k=\"a\\ninfo y\\x1b[m\"\n"}, /* no forged line, no steered terminal */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(
            line_of((struct log){0}, cases[i].level, cases[i].message, cases[i].fields),
            cases[i].line);
}

static void test_lines_for_a_terminal(void **unused)
{
    const struct log plain = {.terminal = true};
    const struct log_field none = {0};
    const struct log_field two[] = {log_text("address", "127.0.0.1:5050"), log_number("n", 2), {0}};
    const struct log_field json[] = {
        log_text("text", "{\"a\": \"\\n\033\"}"), log_text("agent", "a b"), {0}};
    const struct log_field forged[] = {log_text("key", "a b\n[X]"), {0}};

    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "starting", &none), "[STARTING]\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "Trying to reconnect", two),
                        "[Trying to reconnect] 127.0.0.1:5050 n=2\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "listening", two),
                        "[LISTENING] 127.0.0.1:5050 n=2\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "active connections", two + 1),
                        "[ACTIVE CONNECTIONS] 2\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_WARNING, "refused", two),
                        "[WARNING] refused address=127.0.0.1:5050 n=2\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "got", forged), "[GOT] a b\\n[X]\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_ERROR, "no", &none), "[ERROR] no\n");
    assert_string_equal(line_of(plain, LOG_LEVEL_INFO, "message", json),
                        "[MESSAGE] {\"a\": \"\\n\\x1b\"} agent=\"a b\"\n");
}

static void test_a_file_is_no_terminal(void **unused)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    struct log log = log_make(fd, NULL);

    assert_int_equal(log.fd, fd);
    assert_false(log.terminal);
    (void)close(fd);
}

static void test_the_short_forms_write_the_same(void **unused)
{
    char line[256];
    int fd = memfd_create("log", MFD_CLOEXEC);
    const struct log log = {.fd = fd};
    ssize_t length;

    log_plain(&log, LOG_LEVEL_INFO, "a");
    log_info(&log, "b", log_number("n", 1));
    log_warning(&log, "c", log_text("k", "v"), log_number("n", 2));
    log_error(&log, "d", log_bytes("k", "value", 2));
    length = pread(fd, line, sizeof line, 0);
    assert_int_equal(length, 49);
    assert_memory_equal(line, "info a\ninfo b n=1\nwarning c k=v n=2\nerror d k=va\n", 49);
    (void)close(fd);
}

static void test_a_pipe_that_nobody_reads_stops_nobody(void **unused)
{
    _Atomic uint64_t lost = 0;
    char page[65536];
    ssize_t length = 0;
    struct log log;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    log = log_make(ends[1], &lost);
    for (int i = 0; i < 100000; i++)
        log_info(&log, "more", log_number("n", i));
    assert_true(atomic_load(&lost) > 50000);
    length = read(ends[0], page, sizeof page);
    assert_true(length > 0);
    atomic_store(&lost, 7);
    log_plain(&log, LOG_LEVEL_INFO, "again");
    length = read(ends[0], page, sizeof page);
    assert_true(length > 0);
    assert_non_null(
        memmem(page, (size_t)length,
               "warning log lines were lost, for nobody read them count=7\ninfo again\n", 69));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_a_long_line_is_cut_between_characters(void **unused)
{
    char text[3 * LOG_MOST_BYTES + 1];
    const struct log_field fields[] = {{.key = "k", .value = text, .length = sizeof text - 1},
                                       {.key = NULL}};
    const char *line;

    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    for (size_t shift = 0; shift < 3; shift++) {
        line = line_of((struct log){0}, LOG_LEVEL_INFO, &"xxx"[shift], fields);
        assert_true(strlen(line) <= LOG_MOST_BYTES && strlen(line) > LOG_MOST_BYTES - 8);
        assert_true(utf8_valid(line, strlen(line)));
        assert_string_equal(line + strlen(line) - 4, "...\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_for_machines),
        cmocka_unit_test(test_lines_for_a_terminal),
        cmocka_unit_test(test_a_file_is_no_terminal),
        cmocka_unit_test(test_the_short_forms_write_the_same),
        cmocka_unit_test(test_a_pipe_that_nobody_reads_stops_nobody),
        cmocka_unit_test(test_a_long_line_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
