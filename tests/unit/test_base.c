/* SPDX-License-Identifier: BSD-2-Clause */
/* The laws of the ground layer, each against the simplest model of it. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slab.h"

/* Check's own assertions report each success, too; here are a million. */
#define MUST(cond)                                        \
    do {                                                  \
        if (!(cond))                                      \
            ck_abort_msg("line %d: %s", __LINE__, #cond); \
    } while (0)

static uint64_t chance(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 31);
}

/* -- list --------------------------------------------------------------- */

struct item {
    int value;
    struct list link;
};

static int value_of(const struct list *link)
{
    return list_entry(link, struct item, link)->value;
}

START_TEST(list_keeps_the_order_of_insertion)
{
    struct item items[6];
    struct list head;
    int want = 0;

    list_init(&head);
    MUST(list_empty(&head) && !list_first(&head));
    for (int i = 0; i < 6; i++) {
        items[i].value = i;
        list_init(&items[i].link);
        MUST(!list_linked(&items[i].link));
    }
    for (int i = 3; i < 6; i++)
        list_push_back(&head, &items[i].link);
    for (int i = 1; i >= 0; i--)
        list_push_front(&head, &items[i].link);
    list_insert(&items[1].link, &items[2].link);
    list_foreach (it, &head)
        MUST(value_of(it) == want++);
    MUST(want == 6);
    MUST(value_of(list_first(&head)) == 0);
    MUST(list_linked(&items[2].link));
}
END_TEST

START_TEST(list_walk_survives_the_removal_of_the_current_link)
{
    struct item items[5];
    struct list head;
    int seen = 0;

    list_init(&head);
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        list_push_back(&head, &items[i].link);
    }
    list_foreach_safe (it, &head) {
        MUST(value_of(it) == seen++);
        list_remove(it);
        MUST(!list_linked(it));
        list_remove(it); /* twice is once */
    }
    MUST(seen == 5 && list_empty(&head));
}
END_TEST

/* -- heap --------------------------------------------------------------- */

#define TIMERS 300

struct timer {
    struct heap_node node;
    int64_t at;
    uint64_t order; /* of the last heap_set; 0: not in the heap */
};

static struct timer *timer_min(struct timer *timers)
{
    struct timer *min = NULL;

    for (int i = 0; i < TIMERS; i++) {
        struct timer *t = &timers[i];

        if (t->order && (!min || t->at < min->at ||
                         (t->at == min->at && t->order < min->order)))
            min = t;
    }
    return min;
}

static bool value_after(const struct list *a, const struct list *b)
{
    return value_of(a) / 4 > value_of(b) / 4;
}

/* Of every small list there is, by a part of the value; the order of equals
 * stays. */
START_TEST(list_sort_keeps_equals_in_order)
{
    struct item items[6];

    for (int n = 0; n < 4096; n++) {
        struct list head, front;
        int last = -1, count = 0;

        list_init(&head);
        list_init(&front);
        for (int i = 0, left = n; i < 6; i++, left /= 4) {
            items[i].value = left % 4 * 8 + i / 2;
            list_push_back(i < 3 ? &front : &head, &items[i].link);
        }
        list_splice_front(&head, &front);
        MUST(list_empty(&front));
        list_sort(&head, value_after);
        list_foreach (it, &head) {
            MUST(value_of(it) / 4 > last / 4 ||
                 (value_of(it) / 4 == last / 4 && value_of(it) >= last));
            MUST(it->next->prev == it && it->prev->next == it);
            last = value_of(it);
            count++;
        }
        MUST(count == 6);
    }
}
END_TEST

START_TEST(heap_gives_the_earliest_and_of_equals_the_first_set)
{
    struct timer timers[TIMERS] = {0};
    uint64_t seed = 1, order = 0;
    struct heap heap;

    heap_init(&heap);
    MUST(!heap_min(&heap) && heap_min_at(&heap) == INT64_MAX);
    for (int turn = 0; turn < 20000; turn++) {
        struct timer *t = &timers[chance(&seed) % TIMERS], *min;

        if (chance(&seed) % 3 == 0) {
            heap_remove(&heap, &t->node); /* absent is fine */
            t->order = 0;
        } else {
            t->at = (int64_t)(chance(&seed) % 100) - 50;
            t->order = ++order;
            heap_set(&heap, &t->node, t->at);
            MUST(heap_at(&heap, &t->node) == t->at);
        }
        MUST(heap_has(&t->node) == (t->order != 0));
        min = timer_min(timers);
        MUST(heap_min(&heap) == (min ? &min->node : NULL));
        MUST(heap_min_at(&heap) == (min ? min->at : INT64_MAX));
    }
    for (struct timer *min; (min = timer_min(timers)); min->order = 0) {
        MUST(heap_min(&heap) == &min->node);
        heap_remove(&heap, &min->node);
    }
    MUST(!heap_min(&heap));
    heap_clear(&heap);
}
END_TEST

/* -- map ---------------------------------------------------------------- */

#define NODES 5000

struct entry {
    struct map_node node;
    bool in;
};

static bool map_has(const struct map *m, const struct map_node *want)
{
    const struct map_node *n = map_find(m, want->hash);

    while (n && n != want)
        n = map_next(n);
    return n != NULL;
}

/* _i: how many nodes share a hash. */
START_TEST(map_finds_what_was_inserted_and_nothing_else)
{
    struct entry *all = mem_zalloc(mem_mul(NODES, sizeof(*all)));
    uint64_t seed = 7;
    struct map m;
    size_t len = 0;

    map_init(&m);
    MUST(!map_find(&m, 1));
    for (int i = 0; i < NODES; i++)
        all[i].node.hash = (uint64_t)(i / _i);
    for (int turn = 0; turn < 60000; turn++) {
        struct entry *e = &all[chance(&seed) % NODES];

        /* First it grows, then it shrinks. */
        if (e->in && (turn > 30000 || chance(&seed) % 4 == 0)) {
            map_remove(&m, &e->node);
            e->in = false;
            len--;
        } else if (!e->in && turn <= 30000) {
            map_insert(&m, &e->node);
            e->in = true;
            len++;
        }
        MUST(m.len == len);
        MUST(map_has(&m, &e->node) == e->in);
    }
    for (int i = 0; i < NODES; i++)
        MUST(map_has(&m, &all[i].node) == all[i].in);
    MUST(!map_find(&m, NODES + 1));
    map_clear(&m);
    mem_free(all);
}
END_TEST

START_TEST(map_gives_each_of_equal_hashes_once)
{
    struct map_node nodes[100] = {0}, *n;
    struct map m;
    size_t count = 0;

    map_init(&m);
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        nodes[i].hash = i % 2 ? 42 : i;
        map_insert(&m, &nodes[i]);
    }
    for (n = map_find(&m, 42); n; n = map_next(n)) {
        MUST(n->hash == 42);
        count++;
    }
    MUST(count == 51);
    map_clear(&m);
}
END_TEST

START_TEST(map_hash_depends_on_every_byte_and_the_length)
{
    char name[64] = {0};
    uint64_t plain = map_hash(name, sizeof(name));

    for (size_t i = 0; i < sizeof(name); i++) {
        name[i] = 1;
        MUST(map_hash(name, sizeof(name)) != plain);
        name[i] = 0;
        MUST(map_hash(name, i) != plain);
    }
    MUST(map_hash(name, sizeof(name)) == plain);
}
END_TEST

/* -- buf ---------------------------------------------------------------- */

START_TEST(buf_gives_back_the_bytes_in_order)
{
    uint64_t seed = 3, in = 0, out = 0;
    struct buf b;

    buf_init(&b);
    for (int turn = 0; turn < 20000; turn++) {
        char bytes[300];
        size_t n = (size_t)(chance(&seed) % sizeof(bytes));

        if (chance(&seed) % 2) {
            for (size_t i = 0; i < n; i++)
                bytes[i] = (char)(in++ % 251);
            buf_append(&b, bytes, n);
        } else {
            n = n < buf_size(&b) ? n : buf_size(&b);
            for (size_t i = 0; i < n; i++)
                MUST(buf_front(&b)[i] == (char)(out++ % 251));
            buf_consume(&b, n);
        }
        MUST(buf_size(&b) == in - out);
        MUST(b.head <= b.len && b.len <= b.cap);
    }
    buf_clear(&b);
    MUST(buf_size(&b) == 0 && !b.data);
}
END_TEST

START_TEST(buf_memory_follows_what_it_holds_not_what_passed_through)
{
    char block[1000] = {0};
    struct buf b;

    buf_init(&b);
    buf_append(&b, block, 500);
    for (int i = 0; i < 10000; i++) {
        buf_append(&b, block, sizeof(block));
        buf_consume(&b, sizeof(block));
    }
    MUST(buf_size(&b) == 500);
    MUST(b.cap <= 8192);
    buf_shrink(&b, 0);
    MUST(b.data); /* not empty: kept */
    buf_reset(&b);
    buf_shrink(&b, b.cap);
    MUST(b.data);
    buf_shrink(&b, 100);
    MUST(!b.data && b.cap == 0);
}
END_TEST

START_TEST(buf_prints_text_of_any_length)
{
    char text[5000];
    struct buf b;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&b);
    buf_append_str(&b, STR("a"));
    buf_append_byte(&b, 'b');
    buf_printf(&b, "%d-%s", 12, text);
    MUST(buf_size(&b) == 2 + 3 + sizeof(text) - 1);
    MUST(memcmp(buf_front(&b), "ab12-xxx", 8) == 0);
    buf_append(&b, NULL, 0);
    MUST(buf_size(&b) == 5 + sizeof(text) - 1);
    buf_clear(&b);
}
END_TEST

/* -- mem ---------------------------------------------------------------- */

START_TEST(copies_are_independent_and_text_ends)
{
    char bytes[4] = {'a', '\0', 'c', 'd'};
    char *copy = mem_dup(bytes, sizeof(bytes));
    char *text = mem_dup_text(bytes, 3), *none = mem_dup(NULL, 0);
    unsigned char *zeros = mem_zalloc(100);

    bytes[0] = 'x';
    MUST(copy[0] == 'a' && copy[3] == 'd');
    MUST(text[2] == 'c' && text[3] == '\0');
    MUST(none);
    for (int i = 0; i < 100; i++)
        MUST(zeros[i] == 0);
    copy = mem_realloc(copy, 1000);
    MUST(copy[2] == 'c');
    mem_free(copy);
    mem_free(text);
    mem_free(none);
    mem_free(zeros);
    mem_free(NULL);
}
END_TEST

START_TEST(a_size_that_overflows_ends_the_process)
{
    MUST(mem_mul(3, 5) == 15);
    MUST(mem_mul(0, SIZE_MAX) == 0);
    (void)mem_mul(SIZE_MAX / 2 + 1, 2);
}
END_TEST

START_TEST(a_failed_assertion_ends_the_process)
{
    ASSERT(1 + 1 == 2);
    ASSERT(1 + 1 == 3);
}
END_TEST

START_TEST(strings_are_equal_by_bytes_not_by_place)
{
    char other[] = "queue";

    MUST(str_eq(STR("queue"), str_from(other)));
    MUST(!str_eq(STR("queue"), STR("queues")));
    MUST(!str_eq(STR("a\0b"), STR("a\0c")));
    MUST(str_eq(str_from(NULL), STR("")));
    MUST(min_i64(-1, 1) == -1 && max_i64(-1, 1) == 1);
}
END_TEST

/* -- slab --------------------------------------------------------------- */

/* Objects of all sizes come and go, often enough that slabs and regions do,
 * too; in the middle the crowd changes its size. */
START_TEST(objects_of_slabs_are_distinct_and_counted)
{
    enum { OBJECTS = 30000 };
    static struct {
        unsigned char *p;
        size_t size;
    } o[OBJECTS];
    uint64_t seed = 9;
    size_t used = 0;
    struct slabs s;

    slabs_init(&s);
    for (int turn = 0; turn < 200000; turn++) {
        size_t i = (size_t)(chance(&seed) % OBJECTS);
        size_t most = turn < 100000 ? SLAB_OBJECT_MAX + 30 : 40;

        if (o[i].p) {
            for (size_t k = 0; k < o[i].size; k++)
                MUST(o[i].p[k] == (unsigned char)i);
            slabs_free(&s, o[i].p, o[i].size);
            o[i].p = NULL;
            used--;
        } else {
            o[i].size = (size_t)(chance(&seed) % most);
            o[i].p = slabs_zalloc(&s, o[i].size);
            MUST((uintptr_t)o[i].p % SLAB_GRAIN == 0);
            for (size_t k = 0; k < o[i].size; k++)
                MUST(o[i].p[k] == 0);
            memset(o[i].p, (int)(unsigned char)i, o[i].size);
            used++;
        }
        MUST(s.used == used);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        slabs_free(&s, o[i].p, o[i].size);
    MUST(s.used == 0);
    MUST(s.nregions <= 1);
    slabs_clear(&s);
}
END_TEST

/* What a crowd of small objects has released serves one of larger ones. */
START_TEST(memory_of_one_size_serves_another)
{
    enum { BYTES = 8 * 1024 * 1024 };
    static void *o[BYTES / 40];
    struct slabs s;
    size_t most = 0;

    slabs_init(&s);
    for (size_t size = 40; size <= SLAB_OBJECT_MAX; size += 59) {
        for (size_t i = 0; i < BYTES / size; i++)
            o[i] = slabs_dup(&s, o, size);
        most = s.nregions > most ? s.nregions : most;
        for (size_t i = 0; i < BYTES / size; i++)
            slabs_free(&s, o[i], size);
    }
    MUST(most <= BYTES / (2 * 1024 * 1024) + 1);
    slabs_clear(&s);
}
END_TEST

static Suite *base_suite(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("laws");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, list_keeps_the_order_of_insertion);
    tcase_add_test(t, list_walk_survives_the_removal_of_the_current_link);
    tcase_add_test(t, list_sort_keeps_equals_in_order);
    tcase_add_test(t, heap_gives_the_earliest_and_of_equals_the_first_set);
    tcase_add_loop_test(t, map_finds_what_was_inserted_and_nothing_else, 1, 4);
    tcase_add_test(t, map_gives_each_of_equal_hashes_once);
    tcase_add_test(t, map_hash_depends_on_every_byte_and_the_length);
    tcase_add_test(t, buf_gives_back_the_bytes_in_order);
    tcase_add_test(t, buf_memory_follows_what_it_holds_not_what_passed_through);
    tcase_add_test(t, buf_prints_text_of_any_length);
    tcase_add_test(t, objects_of_slabs_are_distinct_and_counted);
    tcase_add_test(t, memory_of_one_size_serves_another);
    tcase_add_test(t, copies_are_independent_and_text_ends);
    tcase_add_test_raise_signal(t, a_size_that_overflows_ends_the_process,
                                SIGABRT);
    tcase_add_test_raise_signal(t, a_failed_assertion_ends_the_process,
                                SIGABRT);
    tcase_add_test(t, strings_are_equal_by_bytes_not_by_place);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(base_suite());
    int failed;

    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
