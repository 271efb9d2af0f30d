/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * plant - known bugs, to test the tests with.
 *
 * Knows:     the list of bugs; which of them is in force.
 * Never:     anything in what is shipped: there PLANTED() is the constant
 *            false, and no code and no data is left of it.
 *
 * A build with -DYOKE_PLANT (tests/sim/planted) has all of them in it, each at
 * one place, and runs with one at a time. The simulation must find each, or a
 * law of a unit that meets what no world of the simulation does.
 */
#ifndef YOKE_PLANT_H
#define YOKE_PLANT_H

/* id, what is wrong */
#define PLANTS(X)                                                              \
    X(SIBLING_SPARED, "a running sibling of a failed member is not cancelled") \
    X(STALE_ACCEPTED, "a report of an earlier attempt is accepted")            \
    X(DEADLINE_NOT_INHERITED, "a job does not inherit the deadline above it")  \
    X(BOUND_SPILLS, "a FETCH gets more jobs of a queue than its bound there")  \
    X(WAITER_OVERTAKEN, "a new producer goes past those that wait for room")   \
    X(OUTCOME_TWICE, "a success after a retry counts twice in its group")      \
    X(RETRY_PAST_DEADLINE, "an attempt is planned past the deadline")          \
    X(CHILD_OUTLIVES, "a job ends before a group that a retry opened in it")   \
    X(LOST_WAKEUP, "a cancelled job in the queue lets no producer in")         \
    X(QUEUE_OVER_BOUND, "a queue takes one job more than max-jobs")            \
    X(HASH_ORDER, "the order of queues depends on the hash of their names")    \
    X(CANCELLED_STARTS, "a delayed job starts although it was cancelled")      \
    X(WIDTH_OF_ONE, "a width does not bind the groups inside the group")       \
    X(LIFE_UNHEARD, "a sign of life does not renew the lease")                 \
    X(RETRIES_FORGOTTEN, "a restart forgets how often a job has failed")       \
    X(TRIMMED_EARLY, "a segment goes while one thing still lies in it")        \
    X(IMAGE_LATE, "a job is accepted before the image of its queue is there")  \
    X(TURN_UNHEARD, "a job that begins a segment counts for that one")         \
    X(KEY_FORGOTTEN, "a restart forgets a key: a second job comes of it")      \
    X(MOVED_LATE, "a deadline that was moved ahead acts at its old time")      \
    X(DEAD_TWICE, "a dead job that was retried can be retried again")          \
    X(PERMIT_LOST, "the permits of a lost attempt do not come back")           \
    X(PERMITS_OVERTAKEN, "nothing is put aside for who waits for permits")     \
    X(TURN_KEPT, "a group of a fair queue that was served keeps its turn")     \
    X(TOLD_TWICE, "the end of a job that has failed is told twice")            \
    X(RESULT_LOST, "a result that waited for room is lost in the next queue")  \
    X(SHIELD_UNBOUND, "a shield goes on when its time is over")                \
    X(CLOSE_DEAF, "a SUCCEED that a CLOSE brings is reached and does not act") \
    X(ERROR_DROPPED, "a split loses an error that neither half shows")         \
    X(RETRIED_UNTOLD, "a job that was retried does not say which came of it")  \
    X(RETRY_UNCOUNTED, "an attempt after a lost one is not counted as a "      \
                       "retry")                                                \
    X(ONCE_TWICE, "a number that is said again makes a second job")            \
    X(ONCE_FORGOTTEN, "a restart forgets what numbers led to")                 \
    X(ONCE_UNKEYED, "a number forgets what its KEY led to")                    \
    X(TAKEN_SUBMIT, "a submit waits on where its session was taken from")      \
    X(TAKEN_UNCUT, "who takes a session over leaves the other connected")      \
    X(REPLY_EARLY, "a reply leaves before its records are durable")            \
    X(FLIGHT_WHOLE, "what a commit releases may have come after it began")     \
    X(TRIM_HASTY, "a segment goes before what replaces it is durable")         \
    X(FAILED_HEARD, "replies leave although the store has failed")             \
    X(CIRCLE_STANDS, "full queues whose results wait for each other stand")    \
    X(LOAD_OVERTAKEN, "a job goes before one whose payload is being read")     \
    X(LOAD_MIXED, "who is read gets the payload of another in its entry")      \
    X(LOAD_EMPTY, "FETCH 0 is told that there is nothing before it was read")  \
    X(LOST_HASTY, "a payload that is elsewhere by now is taken for lost")      \
    X(IMAGE_SKIPPED, "compaction lets a delayed job go")                       \
    X(ENDS_UNCOUNTED, "the end of a job whose image comes later is lost")      \
    X(MADE_UP, "a job goes with the segment of its group")                     \
    X(SLICE_FORGOTTEN,                                                         \
      "a request between two slices ends the cancel of a group")               \
    X(NARROW_TAKES, "a job is accepted although room is narrow")               \
    X(NARROW_STOPS, "nothing starts although room is only narrow")             \
    X(FULL_STARTS, "jobs start although the disk is full")                     \
    X(LOAD_UNHEARD, "a queue does not go on when its payload was read")        \
    X(END_UNTOLD, "the end of a group is not told to who awaits it")

/* Those that no world of the simulation meets: id, what is wrong, the program
 * under tests/unit that is run with it, and its law that is broken then, or
 * what an assertion says. */
#define LAW_PLANTS(X)                                                          \
    X(GROUP_AGAIN, "a restart brings back a group that was forgotten early",   \
      "core_image", "a_group_that_made_room_does_not_come_back")               \
    X(MEMBER_UNCOUNTED, "a member whose image comes later is not counted",     \
      "core_image", "a_member_that_begins_a_segment_is_cancelled")             \
    X(DEAD_KEPT_ANEW, "an image gives the dead the keep that holds by now",    \
      "core_dead", "they_are_kept_as_their_queue_said_when_they_ended")        \
    X(HEAL_GROUPLESS, "the groups in a damaged segment are not written again", \
      "core_full", "what_frees_goes_on")                                       \
    X(ROOM_UNASKED, "compaction writes what a full disk has no room for",      \
      "core_full", "compaction_leaves_what_is_spared")                         \
    X(LOST_QUEUED, "a job that lost its payload waits for its turn",           \
      "core_payload", "j->offset > 0 || is_dead(j) || job_has_run(j)")         \
    X(PIN_UNHEARD, "a segment goes although a backup has pinned it", "copier", \
      "what_is_pinned_stays_until_the_pin_moves")                              \
    X(COPIES_UNBOUND, "what is forgotten untold is copied past memory-max",    \
      "core_await", "at_memory_max_an_end_outlasts_without_its_map")           \
    X(AWAITS_LEFT, "a session that is resumed awaits nothing any more",        \
      "core_await", "who_resumes_the_session_is_told")                         \
    X(LEASE_REVIVED, "who gives no sign of life gets a job past its lease",    \
      "core", "who_is_past_its_lease_gets_no_job")

enum plant {
    PLANT_NONE,
#define X(id, ...) PLANT_##id,
    PLANTS(X) LAW_PLANTS(X)
#undef X
        PLANT_COUNT
};

#ifdef YOKE_PLANT
#include <stdint.h>

extern enum plant plant_now; /* the bug in force */
extern uint64_t plant_salt;  /* moves everything that a hash decides */
#define PLANTED(id)      (plant_now == PLANT_##id)
#define PLANT_HASH(hash) ((hash) ^ plant_salt)
#else
#define PLANTED(id)      false
#define PLANT_HASH(hash) (hash)
#endif

#endif
