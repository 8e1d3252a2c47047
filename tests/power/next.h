/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * next: the function that a preloaded one stands before: the C library's, or that of another
 * preloaded tool. HAS_NEXT(write); at file scope, then NEXT(write)(descriptor, bytes, length).
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define HAS_NEXT(name) static _Atomic(uintptr_t) next_##name
#define NEXT(name) ((__typeof__(&name))next_symbol(&next_##name, #name))

typedef void next_function(void);

static inline next_function *next_symbol(_Atomic(uintptr_t) *cached, const char *name)
{
    uintptr_t symbol = atomic_load_explicit(cached, memory_order_relaxed);

    if (symbol == 0) {
        symbol = (uintptr_t)dlsym(RTLD_NEXT, name);
        atomic_store_explicit(cached, symbol, memory_order_relaxed);
    }
    return (next_function *)symbol;
}
