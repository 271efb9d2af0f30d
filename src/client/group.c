/* SPDX-License-Identifier: BSD-2-Clause */
/* group - open, close, wait for, and read the members of groups. */
#include "client/client.h"

void yoke_group_options_init(struct yoke_group_options *o)
{
    *o = (struct yoke_group_options){
        .fail = YOKE_DEFAULT,
        .succeed = YOKE_DEFAULT,
        .width = YOKE_DEFAULT,
        .timeout_ms = YOKE_DEFAULT,
        .deadline_ms = YOKE_DEFAULT,
        .keep_ms = YOKE_DEFAULT,
    };
}

static int group_args(yoke *y, struct yk_args *a, const char *verb,
                      const char *id)
{
    if (!id)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "an id is needed");
    yk_args_init(a, "GROUP");
    yk_args_text(a, verb);
    yk_args_text(a, id);
    return 0;
}

int yoke_group_open(yoke *y, const struct yoke_group_options *o,
                    char id[YOKE_ID_SIZE])
{
    struct yoke_group_options defaults;
    struct yk_args a;

    if (!o) {
        yoke_group_options_init(&defaults);
        o = &defaults;
    }
    yk_args_init(&a, "GROUP");
    yk_args_text(&a, "OPEN");
    yk_args_option(&a, "PARENT", yk_scope(y, o->parent));
    yk_args_option(&a, "NAME", o->name);
    yk_args_option(&a, "KEY", o->key);
    yk_args_option_int(&a, "FAIL", o->fail);
    yk_args_option_int(&a, "SUCCEED", o->succeed);
    yk_args_option_int(&a, "WIDTH", o->width);
    yk_args_option_int(&a, "TIMEOUT", o->timeout_ms);
    yk_args_option_int(&a, "DEADLINE", o->deadline_ms);
    yk_args_option_int(&a, "KEEP", o->keep_ms);
    /* Under the job of a task it ends with the job, and with nothing else: the
     * session is that of a thread, which may end before. */
    if (o->detached || (y->scope[0] != '\0' && !o->parent))
        yk_args_text(&a, "DETACHED");
    return yk_call_id(y, &a, YK_PLAIN, id);
}

int yoke_group_close(yoke *y, const char *id)
{
    struct yk_args a;
    int status = group_args(y, &a, "CLOSE", id);

    return status < 0 ? status : yk_call_ok(y, &a);
}

int yoke_group_close_policy(yoke *y, const char *id, int64_t fail,
                            int64_t succeed)
{
    struct yk_args a;
    int status = group_args(y, &a, "CLOSE", id);

    if (status < 0)
        return status;
    yk_args_option_int(&a, "FAIL", fail);
    yk_args_option_int(&a, "SUCCEED", succeed);
    return yk_call_ok(y, &a);
}

int yoke_group_wait(yoke *y, const char *id, int64_t wait_ms,
                    struct yoke_outcome_info **out)
{
    struct yk_args a;

    yk_args_init(&a, "GROUP");
    yk_args_text(&a, "WAIT");
    return yk_outcome_wait(y, &a, id, wait_ms, out);
}

static int page_out(yoke *y, const char *command, struct yoke_value *v,
                    struct yoke_page **out)
{
    int status = yk_page_parse(v, out);

    return status < 0 ? yk_parse_failed(y, status, command) : 0;
}

int yoke_group_next(yoke *y, const char *id, const char *cursor,
                    int64_t wait_ms, int64_t count, struct yoke_page **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = group_args(y, &a, "NEXT", id);

    if (status < 0)
        return status;
    yk_args_text(&a, cursor ? cursor : "0");
    yk_args_text(&a, "");
    if (count != 0)
        yk_args_option_int(&a, "COUNT", count);
    status = yk_call_waiting(y, &a, 4, wait_ms, &v);
    return status < 0 ? status : page_out(y, "GROUP NEXT", v, out);
}

int yoke_group_results(yoke *y, const char *id, const char *cursor,
                       bool errors_only, int64_t count, struct yoke_page **out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = group_args(y, &a, "RESULTS", id);

    if (status < 0)
        return status;
    yk_args_text(&a, cursor ? cursor : "0");
    if (errors_only)
        yk_args_text(&a, "ERRORS");
    if (count != 0)
        yk_args_option_int(&a, "COUNT", count);
    status = yk_call(y, &a, YK_PLAIN, &v);
    return status < 0 ? status : page_out(y, "GROUP RESULTS", v, out);
}
