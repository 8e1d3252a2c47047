/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

struct message *message_new(const char *bytes, size_t length)
{
    struct message *message;

    if (length > UINT32_MAX)
        return NULL;
    message = malloc(sizeof *message + length);
    if (message == NULL)
        return NULL;
    *message = (struct message){.length = (uint32_t)length};
    memcpy(message->bytes, bytes, length);
    return message;
}

size_t message_cost(size_t length)
{
    return sizeof(struct message) + length + 16; /* malloc's own */
}

void messages_add(struct messages *messages, struct message *message)
{
    message->next = NULL;
    if (messages->last != NULL)
        messages->last->next = message;
    else
        messages->first = message;
    messages->last = message;
    messages->count++;
    messages->bytes += message_cost(message->length);
}

struct message *messages_take(struct messages *messages)
{
    struct message *message = messages->first;

    if (message == NULL)
        return NULL;
    messages->first = message->next;
    if (messages->first == NULL)
        messages->last = NULL;
    messages->count--;
    messages->bytes -= message_cost(message->length);
    message->next = NULL;
    return message;
}

void messages_take_from(struct messages *messages, const void *owner, struct messages *into)
{
    struct messages others = {0};

    for (struct message *message; (message = messages_take(messages)) != NULL;)
        messages_add(message->owner == owner ? into : &others, message);
    *messages = others;
}

void messages_free(struct messages *messages)
{
    for (struct message *message; (message = messages_take(messages)) != NULL;)
        free(message);
}
