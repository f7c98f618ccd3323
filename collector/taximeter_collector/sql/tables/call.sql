-- One row per model call (kind llm or embedding), derived per trace. Money: integer pico-USD; unknown is NULL.
create table if not exists call (
    trace_id varchar not null, span_id varchar not null, parent_span_id varchar, name varchar, kind varchar,
    dialect varchar, signal varchar, service_name varchar, service_version varchar, environment varchar,
    start_time timestamptz, end_time timestamptz, duration_ms double,
    status varchar, error_type varchar, error_class varchar,
    session_id varchar, user_id varchar, tenant varchar, tags varchar[],
    agent_name varchar, agent_version varchar, agent_span_id varchar,
    provider varchar, request_model varchar, response_model varchar, model varchar, response_id varchar,
    uncached_input_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint,
    unclassified_input_tokens bigint,                -- prompt whose cached share the emitter does not tell
    cache_write_short_tokens bigint, cache_write_long_tokens bigint,
    output_tokens bigint, reasoning_tokens bigint,
    audio_input_tokens bigint, audio_cache_read_tokens bigint, audio_output_tokens bigint,
    image_input_tokens bigint, image_output_tokens bigint, web_searches bigint,
    prompt_tokens bigint, total_tokens bigint, cache_reported boolean,
    service_tier varchar, is_batch boolean, region_class varchar,
    input_basis varchar, basis_evidence varchar, usage_conflict boolean,
    finish_reason varchar, finish_class varchar, attempt integer, is_retry boolean, is_last_attempt boolean,
    unseen_attempts integer, is_decision boolean, resend_count integer, ttft_ms double,
    is_billed boolean not null, billed_reason varchar,
    cost_pico hugeint, input_cost_pico hugeint, cache_read_cost_pico hugeint,
    cache_write_cost_pico hugeint, output_cost_pico hugeint, other_cost_pico hugeint,
    -- unknown output: what it was at least and at most, and what the call then cost; NULL beside a known cost
    output_tokens_lower_bound bigint, output_tokens_upper_bound bigint,
    cost_lower_bound_pico hugeint, cost_upper_bound_pico hugeint,
    cost_quality varchar, cost_reported_usd double, price_source varchar, cache_saved_pico hugeint,
    price_version varchar, cost_computed_pico hugeint,  -- from tokens, also where the stated cost counts
    -- tokens of the call on other models, at their prices: in the costs, not in the token columns
    other_models struct(model varchar, tokens bigint, cost_pico bigint)[],
    first_cost_pico hugeint, first_price_source varchar, first_price_version varchar, -- before it was repriced
    usage_raw varchar, usage_span_id varchar         -- the twin span whose counts these are, NULL: its own
);
