-- One row per agent invocation. cost_pico includes sub-agents; own_cost_pico does not.
create table if not exists agent_run (
    trace_id varchar not null, span_id varchar not null, kind varchar, agent_name varchar, agent_version varchar,
    parent_agent varchar, service_name varchar, environment varchar,
    start_time timestamptz, duration_ms double,
    loop_length integer, loop_evidence varchar, model_calls integer, tool_calls integer, tool_errors integer,
    distinct_tools integer, max_consecutive_repeat integer, thrash_ratio double, max_repeats integer,
    same_result_repeats integer, same_error_repeats integer, fanout_duplicates integer,
    cycle_repeats integer, cycle_period integer, thrash_level varchar,
    thrash_cost_pico hugeint, cost_pico hugeint, own_cost_pico hugeint,
    termination_reason varchar, termination_evidence varchar, error_type varchar, error_class varchar, iteration_limit integer, hit_limit boolean, confidence double
);
