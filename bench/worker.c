/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker - a process of a pool whose jobs have nothing to do: what is left is
 * what a job costs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <yoke.h>

static int nothing(struct yoke_task *t, void *arg)
{
    (void)t;
    (void)arg;
    return 0;
}

int main(void)
{
    const struct yoke_worker_options options = {.threads = 1};
    struct yoke_worker *w = NULL;
    int rc = yoke_worker_new(&options, &w);

    if (rc == 0)
        rc = yoke_worker_handle(w, getenv("YOKE_QUEUE"), 0, nothing, NULL);
    if (rc == 0)
        rc = yoke_worker_run(w);
    if (rc != 0)
        (void)fprintf(stderr, "worker: %s\n",
                      w ? yoke_worker_error_text(w) : "no memory");
    yoke_worker_free(w);
    return rc != 0;
}
