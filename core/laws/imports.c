/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plugin calls by name: each symbol that it takes from elsewhere must be a function that
 * depends on its arguments alone. Read from the loaded object's relocations, which name all of
 * them. It finds what no other guard can: the clock and the environment, which need no system call.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "laws/table.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#if __SIZEOF_POINTER__ == 8
#define SYMBOL_OF ELF64_R_SYM
#else
#define SYMBOL_OF ELF32_R_SYM
#endif

/* Of libc. An allocation in update() is found when it happens. */
static const char *const pure[] = {
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "memchr",
    "memrchr",
    "memmem",
    "mempcpy",
    "memccpy",
    "rawmemchr",
    "strlen",
    "strnlen",
    "strcmp",
    "strncmp",
    "strcpy",
    "strncpy",
    "stpcpy",
    "stpncpy",
    "strcat",
    "strncat",
    "strchr",
    "strrchr",
    "strchrnul",
    "strspn",
    "strcspn",
    "strpbrk",
    "strstr",
    "strsep",
    "strtok_r",
    "strcasecmp",
    "strncasecmp",
    "strcasestr",
    "strlcpy",
    "strlcat",
    "bcmp",
    "strtod",
    "strtof",
    "strtold",
    "strtol",
    "strtoul",
    "strtoll",
    "strtoull",
    "strtoimax",
    "strtoumax",
    "atoi",
    "atol",
    "atoll",
    "atof",
    "abs",
    "labs",
    "llabs",
    "imaxabs",
    "div",
    "ldiv",
    "lldiv",
    "snprintf",
    "vsnprintf",
    "sscanf",
    "vsscanf",
    "qsort",
    "qsort_r",
    "bsearch",
    "isalnum",
    "isalpha",
    "isblank",
    "iscntrl",
    "isdigit",
    "isgraph",
    "islower",
    "isprint",
    "ispunct",
    "isspace",
    "isupper",
    "isxdigit",
    "tolower",
    "toupper",
    "__ctype_b_loc",
    "__ctype_tolower_loc",
    "__ctype_toupper_loc",
    "ffs",
    "ffsl",
    "ffsll",
    "gmtime_r",
    "timegm",
    "abort",
    "explicit_bzero",
    "swab",
    "frexp",
    "ldexp",
    "modf",
    "scalbn",
    "copysign",
    "rand_r",
    "inet_pton",
    "inet_ntop",
    /* what compilers make of these and add by themselves */
    "__assert_fail",
    "__errno_location",
    "__stack_chk_fail",
    "__cxa_finalize",
    "__cxa_atexit",
    "__gmon_start__",
    "_ITM_deregisterTMCloneTable",
    "_ITM_registerTMCloneTable",
    "__gxx_personality_v0",
    "_Unwind_Resume",
    "__fdelt_chk",
};

/* Only where configure() and release() are, which make and free what a config points to. */
static const char *const heap[] = {"malloc", "calloc",  "realloc",       "reallocarray",  "free",
                                   "strdup", "strndup", "aligned_alloc", "posix_memalign"};

/* Of the sanitizers and of coverage, in test builds. */
static const char *const prefixes[] = {"__asan_", "__ubsan_",  "__tsan_",  "__sanitizer_",
                                       "__gcov",  "__isoc99_", "__isoc23_"};

static bool is_in(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0)
            return true;
    }
    return false;
}

/* Whether libm has a function of this name. lgamma() leaves a sign in a global; lgamma_r() doesn't.
 */
static bool is_of_libm(const char *name)
{
    static const char *const impure[] = {"lgamma", "lgammaf", "lgammal", "gamma",
                                         "gammaf", "gammal",  "signgam"};
    void *libm = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    const void *symbol = libm != NULL ? dlsym(libm, name) : NULL;
    const char *slash;
    Dl_info info;

    if (symbol == NULL || dladdr(symbol, &info) == 0 || is_in(impure, COUNT(impure), name))
        return false;
    slash = strrchr(info.dli_fname, '/');
    return strcmp(slash != NULL ? slash + 1 : info.dli_fname, "libm.so.6") == 0;
}

/* __memcpy_chk and the like: what -D_FORTIFY_SOURCE makes of a call. */
static bool is_fortified(const char *name, char plain[64])
{
    size_t length = strlen(name);

    if (length < 7 || length >= 64 || strncmp(name, "__", 2) != 0 ||
        strcmp(name + length - 4, "_chk") != 0)
        return false;
    memcpy(plain, name + 2, length - 6);
    plain[length - 6] = '\0';
    return true;
}

static bool is_pure(const struct bench *bench, const char *name)
{
    bool may_allocate = bench->api->configure != NULL && bench->api->release != NULL;
    char plain[64];

    if (is_in(pure, COUNT(pure), name) || (may_allocate && is_in(heap, COUNT(heap), name)))
        return true;
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return i < COUNT(prefixes) - 2 || is_in(pure, COUNT(pure), name + strlen(prefixes[i]));
    }
    if (is_fortified(name, plain))
        return is_in(pure, COUNT(pure), plain);
    return is_of_libm(name);
}

/* What of the dynamic section is needed. */
struct tables {
    const char *texts;
    const ElfW(Sym) * symbols;
    struct {
        const char *at;
        size_t bytes, step;
    } relocations[3]; /* RELA, REL, and those of the procedure linkage table */
};

static struct tables find_tables(const ElfW(Dyn) * at)
{
    struct tables tables = {0};
    bool plt_has_addends = true;

    for (; at->d_tag != DT_NULL; at++) {
        switch (at->d_tag) {
        case DT_STRTAB: /* glibc has made these addresses */
            tables.texts = (const char *)at->d_un.d_ptr;
            break;
        case DT_SYMTAB:
            tables.symbols = (const void *)at->d_un.d_ptr;
            break;
        case DT_RELA:
            tables.relocations[0].at = (const char *)at->d_un.d_ptr;
            break;
        case DT_RELASZ:
            tables.relocations[0].bytes = at->d_un.d_val;
            break;
        case DT_REL:
            tables.relocations[1].at = (const char *)at->d_un.d_ptr;
            break;
        case DT_RELSZ:
            tables.relocations[1].bytes = at->d_un.d_val;
            break;
        case DT_JMPREL:
            tables.relocations[2].at = (const char *)at->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            tables.relocations[2].bytes = at->d_un.d_val;
            break;
        case DT_PLTREL:
            plt_has_addends = at->d_un.d_val == DT_RELA;
            break;
        default:
            break;
        }
    }
    tables.relocations[0].step = sizeof(ElfW(Rela));
    tables.relocations[1].step = sizeof(ElfW(Rel));
    tables.relocations[2].step = plt_has_addends ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));
    return tables;
}

/* The name of what a relocation takes from elsewhere, or NULL if it takes nothing. */
static const char *name_of(const struct tables *tables, const char *relocation)
{
    ElfW(Rel) head; /* with an addend it begins in the same way */
    const ElfW(Sym) * symbol;

    memcpy(&head, relocation, sizeof head);
    symbol = &tables->symbols[SYMBOL_OF(head.r_info)];
    if (SYMBOL_OF(head.r_info) == STN_UNDEF || symbol->st_shndx != SHN_UNDEF)
        return NULL;
    return tables->texts + symbol->st_name;
}

void law_imports(struct bench *bench)
{
    const struct link_map *map = NULL;
    struct tables tables;

    bench_require(bench, dlinfo(bench->plugin->module.handle, RTLD_DI_LINKMAP, &map) == 0,
                  "its dynamic section can't be found");
    tables = find_tables(map->l_ld);
    for (size_t i = 0; i < COUNT(tables.relocations); i++) {
        for (size_t at = 0; tables.relocations[i].at != NULL && at < tables.relocations[i].bytes;
             at += tables.relocations[i].step) {
            const char *name = name_of(&tables, tables.relocations[i].at + at);

            if (name != NULL && !is_pure(bench, name))
                bench_fail(bench, LAW_IMPORTS,
                           "it imports %s, which is not one of the functions that depend on their "
                           "arguments alone%s",
                           name,
                           is_in(heap, COUNT(heap), name)
                               ? " (only a plugin with configure() and release() may allocate)"
                               : "");
        }
    }
}
