/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    struct table_item item;
    int key;
    bool in;
};

static bool matches(const struct table_item *item, const void *key)
{
    return ((const struct item *)item)->key == *(const int *)key;
}

/* Compares the table with a plain array over a long random history. The hashes fall together in
 * runs that wrap around the end, which is where removal by moving back goes wrong. */
static void test_a_table_agrees_with_an_array_through_any_history(void **state)
{
    enum { ITEMS = 300 };
    static struct item items[ITEMS];
    struct table table = {0};
    size_t in = 0;

    srand(7);
    for (int i = 0; i < ITEMS; i++)
        items[i] = (struct item){.item.hash = (uint32_t)(rand() % 9) - 4, .key = i};
    for (int round = 0; round < 20000; round++) {
        struct item *item = &items[rand() % ITEMS];

        assert_ptr_equal(table_find(&table, item->item.hash, matches, &item->key),
                         item->in ? &item->item : NULL);
        if (item->in)
            table_remove(&table, &item->item);
        else
            assert_true(table_add(&table, &item->item));
        item->in = !item->in;
        in += item->in ? 1 : (size_t)-1;
        assert_int_equal(table.count, in);
    }
    table_free(&table);
}

static void test_a_walk_sees_every_item_once(void **state)
{
    struct item items[100] = {0};
    struct table table = {0};
    struct table_item *item;
    size_t slot = 0;

    for (int i = 0; i < 100; i++) {
        items[i].item.hash = (uint32_t)i * 77;
        assert_true(table_add(&table, &items[i].item));
    }
    while ((item = table_next(&table, &slot)) != NULL)
        ((struct item *)item)->key++;
    for (int i = 0; i < 100; i++)
        assert_int_equal(items[i].key, 1);
    table_free(&table);
}

static void test_an_empty_table_finds_nothing(void **state)
{
    struct table table = {0};
    size_t slot = 0;
    int key = 0;

    assert_null(table_find(&table, 0, matches, &key));
    assert_null(table_next(&table, &slot));
    table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_agrees_with_an_array_through_any_history),
        cmocka_unit_test(test_a_walk_sees_every_item_once),
        cmocka_unit_test(test_an_empty_table_finds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
