/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limits - what bounds the core, and what holds for queues and jobs, where
 * nobody says anything else.
 */
#include "core/internal.h"

void core_limits_init(struct core_limits *limits)
{
    *limits = (struct core_limits){
        .payload_max = 1 << 20,
        .result_max = 1 << 20,
        .memory_max = INT64_C(1) << 30,
        .payload_memory = INT64_MAX,
        .queues_max = 1024,
        .limiters_max = 1024,
        .groups_max = 100000,
        .members_max = 1000000,
        .depth_max = 64,
        .retain_jobs = 100000,
        .retain_bytes = 256 << 20,
        .log_max = 1 << 20,
        .logs_max = 64 << 20,
        .lease_ms = 30000,
        .session_grace_ms = 10000,
        .keep_max_ms = INT64_C(30) * 24 * 3600 * 1000,
        .step_work = STEP_WORK,
        .awaits_max = 65536,
        .image_ids = 8192,
        .image_max = 8 << 20,
        .image_errors = 64 << 10,
        .numbers_max = 1 << 20,
        .detach = true,
        .shield_max_ms = 60000,
        .queue_defaults = {.max_jobs = 100000,
                           .max_bytes = 256 << 20,
                           .timeout_ms = CORE_NONE,
                           .grace_ms = 10000,
                           .retry = 1,
                           .redeliver = 3,
                           .keep_ms = 3600 * 1000,
                           .wait_ms = CORE_NONE,
                           .dead_keep_ms = INT64_C(7) * 24 * 3600 * 1000,
                           .backoff_base_ms = 1000,
                           .backoff_cap_ms = 60000,
                           .factor_milli = 2000,
                           .jitter = 100,
                           .expires_ms = CORE_NONE,
                           .priority = CORE_PRIORITY_DEFAULT},
    };
}

void core_settings_unset(struct queue_settings *s)
{
    *s = (struct queue_settings){
        .max_jobs = CORE_UNSET,
        .max_bytes = CORE_UNSET,
        .timeout_ms = CORE_UNSET,
        .grace_ms = CORE_UNSET,
        .retry = CORE_UNSET,
        .redeliver = CORE_UNSET,
        .keep_ms = CORE_UNSET,
        .wait_ms = CORE_UNSET,
        .backoff_base_ms = CORE_UNSET,
        .backoff_cap_ms = CORE_UNSET,
        .factor_milli = CORE_UNSET,
        .jitter = CORE_UNSET,
        .expires_ms = CORE_UNSET,
        .priority = CORE_UNSET,
        .dead_keep_ms = CORE_UNSET,
        .fair = CORE_UNSET,
    };
}
