-- Additive roll-up by minute. Three kinds of rows share the dimensions:
--   request rows (provider, model, tool_name NULL) at the request's start minute, under the request's agent;
--   call rows (provider, model set) at the call's start minute, under the call's own agent;
--   tool rows (tool_name set).
-- Every measure is 0 in the rows of another kind, so any sum over any grouping is right.
create table if not exists usage_minute (
    minute timestamptz not null, environment varchar, service_name varchar,
    agent_name varchar, agent_version varchar, provider varchar, model varchar, tenant varchar,
    user_id varchar, tool_name varchar,
    -- request rows
    requests bigint, failed_requests bigint, recovered_requests bigint, requests_with_child_errors bigint,
    cancelled_requests bigint, truncated_requests bigint, refused_requests bigint,
    request_cost_pico hugeint, unpriced_requests bigint,
    loop_length_sum bigint, loop_length_max integer,
    loop_length_requests bigint,                     -- requests whose loop length is known
    duration_ms_sum double,
    thrash_cost_pico hugeint,
    loop_length_histogram map(integer, bigint),      -- loop length -> requests
    latency_histogram map(integer, bigint),          -- floor(8 * log2(ms)) -> requests
    -- call rows
    calls bigint, failed_calls bigint, throttled_calls bigint, provider_failed_calls bigint, timed_out_calls bigint,
    logical_calls bigint, failed_logical_calls bigint,
    unseen_attempts bigint,                          -- failed attempts that only a counter tells of
    retried_calls bigint,                            -- attempts beyond the first
    decisions bigint, decision_tokens bigint,        -- model calls that count in a loop
    uncached_input_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint,
    output_tokens bigint, reasoning_tokens bigint, tokens bigint, priced_tokens bigint,
    hit_denominator_tokens bigint,                   -- R + W + U of the calls whose emitter reports caching
    hit_read_tokens bigint,                          -- R of the same calls
    hit_write_tokens bigint,                         -- W of the same calls
    saved_base_pico hugeint, output_base_pico hugeint, priced_output_tokens bigint,
    timed_output_tokens bigint, generating_ms double, reported_usd double, reported_base_pico hugeint,
    unpriced_calls bigint, cost_pico hugeint, input_cost_pico hugeint, cache_read_cost_pico hugeint,
    cache_write_cost_pico hugeint, output_cost_pico hugeint, other_cost_pico hugeint, cache_saved_pico hugeint,
    ttft_histogram map(integer, bigint),
    -- tool rows
    tool_calls bigint, failed_tool_calls bigint, denied_tool_calls bigint, repeated_tool_calls bigint
);
