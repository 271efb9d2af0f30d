/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gather - asyncio.gather(return_exceptions=True): nobody is cancelled, and the
 * results come in the order of submission, whoever ended first.
 *
 * Prints:
 *     group: ok; 2 ok, 1 failed, 0 cancelled
 *     slow: ok, 1
 *     broken: failed (exit:2)
 *     fast: ok, 3
 */
#include "example.h"

int main(void)
{
    struct yoke_group_options collect;
    yoke *y = example_open();
    char group[YOKE_ID_SIZE];

    yoke_group_options_init(&collect);
    collect.fail = 0; /* failures cancel nobody */
    must(y, yoke_group_open(y, &collect, group));
    example_member(y, group, "slow", "sleep 0.3; echo 1");
    example_member(y, group, "broken", "exit 2");
    example_member(y, group, "fast", "echo 3");
    example_close_and_wait(y, group);
    example_show_members(y, group);
    yoke_close(y);
    return 0;
}
