/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outcome - how jobs and groups ended, read from their maps.
 *
 * An outcome owns the reply that it was read from, and points into it.
 */
#include "client/client.h"

int yk_parse_failed(yoke *y, int status, const char *command)
{
    return status == YOKE_ERR_NOMEM ? yk_nomem(y)
                                    : yk_bad_reply(y, command, NULL);
}

/* The errors become one array, whose strings belong to v. */
static int parse_errors(struct yoke_value *v, struct yoke_job_error **out,
                        size_t *count)
{
    struct yoke_job_error *errors;

    if (!v || v->kind == YOKE_NULL || (v->kind == YOKE_ARRAY && !v->count)) {
        *out = NULL;
        *count = 0;
        return 0;
    }
    if (v->kind != YOKE_ARRAY)
        return YOKE_ERR_PROTOCOL;
    errors = yk_zalloc(v->count, sizeof(*errors));
    if (!errors)
        return YOKE_ERR_NOMEM;
    for (size_t i = 0; i < v->count; i++) {
        struct yoke_value *map = &v->items[i];

        if (!yk_value_to_map(map)) {
            free(errors);
            return YOKE_ERR_PROTOCOL;
        }
        errors[i] = (struct yoke_job_error){
            .class_name = yk_map_text(map, "class", ""),
            .message = yk_map_text(map, "message", ""),
            .detail = yk_map_text(map, "detail", ""),
            .attempt = yk_map_int(map, "attempt", 0),
            .time_ms = yk_map_int(map, "time", YOKE_NONE),
        };
    }
    *out = errors;
    *count = v->count;
    return 0;
}

bool yk_outcome_named(const char *name, enum yoke_outcome *out)
{
    if (*name == '\0')
        *out = YOKE_PENDING;
    else if (strcmp(name, "ok") == 0)
        *out = YOKE_SUCCEEDED;
    else if (strcmp(name, "failed") == 0)
        *out = YOKE_FAILED;
    else if (strcmp(name, "cancelled") == 0)
        *out = YOKE_CANCELLED;
    else
        return false;
    return true;
}

static int fill(struct yoke_outcome_info *o, struct yoke_value *map)
{
    const struct yoke_value *result, *errors;

    if (!yk_value_to_map(map))
        return YOKE_ERR_PROTOCOL;
    o->id = yk_map_text(map, "id", NULL);
    if (!o->id ||
        !yk_outcome_named(yk_map_text(map, "outcome", ""), &o->outcome))
        return YOKE_ERR_PROTOCOL;
    o->name = yk_map_text(map, "name", "");
    o->is_group = strcmp(yk_map_text(map, "kind", "job"), "group") == 0;
    o->reason = yk_map_text(map, "reason", NULL);
    o->next = yk_map_text(map, "next", NULL);
    o->attempts = yk_map_int(map, "attempts", 0);
    o->submitted_ms =
        yk_map_int(map, o->is_group ? "opened" : "submitted", YOKE_NONE);
    o->started_ms =
        yk_map_int(map, o->is_group ? "opened" : "started", YOKE_NONE);
    o->ended_ms = yk_map_int(map, "ended", YOKE_NONE);
    result = yoke_value_get(map, "result");
    if (result && result->kind == YOKE_STR)
        o->result = result->s;
    o->parent = yk_map_text(map, "parent", "");
    o->state = yk_map_text(map, "state", "");
    o->members = yk_map_int(map, "members", 0);
    o->queued = yk_map_int(map, "queued", 0);
    o->running = yk_map_int(map, "running", 0);
    o->ok = yk_map_int(map, "ok", 0);
    o->failed = yk_map_int(map, "failed", 0);
    o->cancelled = yk_map_int(map, "cancelled", 0);
    errors = yoke_value_get(map, "errors");
    /* The map is ours; its errors become maps in it. */
    return parse_errors((struct yoke_value *)errors, &o->errors, &o->nerrors);
}

int yk_outcome_parse(struct yoke_value *raw, struct yoke_outcome_info **out)
{
    struct yoke_outcome_info *o = yk_zalloc(1, sizeof(*o));
    int status;

    if (!o) {
        yoke_value_free(raw);
        return YOKE_ERR_NOMEM;
    }
    o->raw = raw;
    status = fill(o, raw);
    if (status < 0) {
        yoke_outcome_free(o);
        return status;
    }
    *out = o;
    return 0;
}

void yoke_outcome_free(struct yoke_outcome_info *o)
{
    if (!o)
        return;
    free(o->errors);
    yoke_value_free(o->raw);
    free(o);
}

static int fill_members(struct yoke_page *p, struct yoke_value *entries)
{
    if (entries->kind != YOKE_ARRAY)
        return YOKE_ERR_PROTOCOL;
    if (entries->count == 0)
        return 0;
    p->members = yk_zalloc(entries->count, sizeof(struct yoke_outcome_info *));
    if (!p->members)
        return YOKE_ERR_NOMEM;
    for (size_t i = 0; i < entries->count; i++) {
        struct yoke_value *raw = yk_value_take(&entries->items[i]);
        int status =
            raw ? yk_outcome_parse(raw, &p->members[i]) : YOKE_ERR_NOMEM;

        if (status < 0)
            return status;
        p->count++;
    }
    return 0;
}

static int fill_page(struct yoke_page *p, struct yoke_value *v)
{
    if (v->kind != YOKE_ARRAY || v->count != 3 ||
        !yk_value_id(&v->items[0], p->cursor))
        return YOKE_ERR_PROTOCOL;
    p->over = yk_value_int(&v->items[2], 0) != 0;
    return fill_members(p, &v->items[1]);
}

static int fill_list(struct yoke_page *p, struct yoke_value *v)
{
    p->over = true;
    return fill_members(p, v);
}

static int parse_page(struct yoke_value *v, struct yoke_page **out,
                      int (*fill_it)(struct yoke_page *, struct yoke_value *))
{
    struct yoke_page *p = yk_zalloc(1, sizeof(*p));
    int status = p ? fill_it(p, v) : YOKE_ERR_NOMEM;

    yoke_value_free(v);
    if (status < 0)
        yoke_page_free(p);
    else
        *out = p;
    return status;
}

int yk_page_parse(struct yoke_value *v, struct yoke_page **out)
{
    return parse_page(v, out, fill_page);
}

int yk_page_of_list(struct yoke_value *v, struct yoke_page **out)
{
    return parse_page(v, out, fill_list);
}

void yoke_page_free(struct yoke_page *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        yoke_outcome_free(p->members[i]);
    free(p->members);
    free(p);
}
