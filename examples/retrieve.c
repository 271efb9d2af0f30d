/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retrieve - the production pattern: many calls to sources that may be slow or
 * broken; at most ten at once, five seconds for each, all or nothing, and every
 * error kept. Here: full-text search in the manual pages of this machine (where
 * there are none, in doc/ and src/), 200 files a call.
 *
 *     retrieve [-d DIR] [-t SECONDS] [-s] [-b] WORD
 *
 * DIR holds man1 to man8 (/usr/share/man); -s adds a source that does not
 * answer, -b one that is broken. To be run at the top of the checkout: a call
 * is a process, examples/retrieve-source.sh.
 */
#include <glob.h>
#include <unistd.h>

#include "example.h"

enum { WIDTH = 10, SECONDS = 5, FILES_EACH = 200, SHOWN = 10 };

struct search {
    yoke *y;
    char group[YOKE_ID_SIZE];
    char here[512];
    const char *word;
    int64_t timeout_ms;
};

/* ------------------------------------------------------------------- calls */

static void call(const struct search *s, const char *name, const char **argv)
{
    struct yoke_submit submit;
    char id[YOKE_ID_SIZE];
    int status;

    yoke_submit_init(&submit);
    submit.queue = "run";
    submit.group = s->group;
    submit.name = name;
    submit.timeout_ms = s->timeout_ms;
    must(s->y, yoke_command_payload(s->here, NULL, argv, (struct yoke_bytes){0},
                                    &submit.payload));
    status = yoke_submit(s->y, &submit, id);
    /* A source has failed already: the group will say which. */
    if (status != YOKE_ERR_CANCELLED)
        must(s->y, status);
    yoke_free((char *)submit.payload.data);
}

static void call_sources(const struct search *s, const glob_t *files)
{
    const char *argv[FILES_EACH + 4] = {"sh", "examples/retrieve-source.sh",
                                        s->word};

    for (size_t i = 0; i < files->gl_pathc; i += FILES_EACH) {
        size_t n = files->gl_pathc - i;
        const char *name = strrchr(files->gl_pathv[i], '/');

        if (n > FILES_EACH)
            n = FILES_EACH;
        for (size_t k = 0; k < n; k++)
            argv[3 + k] = files->gl_pathv[i + k];
        argv[3 + n] = NULL;
        call(s, name ? name + 1 : files->gl_pathv[i], argv);
    }
}

static void find_files(const char *dir, glob_t *files)
{
    char pattern[512];

    (void)snprintf(pattern, sizeof(pattern), "%s/man[1-8]/*", dir);
    if (glob(pattern, 0, NULL, files) == 0)
        return;
    (void)glob("doc/*", 0, NULL, files);
    (void)glob("src/*/*.[ch]", GLOB_APPEND, NULL, files);
}

/* ----------------------------------------------------------------- results */

struct hit {
    long count;
    char *page;
};

struct hits {
    struct hit *all;
    size_t count, size;
};

static void add_hit(struct hits *h, const char *line, size_t len)
{
    char *page;
    long count = strtol(line, &page, 10);

    if (h->count == h->size) {
        h->size = h->size ? 2 * h->size : 64;
        h->all = realloc(h->all, h->size * sizeof(*h->all));
        if (!h->all)
            exit(1);
    }
    page++; /* the blank */
    h->all[h->count++] = (struct hit){
        .count = count, .page = strndup(page, len - (size_t)(page - line))};
}

static int by_count(const void *a, const void *b)
{
    const struct hit *one = a, *other = b;

    if (one->count != other->count)
        return one->count > other->count ? -1 : 1;
    return strcmp(one->page, other->page);
}

static void show_results(const struct search *s)
{
    char cursor[YOKE_ID_SIZE] = "0";
    struct hits hits = {0};
    bool over = false;

    while (!over) {
        struct yoke_page *page;

        must(s->y, yoke_group_results(s->y, s->group, cursor, false, 0, &page));
        for (size_t i = 0; i < page->count; i++) {
            const char *line = page->members[i]->result.data, *end;

            for (; line && (end = strchr(line, '\n')); line = end + 1)
                add_hit(&hits, line, (size_t)(end - line));
        }
        over = page->over;
        memcpy(cursor, page->cursor, sizeof(cursor));
        yoke_page_free(page);
    }
    if (hits.count > 0)
        qsort(hits.all, hits.count, sizeof(*hits.all), by_count);
    for (size_t i = 0; i < hits.count; i++) {
        if (i < SHOWN)
            printf("%5ld %s\n", hits.all[i].count, hits.all[i].page);
        free(hits.all[i].page);
    }
    printf("%zu pages\n", hits.count);
    free(hits.all);
}

/* What raise ExceptionGroup would print. */
static void show_errors(const struct yoke_error_tree *t, int depth)
{
    if (depth > 0)
        fprintf(stderr, "%*s%s:\n", 2 * depth, "", t->name);
    for (size_t i = 0; i < t->nerrors; i++)
        fprintf(stderr, "%*s%s: %s\n%*s%s", 2 * depth + 2, "",
                t->errors[i].class_name, t->errors[i].message, 2 * depth + 2,
                "", t->errors[i].detail[0] ? t->errors[i].detail : "\n");
    for (size_t i = 0; i < t->nchildren; i++)
        show_errors(t->children[i], depth + 1);
}

static int show_end(const struct search *s)
{
    struct yoke_error_tree *errors = NULL;
    struct yoke_outcome_info *o;
    int status;

    must(s->y, yoke_group_wait(s->y, s->group, YOKE_NONE, &o));
    status = o->outcome == YOKE_SUCCEEDED ? 0 : 1;
    if (status == 0) {
        show_results(s);
    } else {
        fprintf(stderr, "nothing: %d sources failed, %d were cancelled\n",
                (int)o->failed, (int)o->cancelled);
        must(s->y, yoke_group_errors(s->y, s->group, &errors));
        if (errors)
            show_errors(errors, 0);
        yoke_error_tree_free(errors);
    }
    yoke_outcome_free(o);
    return status;
}

int main(int argc, char **argv)
{
    static const char *slow[] = {"sleep", "60", NULL},
                      *broken[] = {"sh", "-c",
                                   "echo no route to host >&2; "
                                   "exit 3",
                                   NULL};
    struct search s = {.timeout_ms = SECONDS * 1000};
    const char *dir = "/usr/share/man";
    struct yoke_group_options o;
    bool is_slow = false, is_broken = false;
    glob_t files = {0};
    int option, status;

    while ((option = getopt(argc, argv, "d:t:sb")) != -1) {
        if (option == 'd')
            dir = optarg;
        else if (option == 't')
            s.timeout_ms = (int64_t)(strtod(optarg, NULL) * 1000);
        else if (option == 's')
            is_slow = true;
        else if (option == 'b')
            is_broken = true;
        else
            return 2;
    }
    if (optind + 1 != argc || !getcwd(s.here, sizeof(s.here)))
        return 2;
    s.word = argv[optind];
    s.y = example_open();
    yoke_group_options_init(&o);
    o.width = WIDTH;
    o.name = s.word;
    must(s.y, yoke_group_open(s.y, &o, s.group)); /* FAIL 1: all or nothing */
    if (is_slow)
        call(&s, "slow", slow);
    if (is_broken)
        call(&s, "broken", broken);
    find_files(dir, &files);
    call_sources(&s, &files);
    globfree(&files);
    must(s.y, yoke_group_close(s.y, s.group));
    status = show_end(&s);
    yoke_close(s.y);
    return status;
}
