/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * crc32c: CRC-32C (Castagnoli, RFC 3720 appendix B.4), for the chain over a stream's messages.
 */
#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` was the checksum of, followed by these bytes; start with 0. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);
