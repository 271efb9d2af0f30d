/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pools - asyncio.to_thread and a process pool. Threads: a pool of libyoke
 * workers in this program, each with a handle of its own. Processes: the slots
 * of a runner, for any command.
 *
 * Prints:
 *     threads: 1 4 9 16 25 36 49 64
 *     processes: 1 4 9 16 25 36 49 64
 */
#include <pthread.h>

#include "example.h"

#define QUEUE "example.squares"

enum { THREADS = 3, JOBS = 8 };

/* ---------------------------------------------------------------- a worker */

struct worker {
    pthread_t thread;
    yoke *y;
};

static void work(yoke *y, const struct yoke_work *job)
{
    long n = strtol(job->payload.data, NULL, 10);
    char text[24];
    int len = snprintf(text, sizeof(text), "%ld", n * n);

    must(y, yoke_done(y, job->token, (struct yoke_bytes){text, (size_t)len}));
}

/* Until it is interrupted. */
static void *run_worker(void *arg)
{
    const char *const queues[] = {QUEUE};
    struct worker *w = arg;
    struct yoke_work_list *list;

    while (yoke_fetch(w->y, 1, YOKE_NONE, 1, queues, &list) == 0) {
        for (size_t i = 0; i < list->count; i++)
            if (list->items[i].notice == YOKE_NOTICE_JOB)
                work(w->y, &list->items[i]);
        yoke_work_free(list);
    }
    return NULL;
}

/* --------------------------------------------------------------- its users */

static void show(yoke *y, const char *title, const char *group)
{
    struct yoke_outcome_info *o;
    struct yoke_page *page;

    must(y, yoke_group_close(y, group));
    must(y, yoke_group_wait(y, group, YOKE_NONE, &o));
    must(y, yoke_group_results(y, group, "0", false, JOBS, &page));
    printf("%s:", title);
    for (size_t i = 0; i < page->count; i++)
        printf(" %ld", strtol(page->members[i]->result.data, NULL, 10));
    printf("\n");
    yoke_page_free(page);
    yoke_outcome_free(o);
}

static void use_threads(yoke *y)
{
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE];
    struct worker workers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        workers[i].y = example_open();
        if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]))
            exit(1);
    }
    must(y, yoke_group_open(y, NULL, group));
    for (int i = 1; i <= JOBS; i++) {
        struct yoke_submit s;
        char text[12];

        (void)snprintf(text, sizeof(text), "%d", i);
        yoke_submit_init(&s);
        s.queue = QUEUE;
        s.group = group;
        s.payload = (struct yoke_bytes){text, strlen(text)};
        must(y, yoke_submit(y, &s, id));
    }
    show(y, "threads", group);
    for (int i = 0; i < THREADS; i++) {
        yoke_interrupt(workers[i].y);
        (void)pthread_join(workers[i].thread, NULL);
        yoke_close(workers[i].y);
    }
}

static void use_processes(yoke *y)
{
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE];

    must(y, yoke_group_open(y, NULL, group));
    for (int i = 1; i <= JOBS; i++) {
        struct yoke_submit s;
        char text[12];

        (void)snprintf(text, sizeof(text), "%d", i);
        yoke_submit_init(&s);
        s.group = group;
        example_run(y, &s, "echo $(($1 * $1))", text, id);
    }
    show(y, "processes", group);
}

int main(void)
{
    yoke *y = example_open();

    use_threads(y);
    use_processes(y);
    yoke_close(y);
    return 0;
}
