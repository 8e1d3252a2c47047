/* SPDX-License-Identifier: Apache-2.0 */
#include "handover/notice.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/scoped.h"

/* Where the manager listens: a path, or an abstract name behind '@'. */
static bool find_manager(struct sockaddr_un *address, socklen_t *size)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path != NULL ? strlen(path) : 0;

    if (length < 2 || length >= sizeof address->sun_path || (path[0] != '/' && path[0] != '@'))
        return false;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
    return true;
}

bool notice_is_heard(void)
{
    struct sockaddr_un address;
    socklen_t size;

    return find_manager(&address, &size);
}

/* Puts the descriptor into the message, whose room it is. */
static void enclose(struct msghdr *message, void *room, size_t size, int fd)
{
    struct cmsghdr *head;

    message->msg_control = room;
    message->msg_controllen = size;
    head = CMSG_FIRSTHDR(message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
}

bool notice_send(const char *words, int fd, int wait_ms)
{
    const struct timeval most = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000L};
    SCOPED(close_at) int to = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    union {
        struct cmsghdr head; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof fd)];
    } room = {.bytes = {0}};
    struct sockaddr_un address;
    struct iovec line = {.iov_base = (char *)(uintptr_t)words, .iov_len = strlen(words)};
    struct msghdr message = {.msg_name = &address, .msg_iov = &line, .msg_iovlen = 1};
    ssize_t sent;

    if (to < 0 || !find_manager(&address, &message.msg_namelen))
        return false;
    if (fd >= 0)
        enclose(&message, &room, sizeof room.bytes, fd);
    if (wait_ms > 0)
        (void)setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    do
        sent = sendmsg(to, &message, MSG_NOSIGNAL | (wait_ms > 0 ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}
