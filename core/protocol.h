/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * protocol: the objects with an '@' member (docs/protocol.md): hello and welcome, skip, ping and
 * pong, ack, error. The delivery of a named stream is exactly once because of three things that
 * hold here: numbers are implied by the order on one connection; a hello fences the older
 * connection of its stream before the number is told; and a sender is told each number applied.
 * Threads: the connection's shard.
 */
#include "connection.h"

/*
 * Acts on the object; replies go to connection->out. CONNECTION_HANDOVER if it is a hello of an
 * agent of another shard; then nothing has happened yet.
 */
enum connection_status protocol_object(struct connection *connection,
                                       struct connection_context *context, const char *bytes,
                                       size_t length, uint32_t traits);

/* Whether the object is a hello that answers {"@again": DIGITS}. */
bool protocol_is_again(struct connection_context *context, const char *bytes, size_t length,
                       uint32_t traits, const char *digits);

/* Queues {"@ack": N} for what is new of the stream: applied or, where streams are kept on disk,
 * committed. */
void protocol_acknowledge(struct connection *connection, const struct connection_context *context);
