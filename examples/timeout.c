/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timeout - asyncio.timeout, timeout_at: of an attempt, or of a scope and all
 * that is in it. What runs out of time is ended, and its end is awaited.
 *
 * Prints:
 *     call: failed (timeout)
 *     group: failed; 0 ok, 0 failed, 1 cancelled
 *     member: cancelled (deadline)
 *     its deadline was inherited: yes
 *     moved to now: failed (timeout)
 */
#include "example.h"

static void timeout_of_a_call(yoke *y)
{
    struct yoke_outcome_info *o;
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.name = "call";
    s.timeout_ms = 200;
    example_run(y, &s, "sleep 60", NULL, id);
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    example_show(o);
    yoke_outcome_free(o);
}

/* async with timeout(...): async with TaskGroup() ... */
static void timeout_of_a_scope(yoke *y)
{
    const struct yoke_value *of_member, *of_group;
    struct yoke_value *member, *scope;
    struct yoke_group_options o;
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_group_options_init(&o);
    o.timeout_ms = 500;
    must(y, yoke_group_open(y, &o, group));
    yoke_submit_init(&s);
    s.group = group;
    s.name = "member"; /* has no deadline of its own */
    example_run(y, &s, "sleep 60", NULL, id);
    must(y, yoke_job_status(y, id, &member));
    must(y, yoke_commandl(y, &scope, "GROUP", "INFO", group, NULL));
    example_close_and_wait(y, group);
    example_show_members(y, group);

    of_member = yoke_value_get(member, "deadline");
    of_group = yoke_value_get(scope, "deadline");
    printf("its deadline was inherited: %s\n",
           of_member && of_group && of_member->i == of_group->i ? "yes" : "no");
    yoke_value_free(member);
    yoke_value_free(scope);
}

/* timeout.reschedule(): in both directions, at once. */
static void reschedule(yoke *y)
{
    struct yoke_outcome_info *o;
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.name = "moved to now";
    s.timeout_ms = 60000;
    example_run(y, &s, "sleep 60", NULL, id);
    must(y,
         yoke_commandl(y, NULL, "RESCHEDULE", id, "TIMEOUT", "3600000", NULL));
    must(y, yoke_commandl(y, NULL, "RESCHEDULE", id, "TIMEOUT", "1", NULL));
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    example_show(o);
    yoke_outcome_free(o);
}

int main(void)
{
    yoke *y = example_open();

    timeout_of_a_call(y);
    timeout_of_a_scope(y);
    reschedule(y);
    yoke_close(y);
    return 0;
}
