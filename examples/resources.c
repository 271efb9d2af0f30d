/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resources - async context managers: however a job ends, nothing of it is
 * left. Each job holds a permit, takes a lock and leaves it to a daemon in a
 * session of its own; when the job's end is reported the daemon is gone, the
 * lock is free, and the permit is back.
 *
 * Prints:
 *     ends well: ok; lock free, permit back
 *     fails: failed (exit:3); lock free, permit back
 *     is cancelled: cancelled (enough); lock free, permit back
 *     runs out of time: failed (timeout); lock free, permit back
 */
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "example.h"

#define LIMITER "example.license"

static void run(yoke *y, const char *name, const char *end, const char *lock)
{
    struct yoke_outcome_info *o;
    struct yoke_log_page *page;
    char id[YOKE_ID_SIZE], script[256];
    struct yoke_limiter limiter;
    struct yoke_submit s;
    int fd;

    (void)snprintf(script, sizeof(script),
                   "exec 9>\"$1\"; flock 9; setsid sleep 60 & echo locked; %s",
                   end);
    yoke_submit_init(&s);
    s.name = name;
    s.limits = LIMITER;
    if (strcmp(name, "runs out of time") == 0)
        s.timeout_ms = 300;
    example_run(y, &s, script, lock, id);
    must(y, yoke_job_logs(y, id, 0, YOKE_NONE, &page)); /* "locked" */
    yoke_log_page_free(page);
    if (strcmp(name, "is cancelled") == 0)
        must(y, yoke_cancel(y, id, "enough", YOKE_DEFAULT));
    must(y, yoke_job_wait(y, id, YOKE_NONE, &o));

    must(y, yoke_limiter_info(y, LIMITER, &limiter));
    fd = open(lock, O_RDWR | O_CLOEXEC);
    printf("%s: %s", name, o->outcome == YOKE_SUCCEEDED ? "ok" : "");
    if (o->outcome == YOKE_CANCELLED)
        printf("cancelled (%s)", o->reason);
    else if (o->outcome == YOKE_FAILED)
        printf("failed (%s)", o->errors[0].class_name);
    printf("; lock %s, permit %s\n",
           fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? "free" : "taken",
           limiter.held == 0 ? "back" : "held");
    if (fd >= 0)
        (void)close(fd);
    yoke_outcome_free(o);
}

int main(void)
{
    char lock[] = "/tmp/resources.XXXXXX";
    int fd = mkstemp(lock);
    yoke *y = example_open();

    if (fd < 0 || close(fd) != 0)
        return 1;
    must(y, yoke_limiter_set(y, LIMITER, 1, YOKE_DEFAULT, YOKE_DEFAULT));
    run(y, "ends well", "exit 0", lock);
    run(y, "fails", "exit 3", lock);
    run(y, "is cancelled", "sleep 60", lock);
    run(y, "runs out of time", "sleep 60", lock);
    must(y, yoke_limiter_delete(y, LIMITER));
    (void)unlink(lock);
    yoke_close(y);
    return 0;
}
