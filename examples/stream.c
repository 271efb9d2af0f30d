/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream - results go on to the next queue, as a task that puts what it has
 * made into the next Queue. While that is full they wait where they are, so
 * that pressure travels upstream; they arrive in order.
 *
 * Prints:
 *     three are done: 1 in the next queue, 2 wait for room
 *     got 2
 *     got 4
 *     got 6
 *     group: ok; 6 ok, 0 failed, 0 cancelled
 */
#include "example.h"

static const char *const doubles[] = {"example.double"};
static const char *const sink[] = {"example.sink"};

static int64_t figure(yoke *y, const char *queue, const char *name)
{
    struct yoke_value *info;
    int64_t value;

    must(y, yoke_commandl(y, &info, "QUEUE", "INFO", queue, NULL));
    value = yoke_value_get(info, name)->i;
    yoke_value_free(info);
    return value;
}

static void put(yoke *y, const char *group, int number)
{
    char id[YOKE_ID_SIZE], text[12];
    struct yoke_submit s;
    int len = snprintf(text, sizeof(text), "%d", number);

    yoke_submit_init(&s);
    s.queue = doubles[0];
    s.then = sink[0];
    s.group = group;
    s.payload = (struct yoke_bytes){text, (size_t)len};
    must(y, yoke_submit(y, &s, id));
}

/* The first stage: a worker that doubles what it gets. */
static void double_all(yoke *y, int64_t count)
{
    struct yoke_work_list *list;

    must(y, yoke_fetch(y, count, YOKE_NONE, 1, doubles, &list));
    for (size_t i = 0; i < list->count; i++) {
        const struct yoke_work *w = &list->items[i];
        char text[24];
        int len = snprintf(text, sizeof(text), "%ld",
                           2 * strtol(w->payload.data, NULL, 10));

        must(y, yoke_done(y, w->token, (struct yoke_bytes){text, (size_t)len}));
    }
    yoke_work_free(list);
}

int main(void)
{
    yoke *y = example_open();
    char group[YOKE_ID_SIZE];

    must(y, yoke_commandl(y, NULL, "QUEUE", "SET", sink[0], "MAX-JOBS", "1",
                          NULL));
    must(y, yoke_group_open(y, NULL, group));
    for (int i = 1; i <= 3; i++)
        put(y, group, i);
    double_all(y, 3);
    printf("three are done: %d in the next queue, %d wait for room\n",
           (int)figure(y, sink[0], "jobs"),
           (int)figure(y, doubles[0], "delivering"));

    for (int i = 0; i < 3; i++) {
        struct yoke_work_list *list;

        must(y, yoke_fetch(y, 1, YOKE_NONE, 1, sink, &list));
        printf("got %s\n", list->items[0].payload.data);
        must(y, yoke_done(y, list->items[0].token, (struct yoke_bytes){0}));
        yoke_work_free(list);
    }
    example_close_and_wait(y, group);
    yoke_close(y);
    return 0;
}
