/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory_file.h"
#include "handover/standing.h"

/* A service manager that hears what it is asked to, and keeps the last descriptor. */
struct manager {
    char folder[64];
    int socket;
    char words[256]; /* of the message that was heard last */
    int fd;          /* which it is the test's to close */
};

static void manager_open(struct manager *manager)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *manager = (struct manager){.folder = "/tmp/rasad-standing-XXXXXX", .fd = -1};
    assert_non_null(mkdtemp(manager->folder));
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", manager->folder);
    manager->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(manager->socket, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
}

static void manager_close(struct manager *manager)
{
    char path[sizeof manager->folder + 8];

    (void)snprintf(path, sizeof path, "%s/notify", manager->folder);
    (void)close(manager->socket);
    (void)unlink(path);
    (void)rmdir(manager->folder);
    (void)unsetenv("NOTIFY_SOCKET");
}

/* The next message; false if there is none. */
static bool manager_hear(struct manager *manager)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } room;
    struct iovec line = {.iov_base = manager->words, .iov_len = sizeof manager->words - 1};
    struct msghdr message = {.msg_iov = &line,
                             .msg_iovlen = 1,
                             .msg_control = &room,
                             .msg_controllen = sizeof room.bytes};
    ssize_t length = recvmsg(manager->socket, &message, 0);

    manager->fd = -1;
    if (length < 0)
        return false;
    manager->words[length] = '\0';
    if (message.msg_controllen > 0)
        memcpy(&manager->fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof manager->fd);
    return true;
}

static void assert_hears(struct manager *manager, const char *words)
{
    assert_true(manager_hear(manager));
    assert_string_equal(manager->words, words);
}

/* A new one; `*memory` is what the next process would get. */
static struct standing *begin(struct manager *manager, int *memory)
{
    struct standing *standing;
    struct rasad_error error = {""};

    assert_true(standing_open(-1, &standing, &error));
    assert_hears(manager, "FDSTOREREMOVE=1\nFDNAME=rasad-standing");
    assert_hears(manager, "FDSTORE=1\nFDPOLL=0\nFDNAME=rasad-standing");
    assert_true(manager->fd >= 0);
    *memory = manager->fd;
    return standing;
}

static int any_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    return fd;
}

/* What the manager hears when this socket leaves the store. */
static void removal(int fd, char words[128])
{
    char name[STANDING_NAME_LENGTH];

    standing_name(standing_cookie(fd), name);
    (void)snprintf(words, 128, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

static void test_the_next_process_finds_each_socket_where_it_stood(void **state)
{
    static const enum standing_state states[] = {STANDING_FRESH, STANDING_LINES, STANDING_RUN,
                                                 STANDING_TORN,  STANDING_LOST,  STANDING_NAMED};
    enum { COUNT = sizeof states / sizeof *states };
    struct manager manager;
    struct standing *standing, *next;
    struct standing_slot *slot;
    struct rasad_error error = {""};
    int fds[COUNT], memory;
    char words[128];
    bool stored;

    manager_open(&manager);
    standing = begin(&manager, &memory);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = any_socket();
        slot = standing_claim(standing, fds[i], "127.0.0.1:5", STANDING_FRESH, &stored);
        assert_non_null(slot);
        assert_false(stored);
        assert_true(standing_store(slot, fds[i], 0));
        assert_true(manager_hear(&manager));
        (void)close(manager.fd);
        standing_set(slot, states[i]);
    }
    assert_true(standing_take_handover(standing, 5));
    assert_true(standing_take_handover(standing, 6));
    standing_leave(standing);
    standing_close(standing);
    assert_false(manager_hear(&manager));
    assert_true(standing_open(memory, &next, &error));
    assert_false(standing_take_handover(next, 6));
    assert_true(standing_take_handover(NULL, 6));
    for (int i = 0; i < COUNT; i++) {
        slot = standing_find(next, standing_cookie(fds[i]));
        assert_non_null(slot);
        assert_int_equal(standing_state(slot), states[i]);
        assert_string_equal(slot->address, "127.0.0.1:5");
    }
    assert_null(standing_find(next, 1));
    slot = standing_claim(next, fds[COUNT - 1], "127.0.0.1:5", STANDING_FRESH, &stored);
    assert_non_null(slot);
    assert_true(stored);
    assert_int_equal(standing_state(slot), STANDING_NAMED); /* a kill may come before it goes on */
    standing_settle(next);                                  /* the others were not taken over */
    for (int i = 0; i < COUNT - 1; i++) {
        removal(fds[i], words);
        assert_hears(&manager, words);
    }
    assert_false(manager_hear(&manager));
    for (int i = 0; i < COUNT; i++)
        (void)close(fds[i]);
    standing_leave(next);
    standing_close(next);
    manager_close(&manager);
}

static void test_a_read_makes_of_a_place_the_worse_of_what_may_be(void **state)
{
    static const struct {
        enum standing_state from, to;
    } rows[] = {
        {STANDING_FRESH, STANDING_LOST}, /* it may be a hello */
        {STANDING_LINES, STANDING_TORN},  {STANDING_TORN, STANDING_TORN},
        {STANDING_RUN, STANDING_LOST},    {STANDING_LOST, STANDING_LOST},
        {STANDING_NAMED, STANDING_NAMED}, /* its sender will tell */
    };
    struct standing_slot slot = {.cookie = 1};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        standing_set(&slot, rows[i].from);
        standing_begin_read(&slot);
        assert_int_equal(standing_state(&slot), rows[i].to);
    }
    standing_begin_read(NULL);
    standing_set(NULL, STANDING_LINES);
}

static void test_a_busy_manager_is_told_later(void **state)
{
    struct manager manager;
    struct standing *standing;
    struct standing_slot *slot;
    int memory, fd = any_socket(), other = any_socket(), said = 0;
    bool stored, told = false;
    char words[128];

    manager_open(&manager);
    standing = begin(&manager, &memory);
    slot = standing_claim(standing, fd, "a", STANDING_FRESH, &stored);
    removal(fd, words);
    while (standing_store(slot, fd, 0))
        said++; /* until its queue is full */
    assert_true(said > 0);
    standing_end(standing, slot, fd, true);
    assert_int_equal(standing_state(slot), STANDING_GONE);
    assert_ptr_not_equal(standing_claim(standing, other, "b", STANDING_FRESH, &stored), slot);
    while (manager_hear(&manager))
        (void)close(manager.fd);
    standing_tell(standing);
    while (manager_hear(&manager))
        told |= strcmp(manager.words, words) == 0;
    assert_true(told);
    assert_int_equal(standing_state(slot), STANDING_FREE);
    (void)close(fd);
    (void)close(other);
    (void)close(memory);
    standing_close(standing);
    manager_close(&manager);
}

static void test_no_more_is_given_than_the_store_has_room_for(void **state)
{
    struct manager manager;
    struct standing *standing;
    struct standing_slot *first;
    int memory, fds[3] = {any_socket(), any_socket(), any_socket()};
    char words[128];
    bool stored;

    manager_open(&manager);
    assert_int_equal(setenv("FDSTORE", "4", 1), 0); /* two of which are for memories */
    standing = begin(&manager, &memory);
    assert_int_equal(unsetenv("FDSTORE"), 0);
    first = standing_claim(standing, fds[0], "a", STANDING_FRESH, &stored);
    assert_non_null(first);
    assert_non_null(standing_claim(standing, fds[1], "b", STANDING_FRESH, &stored));
    assert_null(standing_claim(standing, fds[2], "c", STANDING_FRESH, &stored));
    standing_end(standing, first, fds[0], true);
    assert_ptr_equal(standing_claim(standing, fds[2], "c", STANDING_FRESH, &stored), first);
    assert_null(standing_claim(standing, memory, "no socket", STANDING_FRESH, &stored));
    assert_null(standing_claim(NULL, fds[2], "c", STANDING_FRESH, &stored));
    while (manager_hear(&manager))
        continue;
    /* One that is stored and has no slot ends all the same. */
    standing_end(standing, NULL, fds[0], false);
    assert_false(manager_hear(&manager));
    standing_end(standing, NULL, fds[0], true);
    removal(fds[0], words);
    assert_hears(&manager, words);
    standing_end(NULL, NULL, fds[0], true);
    assert_hears(&manager, words);
    for (int i = 0; i < 3; i++)
        (void)close(fds[i]);
    (void)close(memory);
    standing_close(standing);
    manager_close(&manager);
}

static void test_places_are_found_and_old_ones_leave_the_store(void **state)
{
    struct manager manager;
    struct standing *standing;
    struct handover_sockets now = {.address = {"localhost", 9}, .port = 5050, .count = 2}, was;
    uint64_t cookies[SOCKETS_MOST];
    int memory, a = any_socket(), b = any_socket();
    char words[128];

    manager_open(&manager);
    standing = begin(&manager, &memory);
    assert_false(standing_was_place(standing, HANDOVER_LISTEN, &was, cookies));
    now.fds[0] = a;
    now.fds[1] = b;
    standing_place(standing, HANDOVER_LISTEN, &now);
    assert_true(standing_was_place(standing, HANDOVER_LISTEN, &was, cookies));
    assert_int_equal(was.count, 2);
    assert_int_equal(was.port, 5050);
    assert_int_equal(was.address.length, 9);
    assert_int_equal(cookies[1], standing_cookie(b));
    assert_false(standing_was_place(standing, HANDOVER_HTTP, &was, cookies));
    for (int i = 0; i < 2; i++) {
        assert_true(manager_hear(&manager));
        (void)close(manager.fd);
    }
    now.count = 1;
    standing_place(standing, HANDOVER_LISTEN, &now);
    removal(b, words);
    assert_hears(&manager, words);
    assert_false(manager_hear(&manager));
    (void)close(a);
    (void)close(b);
    (void)close(memory);
    standing_close(standing);
    manager_close(&manager);
}

/* A copy of the memory, sealed as the test wants. */
static int copy(int memory, off_t size, int seals)
{
    static char bytes[4096];
    int fd = memory_file("copy");

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(pread(memory, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void poke(int fd, off_t at, const void *bytes, size_t length)
{
    assert_int_equal(pwrite(fd, bytes, length, at), length);
}

/* Where the cookie lies in the memory. */
static off_t find(int memory, uint64_t cookie)
{
    static char bytes[4096];
    const char *at;

    assert_int_equal(pread(memory, bytes, sizeof bytes, 0), sizeof bytes);
    at = memmem(bytes, sizeof bytes, &cookie, sizeof cookie);
    assert_non_null(at);
    return at - bytes;
}

static void test_what_another_process_wrote_is_trusted_in_nothing(void **state)
{
    static const uint32_t many = UINT32_MAX, one = 1;
    static const char address[ADDRESS_LENGTH] = "bad\naddress";
    struct manager manager;
    struct standing *standing, *next;
    struct standing_slot *slot;
    struct rasad_error error = {""};
    struct stat there;
    int memory, fd = any_socket(), bad;
    uint64_t cookie = standing_cookie(fd);
    off_t at;
    bool stored;

    manager_open(&manager);
    standing = begin(&manager, &memory);
    assert_int_equal(fstat(memory, &there), 0);
    slot = standing_claim(standing, fd, "good", STANDING_FRESH, &stored);
    standing_set(slot, STANDING_LINES);
    at = find(memory, cookie);

    assert_true(standing_open(copy(memory, there.st_size, F_SEAL_SHRINK), &next, &error));
    assert_int_equal(standing_state(standing_find(next, cookie)), STANDING_LINES);
    standing_leave(next);
    standing_close(next);
    /* It might be cut short under us; it is short; it isn't what it should be. */
    assert_false(standing_open(copy(memory, there.st_size, 0), &next, &error));
    assert_false(standing_open(copy(memory, there.st_size - 1, F_SEAL_SHRINK), &next, &error));
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, 0, "x", 1);
    assert_false(standing_open(bad, &next, &error));
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, 8, &many, sizeof many);
    assert_false(standing_open(bad, &next, &error));
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, 12, &one, sizeof one);
    assert_false(standing_open(bad, &next, &error));
    assert_string_equal(error.text, "its process had just given its place to another");
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, at - 8, &many, sizeof many); /* the count of slots */
    assert_false(standing_open(bad, &next, &error));
    /* One slot of nonsense is closed, and the rest goes on. */
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, at + 8, "\xff", 1);
    assert_true(standing_open(bad, &next, &error));
    assert_int_equal(standing_state(standing_find(next, cookie)), STANDING_LOST);
    standing_leave(next);
    standing_close(next);
    bad = copy(memory, there.st_size, F_SEAL_SHRINK);
    poke(bad, at + 9, address, sizeof address);
    assert_true(standing_open(bad, &next, &error));
    assert_int_equal(standing_state(standing_find(next, cookie)), STANDING_LOST);
    assert_string_equal(standing_find(next, cookie)->address, "");
    standing_leave(next);
    standing_close(next);

    standing_disown(standing, true);
    standing_leave(standing);
    standing_close(standing);
    assert_false(standing_open(memory, &next, &error));
    (void)close(fd);
    manager_close(&manager);
}

static void test_without_a_manager_there_is_none(void **state)
{
    struct standing *standing;
    struct rasad_error error = {""};

    (void)unsetenv("NOTIFY_SOCKET");
    assert_false(standing_open(-1, &standing, &error));
    assert_string_equal(error.text, "the service manager does not listen");
    standing_close(NULL);
    standing_disown(NULL, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_process_finds_each_socket_where_it_stood),
        cmocka_unit_test(test_a_read_makes_of_a_place_the_worse_of_what_may_be),
        cmocka_unit_test(test_a_busy_manager_is_told_later),
        cmocka_unit_test(test_no_more_is_given_than_the_store_has_room_for),
        cmocka_unit_test(test_places_are_found_and_old_ones_leave_the_store),
        cmocka_unit_test(test_what_another_process_wrote_is_trusted_in_nothing),
        cmocka_unit_test(test_without_a_manager_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
