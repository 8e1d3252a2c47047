/* SPDX-License-Identifier: Apache-2.0 */
/*
 * letters: someone who types at random, as in the experiment that Rasad grew out of: about 20
 * letters a second out of a-z and A-Z, and a message {"A_Pressed": "1"} for each that is an a or A.
 * The rate holds whatever the interval, since the number of letters follows the time that passed.
 */
#include <stddef.h>

#include <rasad/collector.h>

#define LETTER_NS 50000000 /* of each letter: 20 a second */
#define MOST 1000          /* letters in one go, after a long sleep of the host */

struct state {
    int64_t typed_ns; /* until when letters have been typed; 0 at the start */
    uint64_t random;  /* state of next_random(); any value will do */
};

/* splitmix64 (Steele, Lea, Flood 2014): good enough for a typist, and small. */
static uint64_t next_random(uint64_t *random)
{
    uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static char type_letter(struct state *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return letters[next_random(&s->random) % (sizeof letters - 1)];
}

static bool letters_collect(void *state, struct rasad_output *out)
{
    struct state *s = state;
    int typed = 0;

    s->random ^= out->seed;
    if (s->typed_ns == 0)
        s->typed_ns = out->now_ns;
    for (; out->now_ns - s->typed_ns >= LETTER_NS && typed < MOST; typed++) {
        char letter = type_letter(s);

        s->typed_ns += LETTER_NS;
        if (letter == 'a' || letter == 'A')
            rasad_send_text(out, "A_Pressed", "1");
    }
    if (typed == MOST)
        s->typed_ns = out->now_ns; /* the rest is let go */
    return true;
}

static const struct rasad_key keys[] = {
    {"A_Pressed", "letter_counter", "", "", "Number of 'a' or 'A' pressed"},
};

RASAD_PUBLIC const struct rasad_collector rasad_collector = {
    RASAD_COLLECTOR_HEAD,     .name = "letters",
    .version = "1.0",         .help = "Letters typed at random, 20 a second; each a or A is sent",
    RASAD_KEYS(keys),         .state_size = sizeof(struct state),
    .interval_ns = 100000000, .collect = letters_collect,
};
