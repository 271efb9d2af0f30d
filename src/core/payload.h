/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * payload - payloads that are not in memory, but in the store.
 */
#ifndef YOKE_CORE_PAYLOAD_H
#define YOKE_CORE_PAYLOAD_H

#include "core/job.h"

struct core;

#define OFFSET_MAX ((UINT32_C(1) << 30) - 1)

static inline bool payload_is_here(const struct job *j)
{
    return j->payload_len == 0 || job_payload(j).p != NULL;
}
/* Neither here nor where it could be read from. */
static inline bool payload_is_lost(const struct job *j)
{
    return !payload_is_here(j) && j->offset == 0;
}
/* For apply: the entry that comes makes it known. `stays`: its payload does,
 * too, however short memory is. */
void payload_written(struct core *c, const struct job *j, bool stays);
/* For apply: an image of a known job has its payload, too. `whole`: the job
 * follows from it alone. */
const char *payload_moved(struct core *c, struct job *j, struct str payload,
                          bool whole);
/* A worker has got it, or it is dead. */
void payload_given(struct core *c, struct job *j);
/* An attempt is over, and it is to run once more: it has failed if its payload
 * was lost meanwhile. */
void payload_wanted_again(struct core *c, struct job *j);
/* The job has none any more; `payload` is what it had in memory. */
void payload_free(struct core *c, struct job *j, char *payload);
void payload_evict(struct core *c);
/* Read it, if it is not here, unless others before it (*bytes) are enough for
 * now: false. */
bool payload_ask(struct core *c, struct job *j, int64_t *bytes);
/* It is its turn, and its payload is not here. */
void payload_await(struct core *c, struct job *j);
/* ... and cannot be read for now. */
bool payload_is_put_off(const struct core *c, const struct job *j);
/* It starts, and its queue may have others whose payloads are not here. */
void payload_go_on(struct core *c, struct job *j);
void payload_load(struct core *c, const struct core_event *ev);
void payload_clear(struct core *c);

#endif
