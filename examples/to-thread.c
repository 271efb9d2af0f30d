/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * to-thread - asyncio.to_thread, with what it has not: calls that block are
 * jobs on a pool of threads, a cancel reaches the thread, and is awaited.
 *
 * Prints:
 *     1 4 9 16 25
 *     blocks until the end of time
 *     stopped: not wanted any more
 *     call: cancelled (not wanted any more)
 */
#include <pthread.h>

#include "example.h"

#define QUEUE "example.calls"

/* Blocks, whatever the loop of a program thinks of that. */
static int square(struct yoke_task *t, void *arg)
{
    long n = strtol(yoke_task_work(t)->payload.data, NULL, 10);
    char text[24];
    int len = snprintf(text, sizeof(text), "%ld", n * n);

    (void)arg;
    return yoke_task_result(t, (struct yoke_bytes){text, (size_t)len});
}

/* Until it is cancelled. */
static int block(struct yoke_task *t, void *arg)
{
    (void)arg;
    printf("blocks until the end of time\n");
    (void)yoke_task_ready(t, (struct yoke_bytes){0});
    (void)yoke_task_wait(t, YOKE_NONE);
    printf("stopped: %s\n", yoke_task_reason(t));
    return YOKE_ERR_CANCELLED;
}

static void *run(void *arg)
{
    if (yoke_worker_run(arg) < 0)
        fprintf(stderr, "%s\n", yoke_worker_error_text(arg));
    return NULL;
}

static void submit(yoke *y, const char *queue, const char *group,
                   const char *payload, char id[YOKE_ID_SIZE])
{
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = queue;
    s.group = group;
    s.name = "call";
    s.payload = (struct yoke_bytes){payload, strlen(payload)};
    must(y, yoke_submit(y, &s, id));
}

/* await asyncio.gather(*(asyncio.to_thread(square, n) ...)) */
static void gather(yoke *y)
{
    const char *const numbers[] = {"1", "2", "3", "4", "5"};
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE];
    struct yoke_outcome_info *o;
    struct yoke_page *page;

    must(y, yoke_group_open(y, NULL, group));
    for (int i = 0; i < 5; i++)
        submit(y, QUEUE, group, numbers[i], id);
    must(y, yoke_group_close(y, group));
    must(y, yoke_group_wait(y, group, YOKE_NONE, &o));
    must(y, yoke_group_results(y, group, "0", false, 5, &page));
    for (size_t i = 0; i < page->count; i++)
        printf("%s%s", page->members[i]->result.data, i < 4 ? " " : "\n");
    yoke_page_free(page);
    yoke_outcome_free(o);
}

static void cancel(yoke *y)
{
    struct yoke_outcome_info *o;
    struct yoke_value *ready;
    char id[YOKE_ID_SIZE];

    submit(y, QUEUE ".block", "root", "", id);
    must(y, yoke_job_wait_ready(y, id, YOKE_NONE, &ready));
    yoke_value_free(ready);
    must(y, yoke_cancel(y, id, "not wanted any more", YOKE_DEFAULT));
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    example_show(o);
    yoke_outcome_free(o);
}

int main(void)
{
    const struct yoke_worker_options options = {.threads = 3};
    struct yoke_worker *w;
    pthread_t thread;
    yoke *y = example_open();

    must(NULL, yoke_worker_new(&options, &w));
    must(NULL, yoke_worker_handle(w, QUEUE, 0, square, NULL));
    must(NULL, yoke_worker_handle(w, QUEUE ".block", 1, block, NULL));
    if (pthread_create(&thread, NULL, run, w))
        return 1;
    gather(y);
    cancel(y);
    yoke_worker_stop(w);
    (void)pthread_join(thread, NULL);
    yoke_worker_free(w);
    yoke_close(y);
    return 0;
}
