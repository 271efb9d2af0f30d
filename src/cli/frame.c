/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/frame.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/census.h"
#include "cli/output.h"
#include "cli/text.h"

#define HEAD_LINES  3
#define PART_LINES  2 /* of a part that are no rows: a blank one, a heading */
#define HOLDERS_MAX 2
#define WIDE        100 /* columns: names get more of them */

enum part { PART_QUEUES, PART_JOBS, PART_LIMITERS, PART_WORKERS, PARTS };

static const char *const part_names[PARTS] = {"queues", "jobs", "limiters",
                                              "workers"};

/* A frame being drawn. */
struct frame {
    FILE *to;
    const json_t *census;
    int64_t now_ms;
    size_t rows[PARTS]; /* that each part may have */
    size_t name;        /* columns of a name that is not the last of its row */
};

/* -------------------------------------------------------------------- words */

static json_t *part_of(const json_t *census, enum part part)
{
    return json_object_get(census, part_names[part]);
}

static int64_t now_running(const json_t *census)
{
    const json_t *daemon = json_object_get(census, "daemon");

    return census_int(daemon, "running", 0) +
           census_int(daemon, "cancelling", 0) +
           census_int(daemon, "joining", 0);
}

/* How many there are, shown or not. */
static int64_t count_of(const json_t *census, enum part part)
{
    int64_t known = (int64_t)json_array_size(part_of(census, part)), all;

    all = part == PART_JOBS ? now_running(census)
                            : census_int(json_object_get(census, "counts"),
                                         part_names[part], known);
    return all > known ? all : known;
}

static void cell_fit(struct table *t, const char *s, size_t columns)
{
    struct text clean = {0};
    char *fit;

    output_clean(&clean, s, strlen(s));
    fit = output_fit(text_str(&clean), columns);
    table_cell(t, fit);
    free(fit);
    text_clear(&clean);
}

static void cell_text(struct table *t, struct text *text)
{
    table_cell(t, text_str(text));
    text_clear(text);
}

/* Nothing instead of 0: what is there stands out. */
static void cell_count(struct table *t, int64_t n)
{
    if (n == 0)
        table_cell(t, "-");
    else
        table_cell_int(t, n);
}

static void cell_ms(struct table *t, int64_t ms)
{
    struct text text = {0};

    output_duration(&text, ms > 1000 ? ms - ms % 1000 : ms);
    cell_text(t, &text);
}

static void add_rate(struct text *t, const json_t *object, const char *key)
{
    const json_t *rate = json_object_get(object, key);

    if (json_is_real(rate))
        text_addf(t, json_real_value(rate) < 100 ? "%.1f" : "%.0f",
                  json_real_value(rate));
    else
        text_addc(t, '-');
}

static void cell_rate(struct table *t, const json_t *object, const char *key)
{
    struct text text = {0};

    add_rate(&text, object, key);
    cell_text(t, &text);
}

static void put_line(const struct frame *f, const struct text *t)
{
    size_t room = output_room(f->to);

    output_part(f->to, text_str(t), COLOR_NONE, &room);
    fputc('\n', f->to);
}

/* A part's heading, "QUEUE" or "QUEUE 3/40"; the caller frees it. */
static char *heading(const struct frame *f, enum part part, const char *name)
{
    struct text t = {0};
    int64_t all = count_of(f->census, part);

    text_adds(&t, name);
    if (all > (int64_t)f->rows[part])
        text_addf(&t, " %zu/%" PRId64, f->rows[part], all);
    return t.data;
}

/* --------------------------------------------------------------------- head */

static void put_daemon(const struct frame *f, const json_t *daemon)
{
    const char *version = census_str(daemon, "yoke_version");
    int64_t max = census_int(daemon, "maxmemory", 0);
    time_t when = (time_t)(f->now_ms / 1000);
    struct text t = {0};
    struct tm tm;
    char clock[16] = "";

    if (localtime_r(&when, &tm) != NULL)
        (void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    text_adds(&t, "yoked ");
    output_clean(&t, version, strlen(version));
    text_addf(&t, "  %s  up ", clock);
    output_duration(&t, 1000 * census_int(daemon, "uptime_in_seconds", 0));
    text_adds(&t, "  ");
    output_size(&t, census_int(daemon, "used_memory_rss", 0));
    text_adds(&t, " (jobs ");
    output_size(&t, census_int(daemon, "used_memory", 0));
    if (max > 0) {
        text_adds(&t, " of ");
        output_size(&t, max);
    }
    text_addf(&t, ")  %" PRId64 " clients",
              census_int(daemon, "connected_clients", 0));
    put_line(f, &t);
    text_clear(&t);
}

static void put_jobs(const struct frame *f, const json_t *daemon)
{
    static const char *const states[] = {"running",    "cancelling", "joining",
                                         "ready",      "delayed",    "parked",
                                         "delivering", "finished",   "dead"};
    struct text t = {0};

    text_addf(&t, "%" PRId64 " jobs", census_int(daemon, "jobs", 0));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        int64_t n = census_int(daemon, states[i], 0);

        if (n > 0 || i == 0)
            text_addf(&t, "%s%" PRId64 " %s", i == 0 ? ": " : ", ", n,
                      states[i]);
    }
    put_line(f, &t);
    text_clear(&t);
}

static void put_rates(const struct frame *f)
{
    static const char *const names[] = {"submitted", "started", "ended",
                                        "failed", "cancelled"};
    const json_t *rates = json_object_get(f->census, "rates");
    struct text t = {0};

    text_adds(&t, "a second:");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        text_adds(&t, i == 0 ? " " : ", ");
        add_rate(&t, rates, names[i]);
        text_addf(&t, " %s", names[i]);
    }
    put_line(f, &t);
    text_clear(&t);
}

/* ------------------------------------------------------------------- queues */

static const char *door(const json_t *queue)
{
    if (census_int(queue, "paused", 0) != 0)
        return "paused";
    if (census_int(queue, "closed", 0) != 0)
        return "closed";
    if (census_int(queue, "waiting_producers", 0) > 0)
        return "full";
    return "";
}

static void queue_row(const struct frame *f, struct table *t,
                      const json_t *queue)
{
    int64_t oldest_ms = census_int(queue, "oldest", -1);

    cell_fit(t, census_str(queue, "name"), f->name);
    cell_count(t, census_int(queue, "ready", 0));
    cell_count(t, census_int(queue, "parked", 0));
    cell_count(t, census_int(queue, "delayed", 0));
    cell_count(t, census_int(queue, "running", 0));
    cell_rate(t, queue, "submit_rate");
    cell_rate(t, queue, "end_rate");
    if (oldest_ms < 0)
        table_cell(t, "-");
    else
        cell_ms(t, f->now_ms - oldest_ms);
    table_cell_color(t, door(queue), COLOR_YELLOW);
}

/* --------------------------------------------------------------------- jobs */

/* Until its timeout or deadline; INT64_MAX: there is none. */
static int64_t left_ms(const json_t *job, int64_t now_ms)
{
    int64_t deadline_ms = census_int(job, "deadline", INT64_MAX);
    int64_t timeout_ms = census_int(job, "timeout", -1);
    int64_t started_ms = census_int(job, "started", now_ms);

    if (timeout_ms >= 0 && started_ms + timeout_ms < deadline_ms)
        deadline_ms = started_ms + timeout_ms;
    return deadline_ms == INT64_MAX ? INT64_MAX : deadline_ms - now_ms;
}

static const char *worker_name(const json_t *census, const json_t *job)
{
    int64_t number = census_int(job, "worker", -1);
    const char *name;
    json_t *worker;
    size_t i;

    json_array_foreach(part_of(census, PART_WORKERS), i, worker)
    {
        if (census_int(worker, "id", -1) != number)
            continue;
        name = census_str(worker, "name");
        return name[0] != '\0' ? name : census_str(worker, "addr");
    }
    return "-";
}

static void job_row(const struct frame *f, struct table *t, const json_t *job)
{
    const char *state = census_str(job, "state");
    int64_t left = left_ms(job, f->now_ms);

    table_cell(t, census_str(job, "id"));
    cell_fit(t, census_str(job, "queue"), f->name - 4);
    cell_ms(t, f->now_ms - census_int(job, "started", f->now_ms));
    if (strcmp(state, "running") != 0)
        table_cell_color(t, state, output_state_color(state));
    else if (left == INT64_MAX)
        table_cell(t, "-");
    else
        cell_ms(t, left);
    cell_fit(t, worker_name(f->census, job), f->name - 4);
    table_cell(t, census_str(job, "name"));
}

struct ranked {
    json_t *job;
    int64_t rank;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* Who runs longest first; or who has the least time left. */
void frame_sort(const json_t *census, bool by_left)
{
    json_t *jobs = part_of(census, PART_JOBS), *job;
    size_t n = json_array_size(jobs), i;
    struct ranked *ranked = text_alloc(n + 1, sizeof(*ranked));

    json_array_foreach(jobs, i, job) ranked[i] = (struct ranked){
        .job = json_incref(job),
        .rank = by_left ? left_ms(job, census_now_ms(census))
                        : census_int(job, "started", INT64_MAX)};
    qsort(ranked, n, sizeof(*ranked), by_rank);
    for (i = 0; i < n; i++)
        (void)json_array_set_new(jobs, i, ranked[i].job);
    free(ranked);
}

/* ----------------------------------------------------------------- limiters */

/* Is it one of "gpu:2,api"? */
static bool needs(const char *limits, const char *name)
{
    size_t len = strlen(name);

    while (*limits != '\0') {
        if (strncmp(limits, name, len) == 0 &&
            (limits[len] == '\0' || limits[len] == ':' || limits[len] == ','))
            return true;
        limits += strcspn(limits, ",");
        limits += *limits == ',';
    }
    return false;
}

/* The ids of the first of the jobs, and how many more. */
static void add_users(struct text *t, const json_t *jobs, const char *limiter,
                      bool waits)
{
    size_t found = 0, i;
    json_t *job;

    json_array_foreach(jobs, i, job)
    {
        const char *of = census_str(job, waits ? "waits_for" : "limits");

        if (waits ? strcmp(of, limiter) != 0 : !needs(of, limiter))
            continue;
        if (!waits && strcmp(census_str(job, "state"), "joining") == 0)
            continue; /* holds none any more */
        if (++found <= HOLDERS_MAX)
            text_addf(t, "%s%s", t->len > 0 ? " " : "", census_str(job, "id"));
    }
    if (found > HOLDERS_MAX)
        text_addf(t, " +%zu", found - HOLDERS_MAX);
    if (found == 0)
        text_addc(t, '-');
}

static void limiter_row(const struct frame *f, struct table *t,
                        const json_t *limiter)
{
    int64_t permits = census_int(limiter, "permits", -1);
    int64_t rate = census_int(limiter, "rate", 0);
    const char *name = census_str(limiter, "name");
    struct text text = {0}, waiters = {0};

    cell_fit(t, name, f->name);
    text_addf(&text, "%" PRId64 "/", census_int(limiter, "held", 0));
    if (permits >= 0)
        text_addf(&text, "%" PRId64, permits);
    else
        text_addc(&text, '-');
    cell_text(t, &text);
    if (rate > 0) {
        text_addf(&text, "%" PRId64 "/", rate);
        output_duration(&text, census_int(limiter, "rate_interval", 0));
    }
    table_cell(t, rate > 0 ? text_str(&text) : "-");
    text_clear(&text);
    cell_count(t, census_int(limiter, "waiting", 0));
    add_users(&text, part_of(f->census, PART_JOBS), name, false);
    add_users(&waiters, json_object_get(f->census, "parked"), name, true);
    if (strcmp(text_str(&waiters), "-") != 0)
        text_addf(&text, " < %s", text_str(&waiters));
    cell_text(t, &text);
    text_clear(&waiters);
}

/* ------------------------------------------------------------------ workers */

static void worker_row(const struct frame *f, struct table *t,
                       const json_t *worker)
{
    int64_t held = census_int(worker, "held", 0);
    int64_t wanted = census_int(worker, "wanted", 0);
    struct text text = {0};

    cell_fit(t, census_str(worker, "name"), f->name);
    table_cell_int(t, held);
    cell_count(t, wanted);
    if (held + wanted > 0)
        text_addf(&text, "%" PRId64 "%%", held * 100 / (held + wanted));
    cell_text(t, &text);
    cell_ms(t, 1000 * census_int(worker, "idle", 0));
    table_cell(t, census_str(worker, "addr"));
}

/* ------------------------------------------------------------------- frames */

static const struct {
    const char *name; /* of the first column */
    const char *headings[OUTPUT_COLUMNS_MAX];
    void (*row)(const struct frame *f, struct table *t, const json_t *one);
} parts[PARTS] = {
    [PART_QUEUES] = {"QUEUE",
                     {">READY", ">PARKED", ">DELAYED", ">RUNS", ">IN/S",
                      ">OUT/S", ">OLDEST", "", NULL},
                     queue_row},
    [PART_JOBS] = {"JOB",
                   {"QUEUE", ">ELAPSED", ">LEFT", "WORKER", "NAME", NULL},
                   job_row},
    [PART_LIMITERS] = {"LIMITER",
                       {">HELD", ">RATE", ">WAIT", "HOLDERS < WAITERS", NULL},
                       limiter_row},
    [PART_WORKERS] = {"WORKER",
                      {">HOLDS", ">ROOM", ">LOAD", ">SILENT", "ADDRESS", NULL},
                      worker_row},
};

static void put_part(const struct frame *f, enum part part)
{
    const char *headings[OUTPUT_COLUMNS_MAX + 1] = {NULL};
    char *first = heading(f, part, parts[part].name);
    struct table table;
    json_t *one;
    size_t i;

    headings[0] = first;
    for (i = 0; parts[part].headings[i] != NULL; i++)
        headings[i + 1] = parts[part].headings[i];
    fputc('\n', f->to);
    table_begin(&table, headings);
    json_array_foreach(part_of(f->census, part), i, one)
    {
        if (i == f->rows[part])
            break;
        parts[part].row(f, &table, one);
    }
    table_end(&table, f->to);
    free(first);
}

/* One after the other gets a row more, until there are none. Where there is no
 * room for one of each the first parts have it. */
static void share_rows(struct frame *f, size_t lines)
{
    size_t left = lines > HEAD_LINES ? lines - HEAD_LINES : 0, want[PARTS];
    size_t shown = left / (PART_LINES + 1);
    bool more = true;

    for (int part = 0; part < PARTS; part++) {
        want[part] = json_array_size(part_of(f->census, (enum part)part));
        if (shown == 0)
            want[part] = 0;
        if (want[part] == 0)
            continue;
        shown--;
        left -= PART_LINES;
    }
    while (more) {
        more = false;
        for (int part = 0; part < PARTS && left > 0; part++) {
            if (f->rows[part] == want[part])
                continue;
            f->rows[part]++;
            left--;
            more = true;
        }
    }
}

void frame_draw(FILE *to, const json_t *census, size_t lines)
{
    const json_t *daemon = json_object_get(census, "daemon");
    size_t columns = output_room(to);
    struct frame f = {.to = to,
                      .census = census,
                      .now_ms = census_now_ms(census),
                      .name = columns == SIZE_MAX ? SIZE_MAX
                              : columns < WIDE    ? 16
                                                  : columns / 5};

    share_rows(&f, lines);
    put_daemon(&f, daemon);
    put_jobs(&f, daemon);
    put_rates(&f);
    for (int part = 0; part < PARTS; part++)
        if (f.rows[part] > 0)
            put_part(&f, (enum part)part);
}
