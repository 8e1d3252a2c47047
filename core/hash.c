/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The kernel gives every process 16 random bytes; they are constant, so this needs no state. */
static uint64_t seed(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM);
    uint64_t value = 0;

    if (random != NULL)
        memcpy(&value, random, sizeof value);
    return value;
}

uint32_t hash_bytes(const void *bytes, size_t length)
{
    return hash_bytes_with(bytes, length, 0);
}

uint32_t hash_bytes_with(const void *bytes, size_t length, uint64_t with)
{
    uint64_t hash = XXH3_64bits_withSeed(bytes, length, seed() ^ (with * 0x9e3779b97f4a7c15ULL));

    return (uint32_t)(hash ^ hash >> 32);
}
