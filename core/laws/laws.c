/* SPDX-License-Identifier: Apache-2.0 */
#include "laws/laws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "laws/process.h"
#include "laws/shrink.h"
#include "laws/table.h"
#include "laws/work.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* How long all laws may take, one law, and what makes its smallest case. */
#define ALL_NS (150 * NS_PER_S)
#define LAW_NS (10 * NS_PER_S)
#define SHRINK_NS (3 * NS_PER_S)
#define SHRINK_STEP_NS (300 * NS_PER_MS)
#define QUICK_NS (2 * NS_PER_S)

/* How many cases a law is tried with, over all confs, while states are small. */
#define CASES 1200

static bool run_law(struct check *check, int64_t limit_ns, struct rasad_error *error)
{
    return process_run(check->slate, limit_ns, work_law, check, error);
}

/* What shrink_case() asks. */
struct attempt {
    struct check *check;
    int64_t deadline_ns;
    int left; /* processes that it may take */
};

static bool breaks_still(void *context, const struct law_case *at, bool *give_up)
{
    struct attempt *attempt = context;
    struct rasad_error ignored;

    *give_up = --attempt->left < 0 || clock_steady_ns() > attempt->deadline_ns;
    if (*give_up)
        return false;
    attempt->check->given = at;
    return run_law(attempt->check, SHRINK_STEP_NS, &ignored) &&
           attempt->check->slate->outcome == LAW_BROKEN;
}

/* Leaves the smallest case found that breaks the law, and how, on the slate. */
static void find_smallest(struct check *check)
{
    struct slate *slate = check->slate;
    struct attempt attempt = {
        .check = check, .deadline_ns = clock_steady_ns() + SHRINK_NS, .left = 400};
    SCOPED(free_at) struct law_case *at = malloc(sizeof *at);
    SCOPED(free_at) struct slate *found = malloc(sizeof *found);
    uint64_t conf = check->conf;
    bool ignored;

    if (at == NULL || found == NULL)
        return;
    *found = *slate;
    *at = slate->at;
    check->cases = 1;
    check->conf = slate->confs[0]; /* the plainest conf, if that will do */
    if (!breaks_still(&attempt, at, &ignored))
        check->conf = conf;
    shrink_case(at, breaks_still, &attempt);
    attempt.left = 1;
    attempt.deadline_ns = INT64_MAX;
    /* Once more, for its words; what doesn't break it twice stays as it was found. */
    if (!breaks_still(&attempt, at, &ignored))
        *slate = *found;
    else if (found->hung)
        memcpy(slate->detail, found->detail, sizeof slate->detail); /* how long we really waited */
    check->given = NULL;
}

/* A law under all confs. */
static bool check_law(struct check *check, unsigned law, struct laws_result *result,
                      struct rasad_error *error)
{
    struct slate *slate = check->slate;
    int64_t start_ns = clock_steady_ns();
    uint64_t migrated = 0;

    check->law = law;
    for (size_t i = 0; i < slate->conf_count; i++) {
        if (clock_steady_ns() > MIN(start_ns + LAW_NS, check->deadline_ns)) {
            (void)snprintf(result->detail, sizeof result->detail,
                           "there was time for %zu of %zu confs only", i, slate->conf_count);
            break;
        }
        check->conf = slate->confs[i];
        check->cases = MAX(CASES / slate->conf_count, 1);
        if (!run_law(check, LAW_NS, error))
            return false;
        result->cases += slate->cases;
        result->outcome = slate->outcome;
        migrated += slate->migrated;
        if (slate->outcome == LAW_BROKEN && laws_all[law].parts > 0)
            find_smallest(check);
        (void)snprintf(result->detail, sizeof result->detail, "%s", slate->detail);
        if (slate->outcome != LAW_HOLDS || laws_all[law].is_of_plugin)
            break;
    }
    if (result->outcome == LAW_HOLDS && law == LAW_MIGRATE && check->options->older != NULL &&
        migrated == 0) {
        result->outcome = LAW_BROKEN;
        (void)snprintf(result->detail, sizeof result->detail,
                       "migrate() refuses every state of version %u that the older build makes",
                       check->options->older->api.state_version);
    }
    return true;
}

static bool check_confs(struct check *check, struct laws_result *result, struct rasad_error *error)
{
    struct slate *slate = check->slate;

    if (!process_run(slate, LAW_NS, work_confs, check, error))
        return false;
    result->outcome = slate->outcome;
    result->cases = slate->confs_tried;
    (void)snprintf(result->detail, sizeof result->detail, "%s", slate->detail);
    if (slate->outcome == LAW_HOLDS)
        (void)snprintf(result->detail, sizeof result->detail, "%zu of %zu random confs taken",
                       slate->conf_count, slate->confs_tried);
    return true;
}

static bool check_one(struct check *check, unsigned law, struct laws_result *result,
                      struct rasad_error *error)
{
    const char *why =
        laws_all[law].skip != NULL ? laws_all[law].skip(check->plugin, check->options) : NULL;

    *result = (struct laws_result){.title = laws_all[law].title,
                                   .outcome = LAW_SKIPPED,
                                   .conf = check->slate->conf,
                                   .has_parts = laws_all[law].parts > 1};
    if (why != NULL) {
        (void)snprintf(result->detail, sizeof result->detail, "%s", why);
        return true;
    }
    if (law == LAW_CONFS)
        return check_confs(check, result, error);
    if (!check_law(check, law, result, error))
        return false;
    if (result->outcome == LAW_BROKEN && laws_all[law].parts > 0)
        result->smallest = &check->slate->at;
    return true;
}

static bool check_begin(struct check *check, const struct plugin *plugin,
                        const struct laws_options *options, struct rasad_error *error)
{
    struct slate *slate =
        mmap(NULL, sizeof *slate, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (slate == MAP_FAILED)
        return rasad_fail(error, "cannot share memory: %s", strerror(errno));
    *check = (struct check){.plugin = plugin,
                            .options = options,
                            .slate = slate,
                            .deadline_ns = clock_steady_ns() + ALL_NS};
    return true;
}

static void check_end(struct check *check)
{
    if (check->slate != NULL)
        (void)munmap(check->slate, sizeof *check->slate);
}

static bool measure_all(struct check *check, struct laws_figures *figures,
                        struct rasad_error *error)
{
    struct slate *slate = check->slate;

    figures->confs = slate->conf_count;
    figures->confs_tried = slate->confs_tried;
    if (slate->conf_count == 0)
        return true;
    check->conf = slate->confs[0];
    if (!process_run(slate, LAW_NS, work_measure, check, error))
        return false;
    figures->state_size = slate->state_size;
    memcpy(figures->update_ns, slate->update_ns, sizeof figures->update_ns);
    return true;
}

bool laws_check(const struct plugin *plugin, const struct laws_options *options,
                void (*tell)(void *context, const struct laws_result *result), void *context,
                struct laws_figures *figures, bool *all_hold, struct rasad_error *error)
{
    SCOPED(check_end) struct check check = {0};
    struct laws_result result;
    bool vital_holds = true;

    *figures = (struct laws_figures){0};
    *all_hold = true;
    if (!check_begin(&check, plugin, options, error))
        return false;
    /* Confs first: whatever else is tried needs one. */
    for (unsigned i = 0; i < LAW_COUNT && vital_holds; i++) {
        if (!check_one(&check, i, &result, error))
            return false;
        tell(context, &result);
        *all_hold = *all_hold && result.outcome != LAW_BROKEN;
        vital_holds = result.outcome != LAW_BROKEN || !laws_all[i].vital;
    }
    return !vital_holds || measure_all(&check, figures, error);
}

/* ---- Quickly ------------------------------------------------------------------------------- */

/* Which law the end of a process broke, in which all were watched for. */
static unsigned find_law(const struct slate *slate)
{
    if (slate->law == LAW_MIGRATE) /* which is about where it reads, too */
        return LAW_MIGRATE;
    if (slate->function != NULL)
        return LAW_HEAP;
    if (slate->system_call != 0)
        return LAW_CALLS;
    if (slate->place == PLACE_GLOBAL)
        return LAW_GLOBALS;
    if (slate->place == PLACE_LENT)
        return LAW_LENT;
    return slate->place != PLACE_UNKNOWN ? LAW_OUTSIDE : slate->law;
}

static bool run_quickly(struct check *check, void (*work)(void *), struct rasad_error *error)
{
    const struct slate *slate = check->slate;

    if (!process_run(check->slate, QUICK_NS, work, check, error))
        return false;
    if (slate->outcome != LAW_BROKEN)
        return true;
    return rasad_fail(error, "breaks the law \"%s\": %s", laws_all[find_law(slate)].title,
                      slate->detail);
}

bool laws_check_quickly(const struct plugin *plugin, const struct laws_options *options,
                        struct rasad_error *error)
{
    SCOPED(check_end) struct check check = {0};

    if (!check_begin(&check, plugin, options, error))
        return false;
    check.quickly = true;
    if (!run_quickly(&check, work_confs, error))
        return false;
    for (size_t i = 0; i < check.slate->conf_count; i++) {
        check.conf = check.slate->confs[i];
        if (!run_quickly(&check, work_quickly, error))
            return false;
    }
    return true;
}
