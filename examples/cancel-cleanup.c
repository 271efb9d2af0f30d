/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cancel-cleanup - CancelledError with a finally block: a job that is cancelled
 * gets TERM and a grace to clean up in; then it is killed, with all that it
 * started. "cancelled" is said when it has ended, not when it was asked to.
 *
 * Prints:
 *     polite: working
 *     polite: cleaned up
 *     polite: cancelled (not wanted any more)
 *     stubborn: working
 *     stubborn: cancelled (not wanted any more)
 */
#include "example.h"

/* Prints what the job prints, up to a line or to its end. */
static int64_t show_output(yoke *y, const char *name, const char *id,
                           int64_t cursor, bool to_the_end)
{
    bool over = false;

    while (!over) {
        struct yoke_log_page *page;

        must(y, yoke_job_logs(y, id, cursor, YOKE_NONE, &page));
        for (size_t i = 0; i < page->count; i++)
            if (page->chunks[i].stream == 1)
                printf("%s: %.*s", name, (int)page->chunks[i].data.len,
                       page->chunks[i].data.data);
        over = page->over || (page->count > 0 && !to_the_end);
        cursor = page->cursor;
        yoke_log_page_free(page);
    }
    return cursor;
}

static void cancel(yoke *y, const char *name, const char *script)
{
    struct yoke_outcome_info *o;
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;
    int64_t cursor;

    yoke_submit_init(&s);
    s.name = name;
    example_run(y, &s, script, NULL, id);
    cursor = show_output(y, name, id, 0, false); /* it is up */
    must(y, yoke_cancel(y, id, "not wanted any more", 300));
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));
    (void)show_output(y, name, id, cursor, true);
    example_show(o);
    yoke_outcome_free(o);
}

int main(void)
{
    yoke *y = example_open();

    cancel(y, "polite",
           "trap 'echo cleaned up; exit 1' TERM; echo working; "
           "while :; do sleep 0.02; done");
    /* It ignores TERM, and so does what it put into a session of its own. */
    cancel(y, "stubborn",
           "trap '' TERM; setsid sleep 60 & echo working; "
           "while :; do sleep 0.02; done");
    yoke_close(y);
    return 0;
}
