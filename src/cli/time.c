/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * time - moves times of jobs and groups, and shields the job it runs in.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"

enum {
    OPTION_DEADLINE = 400,
    OPTION_EXPIRES,
    OPTION_AT,
    OPTION_FOR,
    OPTION_END,
};

#define SHIELD_MS 30000

const struct option_row reschedule_options[] = {
    {'t', "timeout", "D",
     "most time of an attempt from its start, of a group from its opening"},
    {OPTION_DEADLINE, "deadline", "WHEN",
     "must have ended by then: 10m from now, @UNIX, YYYY-MM-DDTHH:MM"},
    {OPTION_EXPIRES, "expires", "D", "most time queued, from the submit"},
    {OPTION_AT, "at", "WHEN", "a job that has not started: not before then"},
    {0, NULL, NULL, NULL},
};

const struct option_row shield_options[] = {
    {OPTION_FOR, "for", "D",
     "keep cancels from outside back for so long (30s)"},
    {OPTION_END, "end", NULL, "end the shield: what it kept back arrives"},
    {0, NULL, NULL, NULL},
};

static bool is_none(const struct cli *c)
{
    return strcmp(c->value, "none") == 0;
}

static int64_t duration_or_none(struct cli *c)
{
    return is_none(c) ? YOKE_NONE : options_duration(c);
}

static int64_t moment_or_none(struct cli *c)
{
    if (strcmp(c->value, "now") == 0)
        return cli_now_ms();
    return is_none(c) ? YOKE_NONE : options_moment(c);
}

int reschedule_main(struct cli *c)
{
    struct yoke_times times;
    bool any = false;
    int id;
    yoke *y;

    yoke_times_init(&times);
    while ((id = options_next(c)) != 0) {
        any = true;
        if (id == 't')
            times.timeout_ms = duration_or_none(c);
        else if (id == OPTION_DEADLINE)
            times.deadline_ms = moment_or_none(c);
        else if (id == OPTION_EXPIRES)
            times.expires_ms = duration_or_none(c);
        else
            times.at_ms = moment_or_none(c);
    }
    options_operands(c, 1, -1);
    if (!any)
        cli_usage(c, "say what is to be moved: --timeout, --deadline, "
                     "--expires or --at");
    y = cli_connect(c);
    for (int i = 0; i < c->argc; i++) {
        int status = yoke_reschedule(y, c->argv[i], &times);

        if (status != 0)
            cli_fail(c, y, status, "cannot reschedule %s", c->argv[i]);
    }
    yoke_close(y);
    return 0;
}

static void say_granted(const struct cli *c, int64_t asked, int64_t granted)
{
    struct text t = {0};

    if (c->json) {
        output_json(json_pack("{s:I}", "shielded_ms", (json_int_t)granted));
    } else if (granted < asked) {
        output_duration(&t, granted);
        cli_warn("the shield ends after %s, the daemon grants no more "
                 "(shield-max)",
                 text_str(&t));
        text_clear(&t);
    }
}

int shield_main(struct cli *c)
{
    const char *token;
    int64_t asked = SHIELD_MS, granted = 0;
    bool end = false, for_given = false;
    int status, id;
    yoke *y;

    while ((id = options_next(c)) != 0) {
        if (id == OPTION_END) {
            end = true;
        } else {
            asked = options_duration(c);
            for_given = true;
        }
    }
    options_operands(c, 0, 0);
    if (end && for_given)
        cli_usage(c, "--for and --end exclude each other");
    token = cli_token(c);
    y = cli_connect(c);
    status =
        end ? yoke_unshield(y, token) : yoke_shield(y, token, asked, &granted);
    if (status != 0)
        cli_fail(c, y, status, "cannot %s %s", end ? "unshield" : "shield",
                 token);
    if (!end)
        say_granted(c, asked, granted);
    yoke_close(y);
    return 0;
}
