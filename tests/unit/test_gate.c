/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/gate.h"
#include <cmocka.h>

static void test_a_gate_bounds_the_rate(void **unused)
{
    /* 10 a second, 2 at once */
    static const struct {
        int64_t at_ms;
        bool passes;
        uint64_t held_back;
    } steps[] = {
        {0, true, 0},     {0, true, 0},    {0, false, 0},    /* fresh: a burst of two, no more */
        {99, false, 0},   {100, true, 2},                    /* the rate; two were held back */
        {150, false, 0},  {200, true, 1},                    /* and one more */
        {9000, true, 0},  {9000, true, 0}, {9000, false, 0}, /* a long silence earns one burst */
        {8000, false, 0}, {9100, true, 2},                   /* a time before is no new time */
    };
    struct gate gate = gate_make(10, 2);

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        uint64_t held_back = 99;
        bool passes = gate_pass(&gate, steps[i].at_ms * 1000000, &held_back);

        if (passes != steps[i].passes || held_back != (passes ? steps[i].held_back : 99))
            fail_msg("step %zu at %d ms: %d, held back %d", i, (int)steps[i].at_ms, passes,
                     (int)held_back);
    }
}

static void test_in_the_long_run_the_rate_holds(void **unused)
{
    struct gate gate = gate_make(3, 5);
    uint64_t passed = 0, held = 0, more;

    for (int64_t ms = 0; ms < 100000; ms++) {
        if (!gate_pass(&gate, ms * 1000000, &more))
            continue;
        passed++;
        held += more;
    }
    assert_in_range(passed, 300, 305);
    assert_in_range(held + passed, 99000, 100000);
}

static void test_one_at_once_is_the_least(void **unused)
{
    struct gate gate = gate_make(1, 1);
    uint64_t held_back;

    assert_true(gate_pass(&gate, 5, &held_back));
    assert_false(gate_pass(&gate, 5, &held_back));
    assert_false(gate_pass(&gate, INT64_C(1000000004), &held_back));
    assert_true(gate_pass(&gate, INT64_C(1000000005), &held_back));
    assert_int_equal(held_back, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_gate_bounds_the_rate),
        cmocka_unit_test(test_in_the_long_run_the_rate_holds),
        cmocka_unit_test(test_one_at_once_is_the_least),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
