/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * taskgroup - asyncio.TaskGroup, a Trio nursery: when a member fails the others
 * are cancelled, and the group ends when all of them have really ended.
 *
 * Prints:
 *     group: failed; 0 ok, 1 failed, 2 cancelled
 *     download: cancelled (a member failed)
 *     index: cancelled (a member failed)
 *     parse: failed (exit:3)
 */
#include "example.h"

int main(void)
{
    yoke *y = example_open();
    char group[YOKE_ID_SIZE];

    must(y, yoke_group_open(y, NULL, group)); /* async with TaskGroup() as g: */
    example_member(y, group, "download", "sleep 60");
    example_member(y, group, "index", "sleep 60 & sleep 60");
    example_member(y, group, "parse", "exit 3");
    example_close_and_wait(y, group); /* the end of the block */
    example_show_members(y, group);
    yoke_close(y);
    return 0;
}
