/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * through - a producer or a worker on libyoke, for tests that break its
 * connection. What it did it says on its standard output, a line each.
 *
 *     through produce ADDRESS N     N jobs, one by one and many at once, in a
 *                                   group that it owns and waits for
 *     through work ADDRESS N        until N jobs have ended here
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke.h>

#define AT_ONCE 20

static int failed(yoke *y, const char *what, int status)
{
    fprintf(stderr, "%s: %s: %s\n", what, yoke_status_name(status),
            yoke_error_text(y));
    return 1;
}

static struct yoke_submit job(const char *group, char payload[16], int n)
{
    struct yoke_submit s;

    yoke_submit_init(&s);
    snprintf(payload, 16, "%d", n);
    s.queue = "work";
    s.group = group;
    s.payload = (struct yoke_bytes){.data = payload, .len = strlen(payload)};
    return s;
}

static int submit_some(yoke *y, const char *group, int first, int n)
{
    char ids[AT_ONCE][YOKE_ID_SIZE], payloads[AT_ONCE][16];
    struct yoke_submit jobs[AT_ONCE];
    size_t done = 0;
    int status;

    for (int i = 0; i < n; i++)
        jobs[i] = job(group, payloads[i], first + i);
    status = n == 1 ? yoke_submit(y, jobs, ids[0])
                    : yoke_submit_many(y, jobs, (size_t)n, ids, &done);
    for (int i = 0; status == 0 && i < n; i++)
        printf("%s %s\n", payloads[i], ids[i]);
    return status;
}

static int produce(yoke *y, int n)
{
    struct yoke_outcome_info *outcome;
    char group[YOKE_ID_SIZE];
    int status = yoke_group_open(y, NULL, group);

    for (int i = 0; status == 0 && i < n;) {
        int some = i % 3 == 0 && n - i >= AT_ONCE ? AT_ONCE : 1;

        status = submit_some(y, group, i, some);
        i += some;
    }
    if (status == 0)
        status = yoke_group_close(y, group);
    if (status == 0)
        status = yoke_group_wait(y, group, YOKE_NONE, &outcome);
    if (status < 0)
        return failed(y, "produce", status);
    printf("group ok=%lld members=%lld\n", (long long)outcome->ok,
           (long long)outcome->members);
    yoke_outcome_free(outcome);
    return 0;
}

static int work(yoke *y, int n)
{
    const char *queue = "work";

    while (n > 0) {
        struct yoke_work_list *list;
        int status = yoke_fetch(y, 3, YOKE_NONE, 1, &queue, &list);

        if (status < 0)
            return failed(y, "fetch", status);
        for (size_t i = 0; i < list->count; i++) {
            const struct yoke_work *w = &list->items[i];

            printf("%s %s\n", w->payload.data, w->token);
            status = yoke_done(y, w->token, w->payload);
            if (status < 0)
                return failed(y, "done", status);
            n--;
        }
        yoke_work_free(list);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct yoke_options options = {.reconnect_ms = 20000};
    yoke *y;
    int status;

    if (argc != 4)
        return 2;
    status = yoke_open(argv[2], &options, &y);
    if (status < 0)
        status = failed(y, "open", status);
    else if (strcmp(argv[1], "produce") == 0)
        status = produce(y, atoi(argv[3]));
    else
        status = work(y, atoi(argv[3]));
    yoke_close(y);
    return status;
}
