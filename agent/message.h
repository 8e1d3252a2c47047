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
    uint64_t number; /* in its stream; 0 until it was given to a link */
    uint32_t chain;  /* CRC-32C over the stream up to the end of this message */
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

/* Frees all messages. */
void messages_free(struct messages *messages);
