/* SPDX-License-Identifier: BSD-2-Clause */
#include "view.h"

#include "base/mem.h"

void arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){.data = mem_alloc(cap), .cap = cap};
    buf_init(&a->bytes);
    /* Nodes point into it: it must not move while they are in use. */
    buf_reserve(&a->bytes, cap);
}

void arena_reset(struct arena *a)
{
    a->len = 0;
    buf_reset(&a->bytes);
}

void arena_clear(struct arena *a)
{
    mem_free(a->data);
    buf_clear(&a->bytes);
}

static void *arena_take(struct arena *a, size_t size)
{
    void *p = a->data + a->len;

    size = (size + 15) & ~(size_t)15;
    if (size > a->cap - a->len)
        violation("the arena of %zu bytes is too small", a->cap);
    a->len += size;
    return memset(p, 0, size);
}

static void read_into(struct arena *a, const char *bytes, size_t len,
                      size_t *at, struct node *n)
{
    uint32_t items;

    if (*at >= len)
        violation("a reply ends early");
    value_read(bytes, at, &n->v);
    if (*at > len)
        violation("a reply runs over its end");
    if (n->v.kind != VALUE_ARRAY && n->v.kind != VALUE_MAP)
        return;
    items = n->v.count * (n->v.kind == VALUE_MAP ? 2 : 1);
    n->items = arena_take(a, items * sizeof(*n->items));
    for (uint32_t i = 0; i < items; i++)
        read_into(a, bytes, len, at, &n->items[i]);
}

struct node *node_read(struct arena *a, const char *bytes, size_t len)
{
    struct node *n = arena_take(a, sizeof(*n));
    size_t at = 0;

    read_into(a, bytes, len, &at, n);
    if (at != len)
        violation("a reply has %zu bytes too many", len - at);
    return n;
}

/* Keys are mostly read in the order in which they stand: the search begins
 * behind the last one that was found. */
const struct node *node_find(const struct node *map, struct str key)
{
    static uint32_t next;

    if (map->v.kind != VALUE_MAP) {
        char text[256];

        node_print(map, text, sizeof(text));
        violation("no map where key '%s' is looked for: %s", key.p, text);
    }
    for (uint32_t n = map->v.count; n > 0; n--) {
        const struct node *at;

        if (next >= map->v.count)
            next = 0;
        at = &map->items[2 * next++];
        if (str_eq(node_str(at), key))
            return at + 1;
    }
    violation("the map has no key '%s'", key.p);
}

bool node_is_error(const struct node *n, enum core_error code)
{
    return n->v.kind == VALUE_ERROR && n->v.code == (uint32_t)code;
}

bool node_is_null(const struct node *n)
{
    return n->v.kind == VALUE_NULL;
}

const struct node *node_item(const struct node *n, uint32_t i)
{
    if (n->v.kind != VALUE_ARRAY || i >= n->v.count)
        violation("item %u of something that is no array so long", i);
    return &n->items[i];
}

int64_t node_int(const struct node *n)
{
    int64_t i = 0;

    if (n->v.kind == VALUE_INT)
        return n->v.i;
    if (n->v.kind != VALUE_STR || n->v.s.len == 0 || n->v.s.len > 20)
        violation("a number was expected, kind %d came", (int)n->v.kind);
    for (size_t k = 0; k < n->v.s.len; k++) {
        if (n->v.s.p[k] < '0' || n->v.s.p[k] > '9')
            violation("a number was expected: '%.*s'", (int)n->v.s.len,
                      n->v.s.p);
        i = i * 10 + (n->v.s.p[k] - '0');
    }
    return i;
}

int64_t node_int_or(const struct node *n, int64_t null)
{
    return node_is_null(n) ? null : node_int(n);
}

struct str node_str(const struct node *n)
{
    if (n->v.kind == VALUE_NULL)
        return (struct str){0};
    if (n->v.kind == VALUE_OK)
        return STR("OK");
    if (n->v.kind != VALUE_STR)
        violation("a string was expected, kind %d came", (int)n->v.kind);
    return n->v.s;
}

uint64_t node_id(const struct node *n, char kind)
{
    if (n->v.kind == VALUE_ID && n->v.id_kind == kind)
        return n->v.id;
    if (kind == 'g' && n->v.kind == VALUE_STR && str_eq(n->v.s, STR("root")))
        return 0;
    violation("an id of kind %c was expected, kind %d came", kind,
              (int)n->v.kind);
}

const char *error_code(uint32_t code)
{
    static const char *const codes[] = {
#define ERROR(id, name, meaning) name,
#include "wire/errors.def"
#undef ERROR
    };

    return code < ARRAY_LEN(codes) ? codes[code] : "unknown";
}

static size_t print_into(const struct node *n, char *to, size_t size)
{
    uint32_t items = n->v.count * (n->v.kind == VALUE_MAP ? 2 : 1);
    size_t len = 0;

#define PUT(...)                                                        \
    do {                                                                \
        if (len < size)                                                 \
            len += (size_t)snprintf(to + len, size - len, __VA_ARGS__); \
    } while (0)
    switch (n->v.kind) {
    case VALUE_NULL:
        PUT("null");
        break;
    case VALUE_OK:
        PUT("OK");
        break;
    case VALUE_INT:
        PUT("%lld", (long long)n->v.i);
        break;
    case VALUE_STR:
        PUT("'%.*s'", (int)min_i64((int64_t)n->v.s.len, 40), n->v.s.p);
        break;
    case VALUE_ERROR:
        PUT("-%s %.*s", error_code(n->v.code), (int)n->v.s.len, n->v.s.p);
        break;
    case VALUE_ID:
        PUT("%c%llx", n->v.id_kind, (unsigned long long)n->v.id);
        if (n->v.attempt)
            PUT(".%u", n->v.attempt);
        break;
    case VALUE_ARRAY:
    case VALUE_MAP:
        PUT(n->v.kind == VALUE_MAP ? "{" : "[");
        for (uint32_t i = 0; i < items && len < size; i++) {
            if (i)
                PUT(" ");
            if (len < size)
                len += print_into(&n->items[i], to + len, size - len);
        }
        PUT(n->v.kind == VALUE_MAP ? "}" : "]");
        break;
    }
#undef PUT
    return len;
}

void node_print(const struct node *n, char *to, size_t size)
{
    to[0] = '\0';
    (void)print_into(n, to, size); /* cut when long: it is for people */
}

const struct node *view_ask(struct core *c, struct arena *a,
                            const struct core_event *ev)
{
    return view_read(c, a, ev, NULL);
}

const struct node *view_read(struct core *c, struct arena *a,
                             const struct core_event *ev, struct buf *records)
{
    static struct core_effects out; /* kept: there are many questions */
    size_t at = a->bytes.len, len;

    core_effects_reset(&out);
    core_step(c, ev, &out);
    len = buf_size(&out.records);
    if (len > 0 && !records)
        violation("a question of kind %d made a record", (int)ev->kind);
    if (len > 0)
        buf_append(records, buf_front(&out.records), len);
    /* The reply goes first: it does not wait for the record. */
    if (out.len != (len > 0 ? 2 : 1) || out.list[0].kind != EFFECT_REPLY ||
        out.list[0].client.n != ev->client.n)
        violation("a question of kind %d had %zu effects, 1 reply expected",
                  (int)ev->kind, out.len);
    if (out.list[0].len > a->bytes.cap - at)
        violation("the arena is too small for a reply");
    buf_append(&a->bytes, out.values.data + out.list[0].at, out.list[0].len);
    return node_read(a, a->bytes.data + at, a->bytes.len - at);
}

enum view_outcome view_outcome_read(const struct node *n)
{
    if (node_is_null(n))
        return VIEW_NONE;
    if (str_eq(node_str(n), STR("ok")))
        return VIEW_OK;
    if (str_eq(node_str(n), STR("failed")))
        return VIEW_FAILED;
    if (str_eq(node_str(n), STR("cancelled")))
        return VIEW_CANCELLED;
    violation("unknown outcome '%.*s'", (int)n->v.s.len, n->v.s.p);
}

static enum view_state state_read(struct str s)
{
    static const char *const names[] = {"delayed",    "parked",     "ready",
                                        "running",    "cancelling", "joining",
                                        "delivering", "finished"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(s, str_from(names[i])))
            return (enum view_state)i;
    violation("unknown state '%.*s'", (int)s.len, s.p);
}

void view_job_read(const struct node *map, struct job_view *out)
{
    *out = (struct job_view){
        .found = true,
        .id = node_id(node_get(map, "id"), 'j'),
        .queue = node_str(node_get(map, "queue")),
        .group = node_id(node_get(map, "group"), 'g'),
        .name = node_str(node_get(map, "name")),
        .state = state_read(node_str(node_get(map, "state"))),
        .outcome = view_outcome_read(node_get(map, "outcome")),
        .priority = node_int(node_get(map, "priority")),
        .attempt = node_int(node_get(map, "attempt")),
        .submitted = node_int(node_get(map, "submitted")),
        .started = node_int_or(node_get(map, "started"), CORE_NONE),
        .ended = node_int_or(node_get(map, "ended"), CORE_NONE),
        .deadline = node_int_or(node_get(map, "deadline"), CORE_NONE),
        .timeout = node_int_or(node_get(map, "timeout"), CORE_NONE),
        .reason = node_str(node_get(map, "reason")),
        .errors = node_int(node_get(map, "errors")),
        .payload_bytes = node_int(node_get(map, "payload_bytes")),
        .ready = node_str(node_get(map, "ready")),
        .shielded = node_int_or(node_get(map, "shielded"), CORE_NONE),
    };
    (void)node_get(map, "progress");
}

void view_group_read(const struct node *map, struct group_view *out)
{
    struct str state = node_str(node_get(map, "state"));

    *out = (struct group_view){
        .found = true,
        .open = str_eq(state, STR("open")),
        .closed =
            str_eq(state, STR("closed")) || str_eq(state, STR("cancelling")),
        .ended_state = str_eq(state, STR("ended")),
        .id = node_id(node_get(map, "id"), 'g'),
        .parent = node_get(map, "parent"),
        .name = node_str(node_get(map, "name")),
        .outcome = view_outcome_read(node_get(map, "outcome")),
        .reason = node_str(node_get(map, "reason")),
        .fail = node_int(node_get(map, "fail")),
        .succeed = node_int(node_get(map, "succeed")),
        .width = node_int_or(node_get(map, "width"), CORE_NONE),
        .deadline = node_int_or(node_get(map, "deadline"), CORE_NONE),
        .members = node_int(node_get(map, "members")),
        .queued = node_int(node_get(map, "queued")),
        .running = node_int(node_get(map, "running")),
        .ok = node_int(node_get(map, "ok")),
        .failed = node_int(node_get(map, "failed")),
        .cancelled = node_int(node_get(map, "cancelled")),
        .opened = node_int(node_get(map, "opened")),
        .ended = node_int_or(node_get(map, "ended"), CORE_NONE),
        .errors = node_get(map, "errors"),
    };
    if (!str_eq(node_str(node_get(map, "kind")), STR("group")))
        violation("a group's map has another kind");
    if (!out->open && !out->closed && !out->ended_state)
        violation("unknown state of a group '%.*s'", (int)state.len, state.p);
}

struct job_view view_job(struct core *c, struct arena *a, int64_t now,
                         uint64_t id)
{
    struct core_event ev = {.kind = EVENT_STATUS,
                            .now_ms = now,
                            .client = {VIEW_CLIENT},
                            .u.job.id = {id}};
    const struct node *n = view_ask(c, a, &ev);
    struct job_view v = {.found = false};

    if (node_is_error(n, CORE_ERR_NOJOB))
        return v;
    view_job_read(n, &v);
    if (v.id != id)
        violation("STATUS answered another job");
    return v;
}

struct group_view view_group(struct core *c, struct arena *a, int64_t now,
                             uint64_t id)
{
    struct core_event ev = {.kind = EVENT_GROUP_INFO,
                            .now_ms = now,
                            .client = {VIEW_CLIENT},
                            .u.group = {.id = {id}, .wait_ms = CORE_UNSET}};
    const struct node *n = view_ask(c, a, &ev);
    struct group_view v = {.found = false};

    if (node_is_error(n, CORE_ERR_NOGROUP))
        return v;
    view_group_read(n, &v);
    if (v.id != id)
        violation("GROUP INFO answered another group");
    return v;
}
