-- One row per tool execution; the framework's and the MCP client's span of one execution are merged.
create table if not exists tool_call (
    trace_id varchar not null, span_id varchar not null, parent_span_id varchar, name varchar,
    dialect varchar, signal varchar, service_name varchar, service_version varchar, environment varchar,
    start_time timestamptz, end_time timestamptz, duration_ms double, status varchar,
    session_id varchar, user_id varchar, tenant varchar, tags varchar[],
    agent_name varchar, agent_version varchar, agent_span_id varchar,
    tool_name varchar, tool_call_id varchar, arguments_hash varchar, result_hash varchar,
    is_error boolean, is_denied boolean, error_type varchar, error_class varchar, attempt integer,
    consecutive_repeat integer, is_repeat boolean,
    is_same_result boolean, is_same_error boolean, is_fanout_duplicate boolean,
    is_delegation boolean -- the work went to a sub-agent; no tool call of its own
);
