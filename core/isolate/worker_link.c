/* SPDX-License-Identifier: Apache-2.0 */
#include "isolate/worker_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"

/* In front of every message. */
struct head {
    uint32_t kind;
    uint32_t length;
};

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void attach(struct msghdr *message, union control *control, int passed)
{
    struct cmsghdr *part;

    memset(control, 0, sizeof *control);
    message->msg_control = control;
    message->msg_controllen = sizeof control->bytes;
    part = CMSG_FIRSTHDR(message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(part), &passed, sizeof passed);
}

static bool send_all(int link, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(link, bytes, length, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool worker_send(int link, enum worker_kind kind, const void *bytes, size_t length, int passed)
{
    struct head head = {.kind = kind, .length = (uint32_t)length};
    struct iovec part = {.iov_base = &head, .iov_len = sizeof head};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control;
    ssize_t sent;

    if (length > WORKER_MOST_BYTES)
        return false;
    if (passed >= 0)
        attach(&message, &control, passed);
    do
        sent = sendmsg(link, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof head && send_all(link, bytes, length);
}

/* Whether there is something to read before the deadline. */
static bool wait_readable(int link, int64_t deadline_ns)
{
    struct pollfd polled = {.fd = link, .events = POLLIN};

    for (;;) {
        int64_t left_ms = -1;
        int ready;

        if (deadline_ns != INT64_MAX) {
            left_ms = (deadline_ns - clock_steady_ns() + NS_PER_MS - 1) / NS_PER_MS;
            left_ms = left_ms < 0 ? 0 : left_ms > 60000 ? 60000 : left_ms;
        }
        ready = poll(&polled, 1, (int)left_ms);
        if (ready > 0)
            return true;
        if ((ready < 0 && errno != EINTR) || (left_ms == 0 && ready == 0))
            return false;
    }
}

/* The descriptor that came along, or -1; of several only the first is wanted. */
static int attached(struct msghdr *message)
{
    const struct cmsghdr *part = CMSG_FIRSTHDR(message);
    int passed[2] = {-1, -1};

    if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
        part->cmsg_len < CMSG_LEN(sizeof *passed) || part->cmsg_len > CMSG_LEN(sizeof passed))
        return -1;
    memcpy(passed, CMSG_DATA(part), part->cmsg_len - CMSG_LEN(0));
    close_at(&passed[1]);
    return passed[0];
}

/* A descriptor that comes along is put into `*passed`, if it has room for one. */
static bool receive_all(int link, int64_t deadline_ns, void *bytes, size_t length, int *passed)
{
    size_t got = 0;

    while (got < length) {
        struct iovec part = {.iov_base = (char *)bytes + got, .iov_len = length - got};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        union control control;
        ssize_t n;

        if (passed != NULL && *passed < 0) {
            message.msg_control = &control;
            message.msg_controllen = sizeof control.bytes;
        }
        if (!wait_readable(link, deadline_ns))
            return false;
        n = recvmsg(link, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return false;
        if (message.msg_controllen > 0)
            *passed = attached(&message);
        got += (size_t)n;
    }
    return true;
}

static bool receive(int link, int64_t deadline_ns, struct worker_message *message)
{
    struct head head;

    if (!receive_all(link, deadline_ns, &head, sizeof head, &message->passed) ||
        head.length > WORKER_MOST_BYTES || !text_reserve(&message->bytes, head.length + 1))
        return false;
    message->kind = head.kind;
    message->bytes.length = head.length;
    return receive_all(link, deadline_ns, message->bytes.at, head.length, NULL);
}

bool worker_receive(int link, int64_t deadline_ns, struct worker_message *message)
{
    SCOPED(worker_message_end) struct worker_message received = WORKER_MESSAGE_NONE;

    if (!receive(link, deadline_ns, &received))
        return false;
    *message = received;
    received = WORKER_MESSAGE_NONE;
    return true;
}

void worker_message_end(struct worker_message *message)
{
    text_free(&message->bytes);
    close_at(&message->passed);
    *message = WORKER_MESSAGE_NONE;
}
