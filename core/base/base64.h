/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * base64: bytes as text and back (RFC 4648 section 4, with padding).
 * Threads: none inside. Memory: the caller's texts.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Adds the bytes as base64. */
void base64_add(struct text *out, const void *bytes, size_t length);

/* Adds the bytes that this base64 stands for. False, with nothing of it to be used, if base64_add()
 * would not have written just this, or `out` has failed. */
bool base64_read(struct text *out, const char *base64, size_t length);
