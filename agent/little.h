/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * little: numbers as little-endian bytes, whatever the machine, for files.
 */
#include <stdint.h>

static inline void little_put_u16(char *at, uint16_t number)
{
    at[0] = (char)(number & 0xff);
    at[1] = (char)(number >> 8);
}

static inline void little_put_u32(char *at, uint32_t number)
{
    little_put_u16(at, (uint16_t)number);
    little_put_u16(at + 2, (uint16_t)(number >> 16));
}

static inline void little_put_u64(char *at, uint64_t number)
{
    little_put_u32(at, (uint32_t)number);
    little_put_u32(at + 4, (uint32_t)(number >> 32));
}

static inline uint16_t little_get_u16(const char *at)
{
    return (uint16_t)((unsigned char)at[0] | (unsigned char)at[1] << 8);
}

static inline uint32_t little_get_u32(const char *at)
{
    return little_get_u16(at) | (uint32_t)little_get_u16(at + 2) << 16;
}

static inline uint64_t little_get_u64(const char *at)
{
    return little_get_u32(at) | (uint64_t)little_get_u32(at + 4) << 32;
}
