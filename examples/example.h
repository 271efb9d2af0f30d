/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * example - what the examples share: an error ends them with its text, a shell
 * script becomes a job for yoke-runner, an outcome is one line.
 *
 * They need a yoked whose runner takes commands; README.md starts one.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke.h>

/* Ends the program when a call has failed; gives its status otherwise. */
static inline int must(const yoke *y, int status)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", yoke_status_name(status),
                y ? yoke_error_text(y) : "");
        exit(1);
    }
    return status;
}

/* To the daemon that YOKE_SERVER names. */
static inline yoke *example_open(void)
{
    yoke *y = NULL;

    must(y, yoke_open(NULL, NULL, &y));
    return y;
}

/* Submits `sh -c script argument` for a runner; s carries the options, and
 * gets the queue "run" and the payload. argument may be NULL. */
static inline void example_run(yoke *y, struct yoke_submit *s,
                               const char *script, const char *argument,
                               char id[YOKE_ID_SIZE])
{
    const char *argv[] = {"sh", "-c", script, "sh", argument, NULL};

    s->queue = "run";
    must(y, yoke_command_payload(NULL, NULL, argv, (struct yoke_bytes){0},
                                 &s->payload));
    must(y, yoke_submit(y, s, id));
    yoke_free((char *)s->payload.data);
}

/* The same for a member of a group, with a name and nothing else. */
static inline void example_member(yoke *y, const char *group, const char *name,
                                  const char *script)
{
    char id[YOKE_ID_SIZE];
    struct yoke_submit s;

    yoke_submit_init(&s);
    s.group = group;
    s.name = name;
    example_run(y, &s, script, NULL, id);
}

/* "NAME: ok", "NAME: failed (CLASS)", "NAME: cancelled (REASON)" */
static inline void example_show(const struct yoke_outcome_info *o)
{
    printf("%s: ", o->name);
    if (o->outcome == YOKE_SUCCEEDED)
        printf("ok");
    else if (o->outcome == YOKE_CANCELLED)
        printf("cancelled (%s)", o->reason);
    else if (o->nerrors > 0)
        printf("failed (%s)", o->errors[o->nerrors - 1].class_name);
    else
        printf("failed");
    if (o->result.data && o->result.len > 0)
        printf(", %.*s", (int)strcspn(o->result.data, "\n"), o->result.data);
    printf("\n");
}

/* The members of a group in the order of their submission, a line each. */
static inline void example_show_members(yoke *y, const char *group)
{
    char cursor[YOKE_ID_SIZE] = "0";
    bool over = false;

    while (!over) {
        struct yoke_page *page;

        must(y, yoke_group_results(y, group, cursor, false, 0, &page));
        for (size_t i = 0; i < page->count; i++)
            example_show(page->members[i]);
        over = page->over;
        memcpy(cursor, page->cursor, sizeof(cursor));
        yoke_page_free(page);
    }
}

/* No more members; waits until all have ended, and shows how. */
static inline void example_close_and_wait(yoke *y, const char *group)
{
    struct yoke_outcome_info *o;

    must(y, yoke_group_close(y, group));
    must(y, yoke_group_wait(y, group, YOKE_NONE, &o));
    printf("%s: %s; %d ok, %d failed, %d cancelled\n",
           o->name[0] ? o->name : "group",
           o->outcome == YOKE_SUCCEEDED   ? "ok"
           : o->outcome == YOKE_CANCELLED ? "cancelled"
                                          : "failed",
           (int)o->ok, (int)o->failed, (int)o->cancelled);
    yoke_outcome_free(o);
}

#endif
