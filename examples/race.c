/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * race - the first that ends well wins; the losers are cancelled and awaited.
 * A failure does not win, and does not stop the others.
 *
 * Prints:
 *     group: ok; 1 ok, 1 failed, 1 cancelled
 *     broken mirror: failed (exit:7)
 *     slow mirror: cancelled (enough members succeeded)
 *     fast mirror: ok, the page
 */
#include "example.h"

int main(void)
{
    struct yoke_group_options race;
    char group[YOKE_ID_SIZE];
    yoke *y = example_open();
    struct yoke_page *page;

    yoke_group_options_init(&race);
    race.succeed = 1;
    race.fail = 0;
    must(y, yoke_group_open(y, &race, group));
    example_member(y, group, "broken mirror", "exit 7");
    example_member(y, group, "slow mirror", "sleep 60");
    /* Only so that the failure is there whenever this runs. */
    must(y, yoke_group_next(y, group, "0", YOKE_NONE, 1, &page));
    yoke_page_free(page);
    example_member(y, group, "fast mirror", "echo the page");
    example_close_and_wait(y, group);
    example_show_members(y, group);
    yoke_close(y);
    return 0;
}
