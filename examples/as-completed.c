/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * as-completed - asyncio.as_completed: members in the order in which they end,
 * while others still run. The cursor says how far one has read.
 *
 * Each job waits for a file of its name; this program makes the next one when
 * it has seen the end of the one before.
 *
 * Prints:
 *     c: ok
 *     a: ok
 *     b: ok
 */
#include <sys/stat.h>
#include <unistd.h>

#include "example.h"

static const char wait_for_file[] =
    "until test -e \"$1\"; do sleep 0.02; done; rm \"$1\"";

static void make_file(const char *dir, char name)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%c", dir, name);
    file = fopen(path, "w");
    if (!file || fclose(file) != 0)
        exit(1);
}

int main(void)
{
    char dir[] = "/tmp/as-completed.XXXXXX", cursor[YOKE_ID_SIZE] = "0";
    char group[YOKE_ID_SIZE], id[YOKE_ID_SIZE], path[128];
    yoke *y = example_open();

    if (!mkdtemp(dir))
        return 1;
    must(y, yoke_group_open(y, NULL, group));
    for (const char *name = "abc"; *name; name++) {
        struct yoke_submit s;

        yoke_submit_init(&s);
        s.group = group;
        s.name = (char[]){*name, '\0'};
        (void)snprintf(path, sizeof(path), "%s/%c", dir, *name);
        example_run(y, &s, wait_for_file, path, id);
    }
    must(y, yoke_group_close(y, group));

    for (const char *next = "cab"; *next; next++) {
        struct yoke_page *page;

        make_file(dir, *next);
        must(y, yoke_group_next(y, group, cursor, YOKE_NONE, 1, &page));
        example_show(page->members[0]);
        memcpy(cursor, page->cursor, sizeof(cursor));
        yoke_page_free(page);
    }
    (void)rmdir(dir);
    yoke_close(y);
    return 0;
}
