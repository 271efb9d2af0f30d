/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shield - a transfer must not be stopped between the debit and the credit: it
 * keeps cancels from outside back for so long. In asyncio what shield() guards
 * goes on as an orphan; here the scope waits for it.
 *
 * Prints:
 *     shielded for 5000 ms
 *     debited
 *     cancelled: not wanted any more
 *     the transfer has heard of 0 cancels, and its group waits
 *     credited
 *     unshielded; told to stop: not wanted any more
 *     transfer: cancelled (not wanted any more)
 *     payments: cancelled; 0 ok, 0 failed, 1 cancelled
 */
#include "example.h"

#define QUEUE "example.transfers"

static const char *const queues[] = {QUEUE};

/* The news of a worker, of jobs if any are wanted, else of cancels. */
static struct yoke_work_list *fetch(yoke *worker, int64_t count,
                                    int64_t wait_ms)
{
    struct yoke_work_list *list;

    must(worker, yoke_fetch(worker, count, wait_ms, 1, queues, &list));
    return list;
}

static void submit(yoke *user, const char *group)
{
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.queue = QUEUE;
    s.group = group;
    s.name = "transfer";
    must(user, yoke_submit(user, &s, id));
}

static void cancel(yoke *user, const char *group, const char *reason)
{
    must(user, yoke_cancel(user, group, reason, YOKE_DEFAULT));
    printf("cancelled: %s\n", reason);
}

/* What a worker does that gets a transfer; the user changes his mind in the
 * middle of it. */
static void transfer(yoke *worker, const char *token, yoke *user,
                     const char *group)
{
    struct yoke_outcome_info *o;
    struct yoke_work_list *news;
    int64_t granted;

    must(worker, yoke_shield(worker, token, 5000, &granted));
    printf("shielded for %d ms\ndebited\n", (int)granted);
    cancel(user, group, "not wanted any more");
    news = fetch(worker, 0, 0);
    if (yoke_group_wait(user, group, 0, &o) == YOKE_ERR_TIMEOUT)
        printf("the transfer has heard of %zu cancels, and its group waits\n",
               news->count);
    yoke_work_free(news);
    printf("credited\n");

    must(worker, yoke_unshield(worker, token));
    news = fetch(worker, 0, YOKE_NONE);
    printf("unshielded; told to stop: %s\n", news->items[0].reason);
    yoke_work_free(news);
    must(worker,
         yoke_fail(worker, token, "cancelled", "", (struct yoke_bytes){0}));
}

int main(void)
{
    yoke *user = example_open(), *worker = example_open();
    struct yoke_group_options options;
    struct yoke_work_list *jobs;
    char group[YOKE_ID_SIZE];

    yoke_group_options_init(&options);
    options.name = "payments";
    must(user, yoke_group_open(user, &options, group));
    submit(user, group);
    jobs = fetch(worker, 1, YOKE_NONE);
    transfer(worker, jobs->items[0].token, user, group);
    yoke_work_free(jobs);
    example_show_members(user, group);
    example_close_and_wait(user, group);
    yoke_close(worker);
    yoke_close(user);
    return 0;
}
