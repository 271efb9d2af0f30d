/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bounded-queue - asyncio.Queue(maxsize=2): a producer that is faster than its
 * consumer waits for room, in the order of arrival; join() waits until nothing
 * is unfinished; shutdown() refuses what comes after it.
 *
 * Prints:
 *     the queue is full: QUEUEFULL
 *     got 1
 *     got 2
 *     got 3
 *     got 4
 *     got 5
 *     got 6
 *     most in the queue: 2
 *     joined
 *     the queue is closed: CLOSED
 */
#include <pthread.h>

#include "example.h"

#define QUEUE "example.bounded"

enum { ITEMS = 6 };

static int put(yoke *y, int number, int64_t wait_ms)
{
    char id[YOKE_ID_SIZE], text[12];
    struct yoke_submit s;

    (void)snprintf(text, sizeof(text), "%d", number);
    yoke_submit_init(&s);
    s.queue = QUEUE;
    s.payload = (struct yoke_bytes){text, strlen(text)};
    s.wait_ms = wait_ms;
    return yoke_submit(y, &s, id);
}

/* Goes on where the queue was full; each put waits for its turn. */
static void *produce(void *arg)
{
    yoke *y = example_open();

    (void)arg;
    for (int i = 3; i <= ITEMS; i++)
        must(y, put(y, i, YOKE_NONE));
    yoke_close(y);
    return NULL;
}

/* Jobs in the queue that have not started. */
static int64_t count(yoke *y)
{
    struct yoke_value *info;
    int64_t jobs;

    must(y, yoke_queue_info(y, QUEUE, &info));
    jobs = yoke_value_get(info, "jobs")->i;
    yoke_value_free(info);
    return jobs;
}

int main(void)
{
    const char *const queues[] = {QUEUE};
    struct yoke_queue_settings settings;
    int64_t most = 0;
    yoke *y = example_open();
    pthread_t producer;

    yoke_queue_settings_init(&settings);
    settings.max_jobs = 2;
    must(y, yoke_queue_set(y, QUEUE, &settings));
    must(y, put(y, 1, 0));
    must(y, put(y, 2, 0));
    printf("the queue is full: %s\n", yoke_status_name(put(y, 3, 0)));
    if (pthread_create(&producer, NULL, produce, NULL) != 0)
        return 1;
    for (int i = 0; i < ITEMS; i++) {
        struct yoke_work_list *work;
        int64_t now = count(y);

        most = now > most ? now : most;
        must(y, yoke_fetch(y, 1, YOKE_NONE, 1, queues, &work));
        printf("got %.*s\n", (int)work->items[0].payload.len,
               work->items[0].payload.data);
        must(y, yoke_done(y, work->items[0].token, (struct yoke_bytes){0}));
        yoke_work_free(work);
    }
    printf("most in the queue: %d\n", (int)most);
    (void)pthread_join(producer, NULL);

    must(y, yoke_queue_join(y, QUEUE, YOKE_NONE));
    printf("joined\n");
    must(y, yoke_queue_close(y, QUEUE, false));
    printf("the queue is closed: %s\n", yoke_status_name(put(y, 7, 0)));
    must(y, yoke_queue_open(y, QUEUE));
    yoke_close(y);
    return 0;
}
