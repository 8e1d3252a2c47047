/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * message: one object on its way to a server, and lists of them in the order of their coming.
 * Threads: none inside. Memory: whoever holds the list owns its messages.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message {
    struct message *next;
    const void *owner; /* who waits for it and may take it back; NULL: nobody. The keeper's */
    uint64_t ticket;   /* its place among all that were pushed, from 1. The keeper's */
    uint32_t length;
    char bytes[]; /* without a line feed at its end */
};

/* First come, first out. Zero is empty. */
struct messages {
    struct message *first, *last;
    uint64_t count;
    size_t bytes; /* of memory, roughly */
};

/* A copy of these bytes; NULL without memory. To be freed with free(). */
struct message *message_new(const char *bytes, size_t length);

/* Memory that a message of this length takes, roughly. */
size_t message_cost(size_t length);

/* Puts a message at the end; the list owns it now. */
void messages_add(struct messages *messages, struct message *message);

/* Takes the first one out, which the caller owns; NULL if there is none. */
struct message *messages_take(struct messages *messages);

/* Moves the messages of this owner to the end of the other list, in their order. */
void messages_take_from(struct messages *messages, const void *owner, struct messages *into);

/* Frees all messages. */
void messages_free(struct messages *messages);
