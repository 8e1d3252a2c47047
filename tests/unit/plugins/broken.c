/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest plugin that counts its samples, made wrong by one definition each (CMakeLists.txt),
 * for the loader's test. LOUD ones must be refused before a line of theirs runs.
 */
#ifdef NO_NOTE
#define RASAD_HOST /* a host has no note */
#endif
#ifdef OTHER_ABI
#define RASAD_HOST
#endif
#include <rasad/plugin.h>
#include <stdlib.h>

#ifdef OTHER_ABI
__asm__(".pushsection .note.rasad,\"a\",%note\n"
        ".balign 4\n"
        ".long 6, 4, 1\n"
        ".asciz \"Rasad\"\n"
        ".balign 4\n"
        ".long 99\n"
        ".popsection\n");
#endif

#ifdef LOUD
__attribute__((constructor)) static void shout(void)
{
    abort();
}
#endif

/* For the probe: constructors that do what a plugin may not. */
#ifdef LOADING
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define MAYBE __attribute__((unused)) static

MAYBE void hang(void)
{
    for (;;)
        (void)pause();
}

MAYBE void crash(void)
{
    (void)raise(SIGSEGV);
}

MAYBE void leave(void)
{
    _exit(0);
}

MAYBE void *wait_for_ever(void *unused)
{
    hang();
    return unused;
}

MAYBE void begin_thread(void)
{
    pthread_t thread;

    (void)pthread_create(&thread, NULL, wait_for_ever, NULL);
}

/* A child that outlives us, unless somebody sees to it; it holds what we hold. */
MAYBE void begin_child(void)
{
    if (fork() == 0)
        hang();
}

__attribute__((constructor)) static void load(void)
{
    LOADING();
}
#endif

#ifdef STATIC_TLS
static __attribute__((tls_model("initial-exec"))) _Thread_local volatile int calls;
#endif

#ifdef UNDEFINED
void rasad_no_such_function(void);
#endif

#ifndef NO_SYMBOL
#ifndef MAGIC
#define MAGIC RASAD_MAGIC
#endif
#ifndef SIZE
#define SIZE sizeof(struct rasad_plugin)
#endif
#ifndef KIND
#define KIND RASAD_COUNTER
#endif
#ifndef VERSION
#define VERSION "1.0"
#endif

static size_t whole_state_size(const void *config)
{
    return sizeof(uint64_t);
}

static void whole_init(const void *config, void *state)
{
    *(uint64_t *)state = 0;
}

#ifndef NO_UPDATE
static bool whole_update(const void *config, void *state, const struct rasad_value *value,
                         struct rasad_error *error)
{
#ifdef UNDEFINED
    rasad_no_such_function();
#endif
#ifdef STATIC_TLS
    calls++;
#endif
    ++*(uint64_t *)state;
    return true;
}
#endif

static void whole_merge(const void *config, void *into, const void *from)
{
    *(uint64_t *)into += *(const uint64_t *)from;
}

static void whole_render(const void *config, const void *state, struct rasad_writer *writer)
{
    rasad_write_count(writer, *(const uint64_t *)state);
}

#ifdef BAD_OPTION
struct config {
    double ceiling;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_NUMBER(struct config, ceiling, .preset = "1", .help = "Refuse above this"),
};
#endif

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    .magic = MAGIC,
    .abi = RASAD_ABI,
    .size = SIZE,
    .option_size = sizeof(struct rasad_option),
    .flags = RASAD_COMMUTATIVE,
    .kind = KIND,
    .state_version = 1,
    .name = NAME,
    .version = VERSION,
    .help = "How many samples came by",
    .state_size = whole_state_size,
    .init = whole_init,
#ifndef NO_UPDATE
    .update = whole_update,
#endif
    .merge = whole_merge,
    .render = whole_render,
#ifdef BAD_OPTION
    RASAD_OPTIONS(options), /* but no config_size */
#endif
};
#endif
