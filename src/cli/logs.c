/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * logs - what a job has printed, each stream to its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"

#define SLICE_MS INT64_C(20000)

const struct option_row logs_options[] = {
    {'f', "follow", NULL, "go on until the job has ended"},
    {0, NULL, NULL, NULL},
};

static void append_json(json_t *array, const struct yoke_log_chunk *chunk)
{
    json_t *entry = json_object();

    (void)json_object_set_new(entry, "stream", json_integer(chunk->stream));
    if (chunk->stream == 0)
        (void)json_object_set_new(entry, "lost", json_integer(chunk->lost));
    else
        output_json_bytes(entry, "data", chunk->data);
    (void)json_array_append_new(array, entry);
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

int logs_main(struct cli *c)
{
    bool follow = false, over = false;
    json_t *array = json_array();
    int64_t cursor = 0;
    yoke *y;

    while (options_next(c) != 0)
        follow = true;
    options_operands(c, 1, 1);
    y = cli_connect(c);
    while (!over) {
        struct yoke_log_page *page = NULL;
        int status =
            yoke_job_logs(y, c->argv[0], cursor, follow ? SLICE_MS : 0, &page);

        if (status == YOKE_ERR_TIMEOUT && follow)
            continue;
        if (status == YOKE_ERR_TIMEOUT)
            break;
        if (status != 0)
            cli_fail(c, y, status, "cannot read the log of %s", c->argv[0]);
        for (size_t i = 0; i < page->count; i++) {
            if (c->json)
                append_json(array, &page->chunks[i]);
            else
                print(c, &page->chunks[i]);
        }
        over = page->over || (!follow && page->count == 0);
        cursor = page->cursor;
        yoke_log_page_free(page);
    }
    if (c->json)
        output_json(array);
    else
        json_decref(array);
    yoke_close(y);
    return 0;
}
