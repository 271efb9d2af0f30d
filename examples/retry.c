/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retry - attempts with back-off and jitter: 10 ms, then 20, 40 ... up to 100,
 * each times 0.5 to 1.5. The errors of the attempts are kept. What has no
 * attempts left is on the list of the dead, to be run once more.
 *
 * Prints:
 *     flaky: ok, third time lucky
 *     attempt 1: exit:75
 *     attempt 2: exit:75
 *     report: failed (exit:1)
 *     dead: report, after 1 attempt
 *     once more: failed (exit:1)
 *     purged
 */
#include "example.h"

static void run(yoke *y, struct yoke_submit *s, const char *script,
                struct yoke_outcome_info **out)
{
    char id[YOKE_ID_SIZE];

    example_run(y, s, script, NULL, id);
    must(y, yoke_job_wait(y, id, YOKE_NONE, out));
}

/* Fails for good, is found among the dead, run once more, and let go. */
static void bury(yoke *y)
{
    struct yoke_outcome_info *o;
    char again[YOKE_ID_SIZE];
    struct yoke_page *dead;
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.name = "report";
    run(y, &s, "exit 1", &o);
    example_show(o);
    yoke_outcome_free(o);

    must(y, yoke_dead_list(y, "run", 1, &dead));
    printf("dead: %s, after %d attempt\n", dead->members[0]->name,
           (int)dead->members[0]->attempts);
    must(y, yoke_job_retry(y, dead->members[0]->id, again));
    yoke_page_free(dead);
    must(y, yoke_job_wait(y, again, YOKE_NONE, &o));
    printf("once more: failed (%s)\n", o->errors[0].class_name);
    yoke_outcome_free(o);
    must(y, yoke_dead_purge(y, "run", YOKE_DEFAULT, NULL));
    printf("purged\n");
}

int main(void)
{
    struct yoke_outcome_info *o;
    yoke *y = example_open();
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.name = "flaky";
    s.retry = 5; /* attempts in all */
    s.backoff_base_ms = 10;
    s.backoff_cap_ms = 100;
    run(y, &s, "test \"$YOKE_ATTEMPT\" = 3 || exit 75; echo third time lucky",
        &o);
    example_show(o);
    for (size_t i = 0; i < o->nerrors; i++)
        printf("attempt %d: %s\n", (int)o->errors[i].attempt,
               o->errors[i].class_name);
    yoke_outcome_free(o);
    bury(y);
    yoke_close(y);
    return 0;
}
