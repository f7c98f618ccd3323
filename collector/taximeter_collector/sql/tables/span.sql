-- One row per span received (and per log event or metric point that tells of a call, a tool or a turn):
-- as sent, then what the dialect's rules read out of it.
-- Lives in the day file of its receipt; append only.
create table if not exists span (
    batch ubigint not null, received_at timestamptz not null,
    trace_id varchar not null, span_id varchar not null, parent_span_id varchar,
    name varchar, otel_kind integer, start_unix_nano ubigint, end_unix_nano ubigint,
    start_time timestamptz, end_time timestamptz, duration_ms double,
    status varchar, status_message varchar, scope_name varchar, scope_version varchar,
    attributes map(varchar, varchar), resource_attributes map(varchar, varchar),
    events struct("time" ubigint, "name" varchar, attributes map(varchar, varchar))[],
    -- where texts are stored masked ([redaction]): what the roll-ups read in its name and its error as sent
    masked struct(marks varchar[], reason varchar),
    -- span, log or metric: a log event or a metric that tells of calls is a row by the same rules
    signal varchar, linked_span_id varchar, is_side boolean, is_cumulative boolean,
    -- what it is and whose
    dialect varchar, kind varchar, operation varchar,
    service_name varchar, service_version varchar, environment varchar,
    error_type varchar, error_class varchar,
    session_id varchar, user_id varchar, tenant varchar, tags varchar[],
    agent_name varchar, agent_version varchar,
    -- the model call: a disjoint partition of its tokens, unknown is NULL
    provider_raw varchar, server_address varchar, request_model varchar, response_model varchar,
    response_id varchar, request_id varchar,
    uncached_input_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint,
    unclassified_input_tokens bigint,                -- prompt whose cached share the emitter does not tell
    cache_write_short_tokens bigint, cache_write_long_tokens bigint,
    output_tokens bigint, reasoning_tokens bigint,
    audio_input_tokens bigint, audio_cache_read_tokens bigint, audio_output_tokens bigint,
    image_input_tokens bigint, image_output_tokens bigint, web_searches bigint,
    prompt_tokens bigint, has_usage boolean, cache_reported boolean, input_basis varchar, basis_evidence varchar,
    usage_conflict boolean, usage_raw varchar,
    service_tier varchar, is_batch boolean, region_class varchar,
    cost_reported_usd double, finish_reason varchar, attempt integer, resend_count integer, ttft_ms double,
    -- the tool call
    tool_name varchar, tool_call_id varchar, arguments_hash varchar, result_hash varchar, is_denied boolean,
    -- the agent run
    iteration integer, termination_reason varchar, iteration_limit integer, confidence double,
    -- what agents say, with its size: leaves before the rest; and what the roll-ups need of it
    content map(varchar, varchar), content_bytes bigint,
    input_hash ubigint, marks varchar[],
    counted_output_tokens bigint, max_output_tokens bigint, choice_count bigint
);
