/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * hash: what our tables are keyed by: XXH3 with a seed drawn at the process's start, so that nobody
 * outside can choose names that fall together.
 */
#include <stddef.h>
#include <stdint.h>

/* Of these bytes, the same all through the process. */
uint32_t hash_bytes(const void *bytes, size_t length);

/* Of these bytes and a number beside them. */
uint32_t hash_bytes_with(const void *bytes, size_t length, uint64_t with);
