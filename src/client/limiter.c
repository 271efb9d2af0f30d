/* SPDX-License-Identifier: BSD-2-Clause */
/* limiter - named permits and rates. */
#include "client/client.h"

static int limiter_args(yoke *y, struct yk_args *a, const char *verb,
                        const char *name)
{
    if (!name)
        return yk_fail(y, YOKE_ERR_ARGUMENT, "the name of a limiter is needed");
    yk_args_init(a, "LIMITER");
    yk_args_text(a, verb);
    yk_args_text(a, name);
    return 0;
}

int yoke_limiter_set(yoke *y, const char *name, int64_t permits, int64_t rate,
                     int64_t interval_ms)
{
    struct yk_args a;
    int status = limiter_args(y, &a, "SET", name);

    if (status < 0)
        return status;
    yk_args_option_int(&a, "PERMITS", permits);
    if (rate == YOKE_NONE)
        rate = interval_ms = 0;
    if ((rate == YOKE_DEFAULT) != (interval_ms == YOKE_DEFAULT))
        return yk_fail(y, YOKE_ERR_ARGUMENT,
                       "a rate has a number and an interval");
    yk_args_option_int(&a, "RATE", rate);
    if (rate != YOKE_DEFAULT)
        yk_args_int(&a, interval_ms);
    return yk_call_ok(y, &a);
}

int yoke_limiter_info(yoke *y, const char *name, struct yoke_limiter *out)
{
    struct yoke_value *v;
    struct yk_args a;
    int status = limiter_args(y, &a, "INFO", name);

    if (status < 0)
        return status;
    status = yk_call(y, &a, YK_PLAIN, &v);
    if (status < 0)
        return status;
    if (!yk_value_to_map(v))
        return yk_bad_reply(y, "LIMITER INFO", v);
    *out = (struct yoke_limiter){
        .permits = yk_map_int(v, "permits", YOKE_NONE),
        .rate = yk_map_int(v, "rate", 0),
        .interval_ms = yk_map_int(v, "rate_interval", 0),
        .held = yk_map_int(v, "held", 0),
        .waiting = yk_map_int(v, "waiting", 0),
    };
    if (out->rate == 0)
        out->rate = YOKE_NONE;
    yoke_value_free(v);
    return 0;
}

int yoke_limiter_list(yoke *y, struct yoke_value **out)
{
    struct yk_args a;

    yk_args_init(&a, "LIMITER");
    yk_args_text(&a, "LIST");
    return yk_call_names(y, &a, out);
}

int yoke_limiter_delete(yoke *y, const char *name)
{
    struct yk_args a;
    int status = limiter_args(y, &a, "DEL", name);

    return status < 0 ? status : yk_call_ok(y, &a);
}
