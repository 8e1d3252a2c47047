/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * standard: the three descriptors that every program begins with. Who starts one with some of them
 * closed would have its next socket or file be standard output, and log lines be written into it.
 */

/*
 * Fills those that are closed with something that refuses to be read or written, as a closed one
 * does. For the first line of main(): nothing else is open yet, and no other thread runs.
 */
void standard_fill(void);
