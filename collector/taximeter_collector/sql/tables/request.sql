-- One row per request (a trace; its root span is the request).
create table if not exists request (
    request_id varchar not null, is_request boolean, -- false: no work of an agent, or only another view of calls billed elsewhere
    name varchar, service_name varchar, environment varchar,
    agent_name varchar, agent_version varchar, session_id varchar, user_id varchar, tenant varchar, tags varchar[],
    start_time timestamptz, end_time timestamptz, duration_ms double,
    is_error boolean, error_type varchar, error_class varchar, recovered_errors integer, child_errors integer,
    cost_pico hugeint, cost_quality varchar, priced_ratio double,
    model_calls integer, failed_calls integer, tool_calls integer, tool_errors integer, loop_length integer,
    agents varchar[], models varchar[],
    uncached_input_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint, output_tokens bigint,
    cache_hit_ratio double, cache_saved_pico hugeint,
    retries integer, max_consecutive_repeat integer, thrash_cost_pico hugeint,
    termination_reason varchar, span_count integer, is_complete boolean,
    first_received_at timestamptz, last_received_at timestamptz, first_batch ubigint,
    first_time timestamptz, last_time timestamptz -- when its first and its last row start: where to look for them
);
