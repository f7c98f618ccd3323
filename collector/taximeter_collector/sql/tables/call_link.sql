-- What the span of each call, tool execution and agent run itself said, before twins shared their counts: by this other views of
-- it, in other traces and signals, are found.
create table if not exists call_link (
    trace_id varchar not null, span_id varchar not null, dialect varchar, signal varchar, parent_span_id varchar, kind varchar,
    response_id varchar, tool_call_id varchar, session_id varchar, service_name varchar,
    start_time timestamptz, end_time timestamptz, prompt_tokens bigint, scope_name varchar,
    link_key ubigint, is_lone boolean  -- macros of these names
);
