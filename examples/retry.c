/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retry - attempts with back-off and jitter: 10 ms, then 20, 40 ... up to 100,
 * each times 0.5 to 1.5. The errors of the attempts are kept.
 *
 * Prints:
 *     flaky: ok, third time lucky
 *     attempt 1: exit:75
 *     attempt 2: exit:75
 */
#include "example.h"

int main(void)
{
    struct yoke_outcome_info *o;
    yoke *y = example_open();
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.name = "flaky";
    s.retry = 5; /* attempts in all */
    s.backoff_base_ms = 10;
    s.backoff_cap_ms = 100;
    example_run(y, &s,
                "test \"$YOKE_ATTEMPT\" = 3 || exit 75; "
                "echo third time lucky",
                NULL, id);
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    example_show(o);
    for (size_t i = 0; i < o->nerrors; i++)
        printf("attempt %d: %s\n", (int)o->errors[i].attempt,
               o->errors[i].class_name);
    yoke_outcome_free(o);
    yoke_close(y);
    return 0;
}
