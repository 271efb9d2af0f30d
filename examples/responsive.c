/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * responsive - never block the loop: 20,000 jobs are submitted and cancelled in
 * one go; the daemon says how long the longest turn of its loop was, which is
 * how long anybody had to wait for it.
 *
 * There is nothing to run here: slow work never runs in the daemon.
 *
 * Prints:
 *     group: cancelled; 0 ok, 0 failed, 20000 cancelled
 *     the longest turn of the loop took ... ms
 */
#include "example.h"

enum { JOBS = 20000 };

/* A figure of INFO. */
static long long figure(yoke *y, const char *name)
{
    struct yoke_value *info;
    long long value = -1;
    const char *at;

    must(y, yoke_commandl(y, &info, "INFO", "server", NULL));
    at = strstr(info->s.data, name);
    if (at)
        value = strtoll(at + strlen(name) + 1, NULL, 10);
    yoke_value_free(info);
    return value;
}

int main(void)
{
    struct yoke_submit *jobs = calloc(JOBS, sizeof(*jobs));
    yoke *y = example_open();
    char group[YOKE_ID_SIZE];
    size_t accepted;

    if (!jobs)
        return 1;
    must(y, yoke_group_open(y, NULL, group));
    for (int i = 0; i < JOBS; i++) {
        yoke_submit_init(&jobs[i]);
        jobs[i].queue = "nobody.fetches";
        jobs[i].group = group;
        jobs[i].payload = (struct yoke_bytes){"x", 1};
    }
    must(y, yoke_submit_many(y, jobs, JOBS, NULL, &accepted));
    must(y, yoke_cancel(y, group, NULL, YOKE_DEFAULT));
    example_close_and_wait(y, group);
    printf("the longest turn of the loop took %lld ms\n",
           figure(y, "loop_lag_us_max") / 1000);
    free(jobs);
    yoke_close(y);
    return 0;
}
