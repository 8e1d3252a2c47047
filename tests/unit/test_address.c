/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/address.h"

static void test_addresses_as_people_write_them(void **unused)
{
    static const struct {
        const char *v6, *v4;
        const char *text;
    } cases[] = {
        {NULL, "127.0.0.1", "127.0.0.1:41604"},
        {"::1", NULL, "[::1]:41604"},
        {"::ffff:10.0.0.7", NULL, "10.0.0.7:41604"}, /* v4-mapped as v4 */
        {"2001:db8::7", NULL, "[2001:db8::7]:41604"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(41604)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(41604)};
        char text[ADDRESS_LENGTH];

        if (cases[i].v4 != NULL) {
            assert_int_equal(inet_pton(AF_INET, cases[i].v4, &v4.sin_addr), 1);
            address_format((const void *)&v4, text);
        } else {
            assert_int_equal(inet_pton(AF_INET6, cases[i].v6, &v6.sin6_addr), 1);
            address_format((const void *)&v6, text);
        }
        assert_string_equal(text, cases[i].text);
    }
}

static void test_a_unix_socket_has_no_more_to_say(void **unused)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[ADDRESS_LENGTH];

    address_format((const void *)&address, text);
    assert_string_equal(text, "unix");
}

static void test_hosts_and_ports_come_apart(void **unused)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        const char *why; /* NULL: it is fine */
    } cases[] = {
        {"web-1", "web-1", 5050, NULL},
        {"web-1:80", "web-1", 80, NULL},
        {"127.0.0.1:65535", "127.0.0.1", 65535, NULL},
        {"[::1]:80", "::1", 80, NULL},
        {"[::1]", "::1", 5050, NULL},
        {"::1", "::1", 5050, NULL},
        {"", NULL, 0, "\"\" names no host (write HOST:PORT)"},
        {":80", NULL, 0, "\":80\" names no host (write HOST:PORT)"},
        {"[]:80", NULL, 0, "\"[]:80\" names no host (write HOST:PORT)"},
        {"[::1", NULL, 0, "\"[::1\" is no address (write HOST:PORT or [ADDRESS]:PORT)"},
        {"[::1]x", NULL, 0, "\"[::1]x\" is no address (write HOST:PORT or [ADDRESS]:PORT)"},
        {"web-1:", NULL, 0, "\"\" is no port (write 1 to 65535)"},
        {"web-1:0", NULL, 0, "\"0\" is no port (write 1 to 65535)"},
        {"web-1:65536", NULL, 0, "\"65536\" is no port (write 1 to 65535)"},
        {"web-1:1.5", NULL, 0, "\"1.5\" is no port (write 1 to 65535)"},
        {"web-1:http", NULL, 0, "\"http\" is no port (write 1 to 65535)"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rasad_error error = {"fine"};
        char host[256];
        uint16_t port;
        bool fine = address_split(cases[i].text, 5050, host, &port, &error);

        assert_string_equal(error.text, cases[i].why != NULL ? cases[i].why : "fine");
        assert_int_equal(fine, cases[i].why == NULL);
        if (!fine)
            continue;
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
}

static void test_a_host_has_255_bytes_at_most(void **unused)
{
    struct rasad_error error;
    char text[300], host[256];
    uint16_t port;

    memset(text, 'h', sizeof text);
    text[255] = '\0';
    assert_true(address_split(text, 1, host, &port, &error));
    text[255] = 'h';
    text[256] = '\0';
    assert_false(address_split(text, 1, host, &port, &error));
}

/* The port that a socket listens on. */
static uint16_t port_of(int fd)
{
    struct sockaddr_in6 address; /* a v4 address has its port in the same place */
    socklen_t size = sizeof address;

    assert_int_equal(getsockname(fd, (void *)&address, &size), 0);
    return ntohs(address.sin6_port);
}

static void test_listens_on_a_free_port(void **unused)
{
    struct rasad_error error;
    int fds[4];
    size_t count = 0;
    char expected[128];

    if (!address_listen("127.0.0.1", 0, fds, 4, &count, &error))
        fail_msg("%s", error.text);
    assert_int_equal(count, 1);
    assert_true((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(port_of(fds[0]) > 0);
    assert_false(address_listen("127.0.0.1", port_of(fds[0]), fds + 1, 3, &count, &error));
    (void)snprintf(expected, sizeof expected,
                   "cannot listen on 127.0.0.1:%u: Address already in use (another program has "
                   "the port: ss -ltnp)",
                   port_of(fds[0]));
    assert_string_equal(error.text, expected);
    (void)close(fds[0]);
}

static void test_no_host_is_every_local_address(void **unused)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct rasad_error error;
    int fds[4], client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t count = 0;

    if (!address_listen("", 0, fds, 4, &count, &error))
        fail_msg("%s", error.text);
    assert_int_equal(count, 1);
    address.sin_port = htons(port_of(fds[0]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client, (const void *)&address, sizeof address), 0);
    (void)close(client);
    (void)close(fds[0]);
}

static void test_a_host_that_is_not_ours_is_refused(void **unused)
{
    struct rasad_error error;
    int fds[4];
    size_t count;

    assert_false(address_listen("192.0.2.1", 0, fds, 4, &count, &error)); /* TEST-NET-1 */
    assert_string_equal(error.text,
                        "cannot listen on 192.0.2.1:0: Cannot assign requested address");
}

static void test_a_dead_unix_socket_makes_room(void **unused)
{
    char folder[] = "/tmp/rasad-test-XXXXXX", path[64];
    struct rasad_error error;
    int first = -1, second = -1;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    assert_true(address_listen_unix(path, &first, &error));
    assert_false(address_listen_unix(path, &second, &error)); /* somebody listens */
    assert_int_equal(second, -1);
    (void)close(first); /* nobody does any more, but the file is there */
    assert_true(address_listen_unix(path, &second, &error));
    (void)close(second);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_a_file_in_the_place_of_a_socket_stays(void **unused)
{
    char path[] = "/tmp/rasad-test-XXXXXX";
    struct rasad_error error;
    int file = mkstemp(path), fd = -1;

    assert_true(file >= 0);
    assert_false(address_listen_unix(path, &fd, &error));
    assert_int_equal(access(path, F_OK), 0);
    (void)close(file);
    (void)unlink(path);
}

static void test_a_long_unix_path_is_refused(void **unused)
{
    struct rasad_error error;
    char path[200];
    int fd = -1;

    memset(path, 'x', sizeof path);
    path[108] = '\0';
    assert_false(address_listen_unix(path, &fd, &error));
    assert_non_null(strstr(error.text, "the path is longer than 107 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_as_people_write_them),
        cmocka_unit_test(test_a_unix_socket_has_no_more_to_say),
        cmocka_unit_test(test_hosts_and_ports_come_apart),
        cmocka_unit_test(test_a_host_has_255_bytes_at_most),
        cmocka_unit_test(test_listens_on_a_free_port),
        cmocka_unit_test(test_no_host_is_every_local_address),
        cmocka_unit_test(test_a_host_that_is_not_ours_is_refused),
        cmocka_unit_test(test_a_dead_unix_socket_makes_room),
        cmocka_unit_test(test_a_file_in_the_place_of_a_socket_stays),
        cmocka_unit_test(test_a_long_unix_path_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
