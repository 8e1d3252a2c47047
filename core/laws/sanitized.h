/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * sanitized: whether this build has a sanitizer, which needs more of the process than plain code:
 * its own malloc(), system calls at any time, and an address space without limit.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LAWS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define LAWS_SANITIZED 1
#endif
#endif
#ifndef LAWS_SANITIZED
#define LAWS_SANITIZED 0
#endif
