/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables - the lists of the core: states with their legal successors, records,
 * causes of a cancel. Everything else about them is generated from here.
 */
#ifndef YOKE_CORE_TABLES_H
#define YOKE_CORE_TABLES_H

#define TO(state) (1u << JOB_##state)

/*
 * id, name, legal next states.
 *
 *   DELAYED <-> READY <--> PARKED
 *      |         |  ^         |
 *      |         v  |         |
 *      |      RUNNING --> CANCELLING
 *      |         |  |         |
 *      |         |  +-> JOINING (body done, groups below it not)
 *      |         |         |  |
 *      |         +---> DELIVERING (done, waits for room in the next queue)
 *      v         v         v  v
 *      +-----> FINISHED <-----+
 *
 * RUNNING, CANCELLING and JOINING also go back to READY or DELAYED when an
 * attempt is released, lost or retried. Their numbers are on disk, in images:
 * new ones come last.
 */
#define JOB_STATES(X)                                                        \
    X(DELAYED, "delayed", TO(READY) | TO(FINISHED))                          \
    X(READY, "ready", TO(DELAYED) | TO(PARKED) | TO(RUNNING) | TO(FINISHED)) \
    X(PARKED, "parked", TO(READY) | TO(FINISHED))                            \
    X(RUNNING, "running",                                                    \
      TO(CANCELLING) | TO(JOINING) | TO(DELIVERING) | TO(FINISHED) |         \
          TO(READY) | TO(DELAYED))                                           \
    X(CANCELLING, "cancelling",                                              \
      TO(JOINING) | TO(DELIVERING) | TO(FINISHED) | TO(READY) | TO(DELAYED)) \
    X(JOINING, "joining",                                                    \
      TO(DELIVERING) | TO(FINISHED) | TO(READY) | TO(DELAYED))               \
    X(DELIVERING, "delivering", TO(FINISHED))                                \
    X(FINISHED, "finished", 0)

enum job_state {
#define X(id, name, next) JOB_##id,
    JOB_STATES(X)
#undef X
        JOB_STATES_COUNT
};

#define OUTCOMES(X)     \
    X(NONE, "none")     \
    X(OK, "ok")         \
    X(FAILED, "failed") \
    X(CANCELLED, "cancelled")

enum outcome {
#define X(id, name) OUTCOME_##id,
    OUTCOMES(X)
#undef X
        OUTCOMES_COUNT
};

/* Why a job or group was asked to stop. */
#define CAUSES(X)                                                   \
    X(NONE, "none")                                                 \
    X(CANCEL, "cancel")           /* from outside, or from above */ \
    X(TIMEOUT, "timeout")         /* the attempt took too long */   \
    X(DEADLINE, "deadline")       /* its own deadline passed */     \
    X(FAIL, "fail")               /* group: FAIL was reached */     \
    X(SUCCEED, "succeed")         /* group: SUCCEED was reached */  \
    X(UNREACHABLE, "unreachable") /* group: SUCCEED can no longer be */

enum cause {
#define X(id, name) CAUSE_##id,
    CAUSES(X)
#undef X
        CAUSES_COUNT
};

/* How the body of an attempt ended. */
enum verdict_kind {
    VERDICT_OK,
    VERDICT_FAILED,
    VERDICT_STOPPED,  /* it stopped because it was asked to */
    VERDICT_RELEASED, /* given back unharmed */
    VERDICT_LOST,     /* its worker is gone */
    VERDICT_COUNT
};

/* Facts about one entity; the numbers are on disk and never change meaning. */
#define RECORDS(X)                                                       \
    X(QUEUE, 1)         /* image: name, settings, paused */              \
    X(JOB, 2)           /* image: accepted */                            \
    X(START, 3)         /* an attempt began */                           \
    X(ASK, 4)           /* a running job was asked to stop */            \
    X(JOINING, 5)       /* the body ended, groups below it have not */   \
    X(REQUEUE, 6)       /* the attempt is over, there will be another */ \
    X(END, 7)           /* the job ended */                              \
    X(GROUP, 8)         /* image: opened */                              \
    X(GROUP_CLOSE, 9)   /* takes no more members */                      \
    X(GROUP_CANCEL, 10) /* cancelled */                                  \
    X(GROUP_END, 11)    /* ended */                                      \
    X(SHIELD, 12)       /* an attempt is shielded, or no longer */       \
    X(RESCHEDULE, 13)   /* times of a job moved */                       \
    X(GROUP_TIME, 14)   /* the deadline of a group moved */              \
    X(GROUP_READ, 15)   /* ended, and read to its end */                 \
    X(GROUP_FORGET, 16) /* ended, and forgotten before its time */       \
    X(LIMITER, 20)      /* image: name, bounds, tokens */                \
    X(LIMITER_DELETE, 21)                                                \
    X(CLEAR, 30)       /* a dead job left the list: retried, purged */   \
    X(READY, 40)       /* the running job announced itself */            \
    X(DELIVER, 41)     /* done, and the next queue has no room */        \
    X(SESSION, 50)     /* image: what its numbered requests led to */    \
    X(GROUP_IMAGE, 61) /* all of a group, but for its members: */        \
    X(GROUP_IDS, 62)   /* some of them */                                \
    X(JOB_IMAGE, 63)   /* all of a job, but for its errors if many: */   \
    X(JOB_ERRORS, 64)  /* some of them */

/* What JOB_IMAGE was at first. It is read as one, and not written. */
#define RECORD_JOB_IMAGE_1 60

enum record_type {
#define X(id, number) RECORD_##id = number,
    RECORDS(X)
#undef X
};

#endif
