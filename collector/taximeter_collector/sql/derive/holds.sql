-- What d_span holds: steps that look for what is not there are left out (derive/derive.py).
select coalesce(bool_or(signal = 'log'), false) as logs, coalesce(bool_or(signal = 'metric'), false) as metrics,
    count(*) > count(distinct (trace_id, span_id)) as repeated_spans,
    -- Two tellers of one call or tool, or an agent's sum.
    logs and coalesce(bool_or(signal = 'span'), false)
        or count(tool_call_id) filter (signal = 'span' and kind in ('tool', 'agent'))
            > count(distinct case when length(tool_call_id) < 16 then trace_id || ' ' || tool_call_id else tool_call_id end)
                filter (signal = 'span' and kind in ('tool', 'agent'))
        or coalesce(bool_or(has_usage and kind in ('agent', 'workflow', 'chain', 'step')), false) as tellers,
    coalesce(bool_or(kind in ('llm', 'embedding') and has_usage and request_model is null and response_model is null), false) as nameless_calls,
    -- Two spans that can be one call.
    coalesce(min(scope_name) filter (kind in ('llm', 'embedding')) <> max(scope_name) filter (kind in ('llm', 'embedding')), false)
        or count(response_id) filter (kind in ('llm', 'embedding')) > count(distinct (kind, response_id)) filter (kind in ('llm', 'embedding') and response_id is not null)
        or coalesce(bool_or(kind = 'llm' and signal = 'span' and start_unix_nano = end_unix_nano), false) as twins,
    exists (from d_context where trace_id not in (select trace_id from d_touched)) as context
from d_span;
