/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * slate: what a law's process and the one that waits for it share, so that whatever ends the
 * former, the latter knows what was going on: the case at hand, the function that ran, what was
 * found. Threads: written by the child alone while it runs, read and filled by the parent when it
 * doesn't. Memory: one shared mapping; plain bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CASE_SAMPLES = 60, /* the most samples of a case */
    CASE_PARTS = 3,    /* the most states that they go to */
    CASE_TEXT = 200,   /* room for a text, with its NUL */
    SLATE_CONFS = 12,  /* the most confs that a plugin is checked under */
    SLATE_CONF = 8192, /* room for one, with its NUL */
};

/* One sample of a case. */
struct case_sample {
    uint32_t type; /* RASAD_NUMBER, … */
    uint8_t part;  /* which of the case's states takes it, from 0 */
    bool has_exemplar;
    uint32_t length; /* of text */
    double number;
    int64_t time_ns;
    uint64_t seed;
    char text[CASE_TEXT];
};

/* What a law is tried with once. */
struct law_case {
    uint64_t seed;  /* of what the law itself draws */
    int64_t now_ns; /* when states are rendered; after all samples */
    size_t count;
    struct case_sample samples[CASE_SAMPLES];
};

/* The plugin's functions, for saying which one ran. */
enum law_call {
    CALL_NONE,
    CALL_CONFIGURE,
    CALL_STATE_SIZE,
    CALL_INIT,
    CALL_UPDATE,
    CALL_MERGE,
    CALL_RENDER,
    CALL_MIGRATE,
    CALL_VERIFY,
    CALL_RELEASE,
    CALL_OLDER, /* any of an older build */
};

/* Where a fault was, as far as we know the place. */
enum law_place {
    PLACE_UNKNOWN,
    PLACE_BEFORE, /* a block, by so many bytes */
    PLACE_BEHIND,
    PLACE_LENT,   /* a state or config that may only be read */
    PLACE_GLOBAL, /* the plugin's own variables, at this offset in its image */
};

enum law_outcome {
    LAW_RUNS,    /* or did when the process ended */
    LAW_HOLDS,   /* so far as was tried */
    LAW_BROKEN,  /* and `detail` says how */
    LAW_SKIPPED, /* it can't be checked, and `detail` says why */
};

struct slate {
    enum law_outcome outcome;
    unsigned law; /* which one runs or is broken: an index into laws_all */
    enum law_call call;
    uint64_t cases; /* tried */
    char detail[512];
    bool hung; /* it was ended at its deadline */

    /* The end by a signal, or by a call that a guard doesn't let pass. */
    int signal;
    int system_call;
    const char *function; /* of the heap's */
    enum law_place place;
    uint64_t address; /* or how far from the place */

    /* Confs. */
    uint64_t confs[SLATE_CONFS]; /* seeds of those that configure() takes */
    size_t conf_count;
    size_t confs_tried;
    char conf[SLATE_CONF]; /* the options of the one at hand, as statements */

    uint64_t migrated;   /* states of an older build that migrate() took */
    double update_ns[2]; /* per number and per text; 0 if it takes none */
    size_t state_size;

    struct law_case at; /* the case at hand */
};
