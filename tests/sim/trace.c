/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>

#include "world.h"

#define TRACE_LINES 1000
#define TRACE_WIDTH 256

static struct {
    uint64_t seed, lines;
    int64_t start_ms;
    char text[TRACE_LINES][TRACE_WIDTH];
} trace;

void trace_reset(uint64_t seed)
{
    trace.seed = seed;
    trace.lines = 0;
    trace.start_ms = 0;
}

bool trace_on = true;

void trace_note(const char *fmt, ...)
{
    va_list ap;

    if (!trace_on)
        return;

    va_start(ap, fmt);
    (void)vsnprintf(trace.text[trace.lines++ % TRACE_LINES], TRACE_WIDTH, fmt,
                    ap);
    va_end(ap);
}

void trace_print(void)
{
    uint64_t from = trace.lines > TRACE_LINES ? trace.lines - TRACE_LINES : 0;

    for (uint64_t i = from; i < trace.lines; i++)
        fprintf(stderr, "  %s\n", trace.text[i % TRACE_LINES]);
}

static const char *opt(char *to, const char *name, int64_t v)
{
    to[0] = '\0';
    if (v != CORE_UNSET)
        (void)snprintf(to, 32, " %s=%lld", name, (long long)v);
    return to;
}

static void trace_submit(const char *at, const struct event_submit *s)
{
    char o[12][32];

    if (s->body.attempt)
        trace_note("%sSUBMIT under j%llx.%u:", at,
                   (unsigned long long)s->body.job.n, s->body.attempt);
    trace_note("%sSUBMIT %.*s %zu bytes group=%llx%s%s%s%s%s%s%s%s%s%s%s", at,
               (int)s->queue.len, s->queue.p, s->payload.len,
               (unsigned long long)s->group.n, opt(o[0], "prio", s->priority),
               opt(o[1], "timeout", s->timeout_ms),
               opt(o[2], "deadline", s->deadline_ms),
               opt(o[3], "expires", s->expires_ms),
               opt(o[4], "delay", s->delay_ms), opt(o[5], "retry", s->retry),
               opt(o[6], "base", s->backoff_base_ms),
               opt(o[7], "cap", s->backoff_cap_ms),
               opt(o[8], "redeliver", s->redeliver),
               opt(o[9], "keep", s->keep_ms), opt(o[10], "wait", s->wait_ms));
    if (s->once.number)
        trace_note("            ONCE %lld %lld", (long long)s->once.number,
                   (long long)s->once.open);
    if (s->at_ms != CORE_UNSET || s->key.len || s->limits.len || s->then.len)
        trace_note("            %s key=%.*s limits=%.*s then=%.*s",
                   opt(o[11], "at", s->at_ms), (int)s->key.len, s->key.p,
                   (int)s->limits.len, s->limits.p, (int)s->then.len,
                   s->then.p);
}

static void trace_open(const char *at, const struct event_group_open *g)
{
    char o[6][32];

    trace_note("%sGROUP OPEN parent=%s%llx.%u%s%s%s%s%s%s%s", at,
               g->parent.is_job ? "j" : "g",
               (unsigned long long)(g->parent.is_job ? g->parent.token.job.n
                                                     : g->parent.group.n),
               g->parent.is_job ? g->parent.token.attempt : 0,
               opt(o[0], "fail", g->fail), opt(o[1], "succeed", g->succeed),
               opt(o[2], "width", g->width),
               opt(o[3], "timeout", g->timeout_ms),
               opt(o[4], "deadline", g->deadline_ms),
               opt(o[5], "keep", g->keep_ms), g->detached ? " detached" : "");
    if (g->once.number)
        trace_note("            ONCE %lld %lld", (long long)g->once.number,
                   (long long)g->once.open);
}

static void trace_report(const char *at, const struct core_event *ev)
{
    static const char *const names[] = {
        [EVENT_DONE] = "DONE",       [EVENT_FAIL] = "FAIL",
        [EVENT_RELEASE] = "RELEASE", [EVENT_TOUCH] = "TOUCH",
        [EVENT_SHIELD] = "SHIELD",   [EVENT_UNSHIELD] = "UNSHIELD",
        [EVENT_LOG] = "LOG",         [EVENT_READY] = "READY"};

    trace_note("%s%s j%llx.%u %.*s", at, names[ev->kind],
               (unsigned long long)ev->u.report.token.job.n,
               ev->u.report.token.attempt, (int)ev->u.report.class.len,
               ev->u.report.class.p);
}

static void trace_move(const char *at, const struct core_event *ev)
{
    char o[4][32];

    trace_note("%sRESCHEDULE %s%llx%s%s%s%s", at,
               ev->u.reschedule.is_job ? "j" : "g",
               (unsigned long long)(ev->u.reschedule.is_job
                                        ? ev->u.reschedule.job.n
                                        : ev->u.reschedule.group.n),
               opt(o[0], "timeout", ev->u.reschedule.timeout_ms),
               opt(o[1], "deadline", ev->u.reschedule.deadline_ms),
               opt(o[2], "expires", ev->u.reschedule.expires_ms),
               opt(o[3], "at", ev->u.reschedule.at_ms));
}

static void trace_fetch(const char *at, const struct core_event *ev)
{
    char names[64] = "";
    size_t len = 0;

    for (size_t i = 0; i < ev->u.fetch.nqueues && len < sizeof(names); i++) {
        len += (size_t)snprintf(names + len, sizeof(names) - len, " %.*s",
                                (int)ev->u.fetch.queues[i].len,
                                ev->u.fetch.queues[i].p);
        if (ev->u.fetch.bounds && ev->u.fetch.bounds[i] != CORE_NONE &&
            len < sizeof(names))
            len += (size_t)snprintf(names + len, sizeof(names) - len, "/%lld",
                                    (long long)ev->u.fetch.bounds[i]);
    }
    trace_note("%sFETCH %lld wait=%lld%s", at, (long long)ev->u.fetch.count,
               (long long)ev->u.fetch.wait_ms, names);
}

void trace_event(const struct core_event *ev)
{
    char at[48];

    if (!trace_on || ev->kind == EVENT_ALIVE)
        return; /* ALIVE comes before each request */

    if (!trace.start_ms)
        trace.start_ms = ev->now_ms;
    (void)snprintf(at, sizeof(at),
                   "%6lld c%llu: ", (long long)(ev->now_ms - trace.start_ms),
                   (unsigned long long)ev->client.n);
    switch (ev->kind) {
    case EVENT_SUBMIT:
        trace_submit(at, &ev->u.submit);
        break;
    case EVENT_GROUP_OPEN:
        trace_open(at, &ev->u.group_open);
        break;
    case EVENT_DONE:
    case EVENT_FAIL:
    case EVENT_RELEASE:
    case EVENT_TOUCH:
    case EVENT_SHIELD:
    case EVENT_UNSHIELD:
    case EVENT_LOG:
    case EVENT_READY:
        trace_report(at, ev);
        break;
    case EVENT_FETCH:
        trace_fetch(at, ev);
        break;
    case EVENT_AWAIT:
    case EVENT_UNAWAIT:
        for (size_t i = 0; i < ev->u.await.nids; i++)
            trace_note("%s%s %s%llx", at,
                       ev->kind == EVENT_AWAIT ? "AWAIT" : "UNAWAIT",
                       ev->u.await.ids[i].is_group ? "g" : "j",
                       (unsigned long long)ev->u.await.ids[i].n);
        break;
    case EVENT_RESULT:
        trace_note("%s%s j%llx wait=%lld", at,
                   ev->u.job.ready ? "WAIT READY" : "RESULT/WAIT",
                   (unsigned long long)ev->u.job.id.n,
                   (long long)ev->u.job.wait_ms);
        break;
    case EVENT_CANCEL:
        trace_note("%sCANCEL %s%llx reason=%.*s grace=%lld", at,
                   ev->u.cancel.is_job ? "j" : "g",
                   (unsigned long long)(ev->u.cancel.is_job
                                            ? ev->u.cancel.job.n
                                            : ev->u.cancel.group.n),
                   (int)ev->u.cancel.reason.len, ev->u.cancel.reason.p,
                   (long long)ev->u.cancel.grace_ms);
        break;
    case EVENT_RESCHEDULE:
        trace_move(at, ev);
        break;
    case EVENT_LIMITER_SET:
    case EVENT_LIMITER_DELETE:
        trace_note("%sLIMITER %s %.*s permits=%lld rate=%lld in %lld", at,
                   ev->kind == EVENT_LIMITER_SET ? "SET" : "DEL",
                   (int)ev->u.limiter.name.len, ev->u.limiter.name.p,
                   (long long)ev->u.limiter.permits,
                   (long long)ev->u.limiter.rate,
                   (long long)ev->u.limiter.rate_ms);
        break;
    case EVENT_RETRY:
        trace_note("%sRETRY j%llx", at, (unsigned long long)ev->u.job.id.n);
        break;
    case EVENT_DEAD_RETRY:
    case EVENT_DEAD_PURGE:
        trace_note("%sDEAD %s %.*s count=%lld", at,
                   ev->kind == EVENT_DEAD_RETRY ? "RETRY" : "PURGE",
                   (int)ev->u.dead.queue.len, ev->u.dead.queue.p,
                   (long long)ev->u.dead.count);
        break;
    case EVENT_GROUP_CLOSE:
    case EVENT_GROUP_INFO:
    case EVENT_GROUP_NEXT:
        trace_note(
            "%sGROUP %s g%llx cursor=%lld wait=%lld count=%lld", at,
            ev->kind == EVENT_GROUP_CLOSE  ? "CLOSE"
            : ev->kind == EVENT_GROUP_INFO ? "INFO/WAIT"
                                           : "NEXT",
            (unsigned long long)ev->u.group.id.n, (long long)ev->u.group.cursor,
            (long long)ev->u.group.wait_ms, (long long)ev->u.group.count);
        if (ev->u.group.policy)
            trace_note("            fail=%lld succeed=%lld",
                       (long long)ev->u.group.fail,
                       (long long)ev->u.group.succeed);
        break;
    case EVENT_GROUP_ERRORS:
        trace_note("%sGROUP ERRORS %s%llx %.*s CLASS %.*s EXCEPT %.*s "
                   "count=%lld",
                   at, ev->u.errors.is_job ? "j" : "g",
                   (unsigned long long)(ev->u.errors.is_job
                                            ? ev->u.errors.job.n
                                            : ev->u.errors.group.n),
                   (int)ev->u.errors.cursor.len, ev->u.errors.cursor.p,
                   (int)ev->u.errors.classes.len, ev->u.errors.classes.p,
                   (int)ev->u.errors.except.len, ev->u.errors.except.p,
                   (long long)ev->u.errors.count);
        break;
    case EVENT_QUEUE_SET:
        trace_note("%sQUEUE SET %.*s max_jobs=%lld fair=%lld dead_keep=%lld",
                   at, (int)ev->u.queue.name.len, ev->u.queue.name.p,
                   (long long)ev->u.queue.settings.max_jobs,
                   (long long)ev->u.queue.settings.fair,
                   (long long)ev->u.queue.settings.dead_keep_ms);
        break;
    case EVENT_QUEUE_PAUSE:
        trace_note("%sQUEUE %s %.*s", at,
                   ev->u.queue.paused ? "PAUSE" : "RESUME",
                   (int)ev->u.queue.name.len, ev->u.queue.name.p);
        break;
    case EVENT_QUEUE_CLOSE:
        trace_note("%sQUEUE %s %.*s%s", at,
                   ev->u.queue.closed ? "CLOSE" : "OPEN",
                   (int)ev->u.queue.name.len, ev->u.queue.name.p,
                   ev->u.queue.at_once ? " NOW" : "");
        break;
    case EVENT_QUEUE_PURGE:
    case EVENT_QUEUE_JOIN:
        trace_note("%sQUEUE %s %.*s wait=%lld", at,
                   ev->kind == EVENT_QUEUE_PURGE ? "PURGE" : "JOIN",
                   (int)ev->u.queue.name.len, ev->u.queue.name.p,
                   (long long)ev->u.queue.wait_ms);
        break;
    case EVENT_SESSION:
        trace_note("%sSESSION", at);
        break;
    case EVENT_SESSION_RESUME:
        trace_note("%sSESSION RESUME s%llx", at,
                   (unsigned long long)ev->u.session.n);
        break;
    case EVENT_ALIVE:
        trace_note("%sALIVE", at);
        break;
    case EVENT_UNBLOCK:
        trace_note("%sUNBLOCK", at);
        break;
    case EVENT_DISCONNECT:
        trace_note("%sDISCONNECT %s", at,
                   ev->u.disconnect == DISCONNECT_BROKEN  ? "broken"
                   : ev->u.disconnect == DISCONNECT_CLEAN ? "clean"
                                                          : "dead");
        break;
    case EVENT_START:
        trace_note("%sSTART", at);
        break;
    case EVENT_TICK:
        trace_note("%sTICK", at);
        break;
    case EVENT_SEGMENT:
        trace_note("%sSEGMENT %u", at, ev->u.segment);
        break;
    case EVENT_DISK_FULL:
        trace_note("%sDISK_FULL %d %d", at, ev->u.full.narrow, ev->u.full.on);
        break;
    case EVENT_DRAIN:
        trace_note("%sDRAIN %d", at, ev->u.on);
        break;
    case EVENT_LOAD:
        trace_note("%sLOAD", at);
        break;
    case EVENT_WATCH:
        trace_note("%sWATCH %lld", at, (long long)ev->u.work);
        break;
    case EVENT_CLOCK:
        trace_note("%sCLOCK %lld", at, (long long)ev->u.shift_ms);
        break;
    default: /* questions are not traced */
        trace_note("%sevent %d", at, (int)ev->kind);
        break;
    }
}

void trace_reply(uint64_t client, const struct node *n)
{
    char text[TRACE_WIDTH - 32];

    if (!trace_on)
        return;
    node_print(n, text, sizeof(text));
    trace_note("           c%llu <- %s", (unsigned long long)client, text);
}
