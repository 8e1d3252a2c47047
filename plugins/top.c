/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: the `k` texts that come most often, each as a series with a label that holds it:
 * {"path": "/login"} counts one for path_total{value="/login"}. Space-Saving (Metwally, Agrawal,
 * El Abbadi: "Efficient computation of frequent and top-k elements in data streams", ICDT 2005):
 * a state has 256 slots of a text and its count; a text for which no slot is left takes that of
 * the rarest, and goes on from its count. `missed` is the largest count that was lost like this,
 * so no text without a slot has come more often. As long as no more than 256 different texts come,
 * all is exact.
 *
 * States merge by text (Agarwal and others: "Mergeable summaries", PODS 2012): the counts add up,
 * `missed` stands in where a state doesn't have the text, and of all the 256 largest stay. However
 * states were updated and merged, of n samples `missed` is at most n / 256, no count is too low,
 * none is too high by more than `missed`; so a text that makes up more than 1/256 of the samples
 * has a slot. Merging is commutative to the byte, since slots are sorted by count and text, and
 * what falls out doesn't depend on who comes first; associative within that bound.
 *
 * What is shown of a text never falls, not even when it has lost its slot and come back: a slot is
 * handed on with its count, and merging rests on counts and on `missed`, neither of which falls.
 * Hence it is a counter, rate() and all; a text that is not among the first k is not shown.
 *
 * A number counts as the text that it came as; a JSON number as its shortest decimal. A text that
 * is too long for a slot is refused rather than cut, since two that begin alike are not the same.
 */
#include <stdlib.h>

#include <rasad/plugin.h>

enum {
    SLOTS = 256,
    TEXT_ROOM = 120, /* with the NUL: a slot has two cache lines */
};

struct config {
    int64_t k;
    const char *label;
};

static const struct rasad_option options[] = {
    RASAD_OPTION_INTEGER(struct config, k, .preset = "10", .min = "1", .max = "64",
                         .help = "How many texts to show"),
    RASAD_OPTION_TEXT(struct config, label, .preset = "value",
                      .help = "The label that holds the text; the metric's own labels must not "
                              "have it"),
};

struct slot {
    uint64_t count;       /* 0: free, and so are all behind it */
    char text[TEXT_ROOM]; /* not empty; zeros behind it */
};

struct state {
    uint64_t missed;          /* at most the least count, so 0 while a slot is free */
    struct slot slots[SLOTS]; /* sorted by top_is_before() */
};

static bool top_configure(void *config, struct rasad_error *error)
{
    static const char *const reserved[] = {"le", "quantile", "overflow", "job", "instance"};
    const char *label = ((const struct config *)config)->label;
    bool fine = (label[0] | 0x20) >= 'a' && (label[0] | 0x20) <= 'z' &&
                label[strspn(label, "abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")] == '\0';

    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        fine = fine && strcmp(label, reserved[i]) != 0;
    return fine || rasad_fail(error,
                              "label can't be \"%s\" (write a name of letters, digits and _ that "
                              "begins with a letter, but le, quantile, overflow, job, instance)",
                              label);
}

static size_t top_state_size(const void *config)
{
    return sizeof(struct state);
}

static void top_init(const void *config, void *state)
{
    memset(state, 0, sizeof(struct state));
}

/* The order of slots: by falling count, then by text. */
static bool top_is_before(const struct slot *a, const struct slot *b)
{
    return a->count != b->count ? a->count > b->count : strcmp(a->text, b->text) < 0;
}

/* Brings a slot whose count has risen to its place; those before it are sorted. */
static void top_settle(struct slot *slots, size_t at)
{
    struct slot slot = slots[at];
    size_t to = at;

    while (to > 0 && top_is_before(&slot, &slots[to - 1]))
        to--;
    memmove(&slots[to + 1], &slots[to], (at - to) * sizeof *slots);
    slots[to] = slot;
}

/* The slot that has the text, or else the one to take for it: the first free, or the last. */
static size_t top_find(const struct state *s, const char *text)
{
    size_t at = 0;

    while (at < SLOTS - 1 && s->slots[at].count > 0 && strcmp(s->slots[at].text, text) != 0)
        at++;
    return at;
}

/* a + b, or the end: two merged states could go beyond it. */
static uint64_t top_sum(uint64_t a, uint64_t b)
{
    return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

/* A sample's text; `number` is room for one that came without. */
static const char *top_text(const struct rasad_value *value, char number[32])
{
    if (value->type != RASAD_NUMBER || value->length > 0)
        return value->text;
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(number, 32, "%.*g", digits, value->number);
        if (strtod(number, NULL) == value->number)
            break;
    }
    return number;
}

static bool top_update(const void *config, void *state, const struct rasad_value *value,
                       struct rasad_error *error)
{
    struct state *s = state;
    char number[32];
    const char *text = top_text(value, number);
    size_t length = strlen(text), at;
    struct slot *slot;

    if (value->type != RASAD_NUMBER && value->type != RASAD_TEXT)
        return rasad_fail(error, "wants a text to count, not a change");
    if (value->type == RASAD_TEXT && length != value->length)
        return rasad_fail(error, "a text with a NUL can't be a label's value");
    if (length == 0 || length >= TEXT_ROOM)
        return rasad_fail(error, "wants a text of 1 to %d bytes, got %zu", TEXT_ROOM - 1, length);
    at = top_find(s, text);
    slot = &s->slots[at];
    if (strcmp(slot->text, text) != 0) {
        s->missed = slot->count; /* no slot has less than `missed`; while one is free it is 0 */
        memset(slot->text, 0, TEXT_ROOM);
        memcpy(slot->text, text, length);
    }
    slot->count = top_sum(slot->count, 1);
    top_settle(s->slots, at);
    return true;
}

/* Takes a slot of a text that has none here. */
static void top_offer(struct state *s, struct slot slot)
{
    struct slot *place = &s->slots[top_find(s, slot.text)];
    bool wins = top_is_before(&slot, place);
    uint64_t lost = wins ? place->count : slot.count;

    s->missed = lost > s->missed ? lost : s->missed;
    if (!wins)
        return;
    *place = slot;
    top_settle(s->slots, (size_t)(place - s->slots));
}

/*
 * First the texts of `into`, then those that only `from` has. One of `into` may lose its slot to
 * these and have its turn again as one of `from`; with no more than it had when it lost it, it gets
 * none and leaves `missed` as it is.
 */
static void top_merge(const void *config, void *into, const void *from)
{
    struct state *a = into;
    const struct state *b = from;
    uint64_t missed = a->missed;

    a->missed = top_sum(a->missed, b->missed);
    for (size_t i = 0; i < SLOTS && a->slots[i].count > 0; i++) {
        const struct slot *other = &b->slots[top_find(b, a->slots[i].text)];
        bool has = strcmp(other->text, a->slots[i].text) == 0;

        a->slots[i].count = top_sum(a->slots[i].count, has ? other->count : b->missed);
        top_settle(a->slots, i);
    }
    for (size_t i = 0; i < SLOTS && b->slots[i].count > 0; i++) {
        struct slot slot = b->slots[i];

        if (strcmp(a->slots[top_find(a, slot.text)].text, slot.text) == 0)
            continue;
        slot.count = top_sum(slot.count, missed);
        top_offer(a, slot);
    }
}

static void top_render(const void *config, const void *state, struct rasad_writer *writer)
{
    const struct config *c = config;
    const struct slot *slots = ((const struct state *)state)->slots;

    for (int64_t i = 0; i < c->k && slots[i].count > 0; i++) {
        rasad_write_label(writer, c->label, slots[i].text);
        rasad_write_count(writer, slots[i].count);
    }
}

static bool top_verify(const void *config, const void *state, size_t size)
{
    const struct state *s = state;

    if (size != sizeof *s)
        return false;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = &s->slots[i];

        if (slot->text[TEXT_ROOM - 1] != '\0' || (slot->text[0] == '\0') != (slot->count == 0) ||
            (i > 0 && slot->count > 0 && !top_is_before(slot - 1, slot)) ||
            (i > 0 && slot->count > slot[-1].count) || slot->count < s->missed)
            return false;
    }
    return true;
}

RASAD_PUBLIC const struct rasad_plugin rasad_plugin = {
    RASAD_PLUGIN_HEAD,
    .flags = RASAD_COMMUTATIVE | RASAD_APPROXIMATE,
    .kind = RASAD_COUNTER,
    .state_version = 1,
    .name = "top",
    .version = "1.0",
    .help = "How often the most frequent texts of a series came",
    RASAD_OPTIONS(options),
    .config_size = sizeof(struct config),
    .configure = top_configure,
    .state_size = top_state_size,
    .init = top_init,
    .update = top_update,
    .merge = top_merge,
    .render = top_render,
    .verify = top_verify,
};
