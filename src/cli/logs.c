/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * logs - what a job has printed, each stream to its own and byte for byte; and
 * line by line, with times, or that of the jobs of a group, as it came.
 *
 * A line is shown when it has ended, or its attempt has: pieces of two jobs are
 * never in one line. Of a job whose line has not ended it is asked now and then
 * whether it still runs. Memory: the SOURCES_MAX jobs that have printed last,
 * with a line of each stream.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/watch.h"

#define SLICE_MS    INT64_C(2000) /* then it is seen that nobody reads */
#define PARTS_MS    INT64_C(1000) /* between looks at jobs in mid-line */
#define RETRY_MS    500           /* while the daemon is gone */
#define PART_MAX    8192          /* bytes: a longer line is broken */
#define SOURCES_MAX 512
#define NAME_WIDTH  16

enum { OPTION_TIMES = 256 };

const struct option_row logs_options[] = {
    {'f', "follow", NULL, "go on until the job or the group has ended"},
    {OPTION_TIMES, "times", NULL, "line by line, with the time it came"},
    {0, NULL, NULL, NULL},
};

/* Who read what is printed has gone: there will be nothing to say to anybody.
 */
static bool reader_is_gone(void)
{
    struct pollfd fd = {.fd = STDOUT_FILENO};

    return poll(&fd, 1, 0) == 1 && (fd.revents & POLLERR) != 0;
}

/* ----------------------------------------------------------------- of a job */

static json_t *chunk_json(const struct yoke_log_chunk *chunk)
{
    const char *attempt = strchr(chunk->token, '.');
    json_t *entry = json_object();

    (void)json_object_set_new(entry, "stream", json_integer(chunk->stream));
    if (chunk->stream == 0)
        (void)json_object_set_new(entry, "lost", json_integer(chunk->lost));
    else
        output_json_bytes(entry, "data", chunk->data);
    if (attempt != NULL) {
        (void)json_object_set_new(entry, "time", json_integer(chunk->time_ms));
        (void)json_object_set_new(entry, "attempt",
                                  json_integer(strtoll(attempt + 1, NULL, 10)));
    }
    return entry;
}

static void print(struct cli *c, const struct yoke_log_chunk *chunk)
{
    int to = chunk->stream == 2 ? STDERR_FILENO : STDOUT_FILENO;
    int error;

    if (chunk->stream == 0) {
        cli_warn("%lld bytes were dropped here: the log is bounded",
                 (long long)chunk->lost);
        return;
    }
    error = output_write(to, chunk->data.data, chunk->data.len);
    if (error == 0)
        return;
    cli_warn("cannot write: %s", strerror(-error));
    exit(cli_own_failure(c));
}

/* Asks for more from *cursor on; 0, or as yoke_job_logs. */
static int read_page(struct cli *c, struct watch *w, bool follow,
                     int64_t *cursor, json_t *array, bool *over)
{
    struct yoke_log_page *page = NULL;
    int status = yoke_job_logs(w->asker, c->argv[0], *cursor,
                               follow ? SLICE_MS : 0, &page);

    if (status != 0)
        return status;
    for (size_t i = 0; i < page->count; i++) {
        if (c->json)
            (void)json_array_append_new(array, chunk_json(&page->chunks[i]));
        else
            print(c, &page->chunks[i]);
    }
    *over = page->over || (!follow && page->count == 0);
    *cursor = page->cursor;
    yoke_log_page_free(page);
    return 0;
}

static int job_logs(struct cli *c, bool follow)
{
    struct watch w = {.c = c};
    json_t *array = json_array();
    int64_t cursor = 0;
    bool over = false;
    int result = 0;

    if (follow)
        watch_begin(&w, c);
    else
        w.asker = cli_connect(c);
    while (!over) {
        int64_t before = cursor;
        int status = read_page(c, &w, follow, &cursor, array, &over);

        if (status == 0 && cursor == before && reader_is_gone()) {
            result = EXIT_SIGNAL + SIGPIPE;
            break;
        }
        if (status == 0 || (status == YOKE_ERR_TIMEOUT && follow))
            continue;
        if (status == YOKE_ERR_TIMEOUT)
            break;
        if (!follow || !watch_is_loss(status))
            cli_fail(c, w.asker, status, "cannot read the log of %s",
                     c->argv[0]);
        watch_lose(&w, w.asker, status, "");
        while (!watch_again(&w))
            watch_wait(&w, -1, RETRY_MS);
    }
    if (c->json && result == 0)
        output_json(array);
    else
        json_decref(array);
    watch_end(&w);
    return result;
}

/* ----------------------------------------------------------- line by line */

/* A job whose output is read. */
struct source {
    char id[YOKE_ID_SIZE];
    long long attempt; /* 0: only what it has lost is known */
    char *label;
    enum color color;
    uint64_t heard;  /* the later, the more */
    int64_t over_ms; /* nothing of the attempt came later; RUNS */
    struct part {    /* a line that has not ended */
        struct text text;
        int64_t time_ms;
    } parts[3]; /* of 1 and 2 */
};

#define RUNS    INT64_MAX
#define IS_OVER (INT64_MAX - 1) /* it does not say since when */

struct logs {
    struct cli *c;
    const char *id;
    bool is_group, follow, times, over;
    struct watch watch;
    int64_t cursor, wait_ms;
    struct source *sources;
    size_t nsources, last;
    uint64_t heard;
    size_t width;     /* of the widest label */
    int64_t parts_ms; /* when it was asked last what goes on */
};

/* "j1m826f93h0000 convert a.jpg"; of later attempts "j1m826f93h0000.2 ..." */
static char *label_of(const char *id, long long attempt, const char *name)
{
    struct text label = {0}, clean = {0};
    char *fit;

    output_clean(&clean, name, strlen(name));
    fit = output_fit(text_str(&clean), NAME_WIDTH);
    output_clean(&label, id, strlen(id));
    if (attempt > 1)
        text_addf(&label, ".%lld", attempt);
    if (fit[0] != '\0')
        text_addf(&label, " %s", fit);
    free(fit);
    text_clear(&clean);
    return label.data;
}

static void put_line(const struct logs *l, const struct source *s, int stream,
                     const struct part *part)
{
    FILE *to = stream == 2 ? stderr : stdout;
    struct text line = {0};

    if (l->times) {
        text_adds(&line, output_color(to, COLOR_DIM));
        output_instant(&line, part->time_ms);
        text_addf(&line, "%s ", output_color(to, COLOR_NONE));
    }
    if (l->is_group)
        text_addf(&line, "%s%s%s%*s %s|%s ", output_color(to, s->color),
                  s->label, output_color(to, COLOR_NONE),
                  (int)(l->width - output_width(s->label)), "",
                  output_color(to, stream == 2 ? COLOR_RED : COLOR_DIM),
                  output_color(to, COLOR_NONE));
    text_add(&line, text_str(&part->text), part->text.len);
    text_addc(&line, '\n');
    if (to == stderr)
        (void)fflush(stdout); /* what came first is shown first */
    (void)fwrite(line.data, 1, line.len, to);
    text_clear(&line);
}

/* What it has begun will not go on. */
static void flush_parts(const struct logs *l, struct source *s)
{
    for (int stream = 1; stream <= 2; stream++) {
        if (s->parts[stream].text.len > 0)
            put_line(l, s, stream, &s->parts[stream]);
        text_clear(&s->parts[stream].text);
    }
}

static bool has_parts(const struct source *s)
{
    return s->parts[1].text.len > 0 || s->parts[2].text.len > 0;
}

/* Whole lines at once; what is left waits for its end. A line came when its
 * first byte did. */
static void put_bytes(const struct logs *l, struct source *s,
                      const struct yoke_log_chunk *chunk)
{
    struct part *part = &s->parts[chunk->stream];
    const char *at = chunk->data.data, *end = at + chunk->data.len;

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end != NULL ? line_end : end) - at);
        bool broken = len > PART_MAX - part->text.len;

        if (part->text.len == 0)
            part->time_ms = chunk->time_ms;
        if (broken)
            len = PART_MAX - part->text.len;
        text_add(&part->text, at, len);
        at += len;
        if (!broken && line_end == NULL)
            break;
        put_line(l, s, chunk->stream, part);
        text_clear(&part->text);
        at += broken ? 0 : 1;
    }
}

/* The status of a job, if it is known; the caller frees it. */
static struct yoke_value *status_of(const struct logs *l, const char *id)
{
    struct yoke_value *status = NULL;

    if (yoke_job_status(l->watch.asker, id, &status) != 0)
        return NULL;
    return status;
}

static void name_source(struct logs *l, struct source *s)
{
    struct yoke_value *status = l->is_group ? status_of(l, s->id) : NULL;
    size_t width;

    free(s->label);
    s->label = label_of(s->id, s->attempt,
                        status != NULL ? output_str(status, "name") : "");
    width = output_width(s->label);
    l->width = width > l->width ? width : l->width;
    yoke_value_free(status);
}

/* A new one; when there are too many, in the place of the one that has been
 * silent for longest. */
static struct source *add_source(struct logs *l, const char *id, size_t len)
{
    static const enum color colors[] = {COLOR_CYAN, COLOR_MAGENTA, COLOR_GREEN,
                                        COLOR_BLUE, COLOR_YELLOW};
    struct source *s;
    size_t sum = 0;

    if (l->nsources < SOURCES_MAX) {
        s = &l->sources[l->nsources++];
    } else {
        s = l->sources;
        for (size_t i = 1; i < SOURCES_MAX; i++)
            s = l->sources[i].heard < s->heard ? &l->sources[i] : s;
        flush_parts(l, s);
        free(s->label);
    }
    *s = (struct source){0};
    memcpy(s->id, id, len);
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + (unsigned char)id[i];
    s->color = colors[sum % (sizeof(colors) / sizeof(colors[0]))];
    return s;
}

static struct source *find_source(struct logs *l, const char *id, size_t len)
{
    for (size_t n = 0; n < l->nsources; n++) {
        struct source *s = &l->sources[(l->last + n) % l->nsources];

        if (strncmp(s->id, id, len) == 0 && s->id[len] == '\0')
            return s;
    }
    return NULL;
}

/* Where that comes from. */
static struct source *source_of(struct logs *l, const char *token)
{
    size_t len = strcspn(token, ".");
    long long attempt =
        token[len] == '.' ? strtoll(token + len + 1, NULL, 10) : 0;
    struct source *s;

    if (len >= YOKE_ID_SIZE)
        cli_fail(l->c, NULL, YOKE_ERR_PROTOCOL, "cannot read a log");
    s = find_source(l, token, len);
    if (s == NULL)
        s = add_source(l, token, len);
    if (s->label == NULL || (attempt > 0 && s->attempt != attempt)) {
        flush_parts(l, s);
        s->attempt = attempt;
        s->over_ms = RUNS;
        name_source(l, s);
    }
    s->heard = ++l->heard;
    l->last = (size_t)(s - l->sources);
    return s;
}

static void put_chunk(struct logs *l, const struct yoke_log_chunk *chunk)
{
    struct source *s;

    if (l->c->json) {
        json_t *json =
            json_pack("{s:s%}", "id", chunk->token, strcspn(chunk->token, "."));

        (void)json_object_update_new(json, chunk_json(chunk));
        (void)json_dumpf(json, stdout, 0);
        putchar('\n');
        json_decref(json);
        return;
    }
    s = source_of(l, chunk->token);
    if (chunk->stream == 1 || chunk->stream == 2) {
        put_bytes(l, s, chunk);
    } else if (chunk->stream == 0) {
        flush_parts(l, s);
        (void)fflush(stdout);
        cli_warn("%s: up to %lld bytes were dropped here: the log is bounded",
                 s->label, (long long)chunk->lost);
    }
}

/* Asks of the attempts that are in mid-line whether they go on. */
static void ask_parts(struct logs *l)
{
    l->parts_ms = cli_monotonic_ms();
    for (size_t i = 0; i < l->nsources; i++) {
        struct source *s = &l->sources[i];
        struct yoke_value *status;

        if (!has_parts(s) || s->over_ms != RUNS)
            continue;
        status = status_of(l, s->id);
        if (status == NULL)
            s->over_ms = IS_OVER;
        else if (output_int(status, "attempt", 0) != s->attempt)
            s->over_ms = output_int(status, "started", IS_OVER);
        else if (output_is_null(status, "started"))
            s->over_ms = IS_OVER; /* it waits for the next */
        else
            s->over_ms = output_int(status, "ended", RUNS);
        yoke_value_free(status);
    }
}

/* All that came until then was read. How long to wait for more. */
static int64_t settle_parts(struct logs *l, int64_t until_ms)
{
    int64_t wait_ms = SLICE_MS;

    for (size_t i = 0; i < l->nsources; i++) {
        struct source *s = &l->sources[i];

        if (!has_parts(s))
            continue;
        if (s->over_ms < until_ms)
            flush_parts(l, s);
        else if (s->over_ms != RUNS)
            wait_ms = 0;
        else if (wait_ms > PARTS_MS)
            wait_ms = PARTS_MS;
    }
    return wait_ms;
}

/* What there is from the cursor on. false: the daemon is gone. */
static bool read_lines(struct logs *l)
{
    struct yoke_log_page *page = NULL;
    int64_t before = l->cursor, until_ms = INT64_MAX;
    int status = (l->is_group ? yoke_group_logs : yoke_job_logs)(
        l->watch.asker, l->id, l->cursor, l->wait_ms, &page);

    if (status != 0) {
        if (!l->follow || !watch_is_loss(status))
            cli_fail(l->c, l->watch.asker, status, "cannot read the log of %s",
                     l->id);
        watch_lose(&l->watch, l->watch.asker, status, "");
        return false;
    }
    for (size_t i = 0; i < page->count; i++) {
        put_chunk(l, &page->chunks[i]);
        until_ms = page->chunks[i].time_ms;
    }
    l->cursor = page->cursor;
    if (page->count == 0 && l->cursor != before)
        until_ms = 0; /* more may follow */
    l->over = page->over || (!l->follow && until_ms == INT64_MAX);
    yoke_log_page_free(page);
    if (l->follow && !l->over) {
        l->wait_ms = settle_parts(l, until_ms);
        if (l->wait_ms == PARTS_MS &&
            cli_monotonic_ms() - l->parts_ms >= PARTS_MS)
            ask_parts(l);
    }
    (void)fflush(stdout);
    return true;
}

static int line_logs(struct cli *c, bool follow, bool times)
{
    struct logs l = {.c = c,
                     .id = c->argv[0],
                     .is_group = cli_is_group(c->argv[0]),
                     .follow = follow,
                     .times = times,
                     .sources = text_alloc(SOURCES_MAX, sizeof(*l.sources))};
    int status = 0;

    watch_begin(&l.watch, c);
    while (!l.over && status == 0 && !ferror(stdout)) {
        if (l.watch.asker == NULL && !watch_again(&l.watch))
            watch_wait(&l.watch, -1, RETRY_MS);
        else if (read_lines(&l) && follow && reader_is_gone())
            status = EXIT_SIGNAL + SIGPIPE;
    }
    for (size_t i = 0; i < l.nsources; i++) {
        flush_parts(&l, &l.sources[i]);
        free(l.sources[i].label);
    }
    free(l.sources);
    watch_end(&l.watch);
    return status;
}

int logs_main(struct cli *c)
{
    bool follow = false, times = false;

    for (int id = options_next(c); id != 0; id = options_next(c)) {
        follow = follow || id == 'f';
        times = times || id == OPTION_TIMES;
    }
    options_operands(c, 1, 1);
    if (cli_is_group(c->argv[0]) || (times && !c->json))
        return line_logs(c, follow, times);
    return job_logs(c, follow);
}
