/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fan-out - many jobs at once, at most four of them running, and their results
 * in the order of the inputs.
 *
 * Prints:
 *     group: ok; 12 ok, 0 failed, 0 cancelled
 *     1 + 4 + 9 + 16 + 25 + 36 + 49 + 64 + 81 + 100 + 121 + 144 = 650
 */
#include "example.h"

enum { JOBS = 12 };

int main(void)
{
    struct yoke_submit jobs[JOBS];
    struct yoke_group_options o;
    yoke *y = example_open();
    char group[YOKE_ID_SIZE];
    struct yoke_page *page;
    size_t accepted;
    long sum = 0;

    yoke_group_options_init(&o);
    o.width = 4;
    must(y, yoke_group_open(y, &o, group));

    for (int i = 0; i < JOBS; i++) {
        char number[12];
        const char *argv[] = {"expr", number, "*", number, NULL};

        (void)snprintf(number, sizeof(number), "%d", i + 1);
        yoke_submit_init(&jobs[i]);
        jobs[i].queue = "run";
        jobs[i].group = group;
        must(y, yoke_command_payload(NULL, NULL, argv, (struct yoke_bytes){0},
                                     &jobs[i].payload));
    }
    must(y, yoke_submit_many(y, jobs, JOBS, NULL, &accepted)); /* pipelined */
    example_close_and_wait(y, group);

    must(y, yoke_group_results(y, group, "0", false, JOBS, &page));
    for (size_t i = 0; i < page->count; i++) {
        long square = strtol(page->members[i]->result.data, NULL, 10);

        printf("%s%ld", i > 0 ? " + " : "", square);
        sum += square;
    }
    printf(" = %ld\n", sum);
    yoke_page_free(page);
    for (int i = 0; i < JOBS; i++)
        yoke_free((char *)jobs[i].payload.data);
    yoke_close(y);
    return 0;
}
