/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * logs - what a job has printed, each stream to its own; and that of the jobs
 * of a group, line by line.
 *
 * A group is followed by its events, which say what starts and when it is over;
 * what its running jobs print is asked for a few times a second. Memory: a line
 * for each stream of the jobs that run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/watch.h"

#define SLICE_MS   INT64_C(20000)
#define PAUSE_MS   200  /* between looks at what runs */
#define RETRY_MS   500  /* while the daemon is gone */
#define PAGES_MAX  16   /* of one job, while others wait */
#define PART_MAX   8192 /* bytes: a longer line is broken */
#define JOBS_MAX   "10000"
#define NAME_WIDTH 16
#define READ_MAX   256

const struct option_row logs_options[] = {
    {'f', "follow", NULL, "go on until the job or the group has ended"},
    {0, NULL, NULL, NULL},
};

/* ----------------------------------------------------------------- of a job */

static json_t *chunk_json(const struct yoke_log_chunk *chunk)
{
    json_t *entry = json_object();

    (void)json_object_set_new(entry, "stream", json_integer(chunk->stream));
    if (chunk->stream == 0)
        (void)json_object_set_new(entry, "lost", json_integer(chunk->lost));
    else
        output_json_bytes(entry, "data", chunk->data);
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

static void job_logs(struct cli *c, bool follow)
{
    struct watch w = {.c = c};
    json_t *array = json_array();
    int64_t cursor = 0;
    bool over = false;

    if (follow)
        watch_begin(&w, c);
    else
        w.asker = cli_connect(c);
    while (!over) {
        int status = read_page(c, &w, follow, &cursor, array, &over);

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
    if (c->json)
        output_json(array);
    else
        json_decref(array);
    watch_end(&w);
}

/* --------------------------------------------------------------- of a group */

/* A job whose output is read. */
struct source {
    char id[YOKE_ID_SIZE];
    char *label;
    enum color color;
    int64_t cursor;
    struct text part[3]; /* of 1 and 2: a line that has not ended */
};

struct logs {
    struct cli *c;
    const char *group;
    bool follow;
    struct watch watch;
    struct source *sources;
    size_t nsources;
    size_t width; /* of the widest label */
    /* What was read to its end: the last of it by id, and what ended before
     * seen_ms (of the daemon's clock). */
    char read[READ_MAX][YOKE_ID_SIZE];
    size_t nread;
    int64_t seen_ms;
    bool looked, over;
};

static struct source *find(struct logs *l, const char *id)
{
    for (size_t i = 0; i < l->nsources; i++)
        if (strcmp(l->sources[i].id, id) == 0)
            return &l->sources[i];
    return NULL;
}

static bool was_read(const struct logs *l, const char *id)
{
    for (size_t i = 0; i < READ_MAX && i < l->nread; i++)
        if (strcmp(l->read[i], id) == 0)
            return true;
    return false;
}

/* Only who follows has the patience to wait for the daemon. */
static void lose(struct logs *l, int status, const char *what)
{
    if (!l->follow)
        cli_fail(l->c, l->watch.asker, status, "%s", what);
    watch_lose(&l->watch, l->watch.asker, status, what);
}

/* "j1m826f93h0000 convert a.jpg" */
static char *label_of(const char *id, const char *name)
{
    struct text label = {0}, clean = {0};
    char *fit;

    output_clean(&clean, name, strlen(name));
    fit = output_fit(text_str(&clean), NAME_WIDTH);
    output_clean(&label, id, strlen(id));
    if (fit[0] != '\0')
        text_addf(&label, " %s", fit);
    free(fit);
    text_clear(&clean);
    return label.data;
}

static void add_source(struct logs *l, const char *id, const char *name)
{
    static const enum color colors[] = {COLOR_CYAN, COLOR_MAGENTA, COLOR_GREEN,
                                        COLOR_BLUE, COLOR_YELLOW};
    struct source *s;
    size_t sum = 0, width;

    if (strlen(id) >= YOKE_ID_SIZE || find(l, id) != NULL || was_read(l, id))
        return;
    for (const char *p = id; *p != '\0'; p++)
        sum = sum * 31 + (unsigned char)*p;
    l->sources = text_grow(l->sources, l->nsources + 1, sizeof(*l->sources));
    s = &l->sources[l->nsources++];
    *s = (struct source){
        .label = label_of(id, name),
        .color = colors[sum % (sizeof(colors) / sizeof(colors[0]))]};
    memcpy(s->id, id, strlen(id) + 1);
    width = output_width(s->label);
    l->width = width > l->width ? width : l->width;
}

static void put_line(const struct logs *l, const struct source *s, int stream,
                     const char *bytes, size_t len)
{
    FILE *to = stream == 2 ? stderr : stdout;
    struct text line = {0};

    text_addf(&line, "%s%s%s%*s %s|%s ", output_color(to, s->color), s->label,
              output_color(to, COLOR_NONE),
              (int)(l->width - output_width(s->label)), "",
              output_color(to, stream == 2 ? COLOR_RED : COLOR_DIM),
              output_color(to, COLOR_NONE));
    text_add(&line, bytes, len);
    text_addc(&line, '\n');
    if (to == stderr)
        (void)fflush(stdout); /* see finish; what came first is shown first */
    (void)fwrite(line.data, 1, line.len, to);
    text_clear(&line);
}

/* Whole lines at once; what is left waits for its end. */
static void put_bytes(const struct logs *l, struct source *s, int stream,
                      struct yoke_bytes data)
{
    struct text *part = &s->part[stream];

    for (size_t i = 0; i < data.len; i++) {
        if (data.data[i] != '\n' && part->len < PART_MAX) {
            text_addc(part, data.data[i]);
            continue;
        }
        put_line(l, s, stream, text_str(part), part->len);
        text_clear(part);
        if (data.data[i] != '\n')
            text_addc(part, data.data[i]);
    }
}

static void put_chunk(const struct logs *l, struct source *s,
                      const struct yoke_log_chunk *chunk)
{
    if (l->c->json) {
        json_t *json = json_pack("{s:s}", "id", s->id);

        (void)json_object_update_new(json, chunk_json(chunk));
        (void)json_dumpf(json, stdout, 0);
        putchar('\n');
        json_decref(json);
    } else if (chunk->stream == 1 || chunk->stream == 2) {
        put_bytes(l, s, chunk->stream, chunk->data);
    } else if (chunk->stream == 0) {
        cli_warn("%s: %lld bytes were dropped here: the log is bounded",
                 s->label, (long long)chunk->lost);
    }
}

/* All that there is to come of it has come. */
static void end_source(struct logs *l, struct source *s)
{
    for (int stream = 1; stream <= 2; stream++) {
        if (s->part[stream].len > 0)
            put_line(l, s, stream, text_str(&s->part[stream]),
                     s->part[stream].len);
        text_clear(&s->part[stream]);
    }
    memcpy(l->read[l->nread++ % READ_MAX], s->id, sizeof(s->id));
    free(s->label);
    memmove(s, s + 1, (size_t)(&l->sources[--l->nsources] - s) * sizeof(*s));
}

/* What is there of one job now. false: it is read to its end, and gone. */
static bool read_source(struct logs *l, struct source *s, bool *more)
{
    for (int i = 0; i < PAGES_MAX; i++) {
        struct yoke_log_page *page = NULL;
        int status = yoke_job_logs(l->watch.asker, s->id, s->cursor, 0, &page);
        bool over = status == YOKE_ERR_NOJOB, some;

        if (status != 0 && !over && status != YOKE_ERR_TIMEOUT) {
            lose(l, status, "cannot read a log");
            return true;
        }
        some = page != NULL && page->count > 0;
        for (size_t k = 0; some && k < page->count; k++)
            put_chunk(l, s, &page->chunks[k]);
        if (page != NULL) {
            s->cursor = page->cursor;
            over = page->over;
        }
        yoke_log_page_free(page);
        if (over) {
            end_source(l, s);
            return false;
        }
        if (!some)
            return true;
    }
    *more = true;
    return true;
}

/* true: there was more than is read at once. */
static bool read_all(struct logs *l)
{
    bool more = false;

    for (size_t i = 0; i < l->nsources && l->watch.asker != NULL;)
        i += read_source(l, &l->sources[i], &more) ? 1 : 0;
    (void)fflush(stdout);
    return more;
}

/* What has begun below the group. What ended before the last that was told was
 * read already. */
static void look(struct logs *l)
{
    struct yoke_value *tree = NULL;
    int64_t last_ms = l->seen_ms;
    int status = yoke_commandl(l->watch.asker, &tree, "GROUP", "TREE", l->group,
                               "COUNT", JOBS_MAX, (char *)NULL);

    if (status != 0) {
        lose(l, status, "cannot read the group");
        return;
    }
    for (size_t i = 0; i < tree->count; i++) {
        const struct yoke_value *entry = &tree->items[i], *map;
        int64_t ended_ms;

        if (entry->kind != YOKE_ARRAY || entry->count != 2)
            cli_fail(l->c, NULL, YOKE_ERR_PROTOCOL, "cannot read the group");
        map = &entry->items[1];
        ended_ms = output_int(map, "ended", -1);
        if (ended_ms > last_ms)
            last_ms = ended_ms;
        if (i == 0)
            l->over = ended_ms >= 0;
        else if (output_int(map, "attempt", 0) > 0 &&
                 (ended_ms < 0 || ended_ms >= l->seen_ms))
            add_source(l, output_str(map, "id"), output_str(map, "name"));
    }
    if (tree->count == strtoul(JOBS_MAX, NULL, 10))
        cli_warn("there is more below %s than the " JOBS_MAX " that are shown",
                 l->group);
    l->seen_ms = last_ms;
    l->looked = true;
    yoke_value_free(tree);
}

static const char *member(const json_t *event, const char *key)
{
    const char *s = json_string_value(json_object_get(event, key));

    return s != NULL ? s : "";
}

static void on_event(yoke *y, const struct yoke_message *m, void *arg)
{
    struct logs *l = arg;
    json_t *event = json_loadb(m->text.data, m->text.len, 0, NULL);
    int64_t time_ms = json_integer_value(json_object_get(event, "time"));
    const char *name = member(event, "event");

    (void)y;
    /* What began before the look was seen by it, and is read perhaps. */
    if (strcmp(name, "started") == 0 && time_ms >= l->seen_ms)
        add_source(l, member(event, "id"), member(event, "name"));
    if (strcmp(name, "ended") == 0 &&
        strcmp(member(event, "id"), l->group) == 0)
        l->over = true;
    if (l->looked && time_ms > l->seen_ms)
        l->seen_ms = time_ms;
    json_decref(event);
}

static void group_logs(struct cli *c, bool follow)
{
    struct text channel = {0};
    const char *channels[1];
    struct logs l = {
        .c = c, .group = c->argv[0], .follow = follow, .seen_ms = -1};

    text_addf(&channel, "group:%s", l.group);
    channels[0] = text_str(&channel);
    if (follow)
        l.watch = (struct watch){
            .channels = channels, .nchannels = 1, .told = on_event, .arg = &l};
    watch_begin(&l.watch, c);
    for (;;) {
        bool more;

        if (l.watch.asker == NULL && !watch_again(&l.watch)) {
            watch_wait(&l.watch, -1, RETRY_MS);
            continue;
        }
        if (!l.looked)
            look(&l);
        more = l.watch.asker != NULL && read_all(&l);
        if (ferror(stdout) || (!more && !follow) || (l.over && !l.nsources))
            break;
        if (l.watch.asker != NULL)
            watch_wait(&l.watch, -1, more || l.over ? 0 : PAUSE_MS);
        l.looked = l.looked && l.watch.asker != NULL;
    }
    while (l.nsources > 0)
        end_source(&l, &l.sources[0]);
    free(l.sources);
    watch_end(&l.watch);
    text_clear(&channel);
}

int logs_main(struct cli *c)
{
    bool follow = false;

    while (options_next(c) != 0)
        follow = true;
    options_operands(c, 1, 1);
    if (cli_is_group(c->argv[0]))
        group_logs(c, follow);
    else
        job_logs(c, follow);
    return 0;
}
