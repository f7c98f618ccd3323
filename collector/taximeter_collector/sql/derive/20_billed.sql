-- Which span is the call, when several carry the same tokens → d_call (unpriced).

-- Spans that stand above a model call, and above a span that carries a sum.
create or replace temp table d_above as
with recursive up as (
    select trace_id, parent_span_id as span_id, true as of_call, coalesce(has_usage, false) as with_usage
    from d_span where kind in ('llm', 'embedding') and dialect <> 'other' and parent_span_id is not null
    union
    select trace_id, parent_span_id, false, true
    from d_span where kind in ('agent', 'workflow', 'chain', 'step') and has_usage and parent_span_id is not null
    union
    select s.trace_id, s.parent_span_id, up.of_call, up.with_usage
    from up join d_span s using (trace_id, span_id) where s.parent_span_id is not null
)
select trace_id, span_id, bool_or(of_call) as above_call,
    bool_or(of_call and with_usage) as above_usage, bool_or(not of_call) as above_sum
from up group by all;

create or replace temp table d_candidate as
select s.*, t.agent_span_id, coalesce(p.preference::integer, 5) as preference,
    s.kind not in ('llm', 'embedding') or s.signal = 'metric' as is_aggregate,
    case when operation = 'fetch_response' then 'fetch of a stored response'
        when s.dialect = 'other' then 'dialect is not known'
        when s.kind in ('llm', 'embedding') and above_usage then 'sum of the calls below it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and above_call then 'a call below it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and t.is_below_call then 'part of the call above it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and s.status <> 'error'
            and coalesce(s.response_id, s.finish_reason) is null
            and exists (from d_span other where other.trace_id = s.trace_id and other.parent_span_id = s.parent_span_id
                and other.scope_name = s.scope_name and other.kind = s.kind and other.has_usage) then 'a step of the call beside it'
        when s.kind not in ('llm', 'embedding') and (above_call or above_sum) then 'sum of the calls below it'
        when s.kind not in ('llm', 'embedding') and t.is_below_call then 'part of the call above it'
    end as not_billed_by_tree
from d_span s
left join d_tree t using (trace_id, span_id)
left join d_above a using (trace_id, span_id)
left join dialect_preference p using (dialect)
where s.kind in ('llm', 'embedding') or (s.kind in ('agent', 'workflow', 'chain', 'step') and s.has_usage)
union all by name
select * exclude (reason, kept_trace_id, kept_span_id), false as is_aggregate, 9 as preference, reason as not_billed_by_tree
from d_told where kind in ('llm', 'embedding') or has_usage and kind in ('agent', 'workflow', 'chain', 'step');

-- One call seen by two instrumentations side by side: the same response id within ten minutes (across traces
-- too: a gateway), else the same tokens inside the same time. What is merged across traces must be found by macros/linked_traces.sql.
create or replace temp table d_twin as
select distinct b.trace_id, b.span_id,
    case when a.response_id = b.response_id then 'same response id as ' else 'same call as ' end || a.span_id as reason
from d_candidate a join d_candidate b
    on (a.trace_id <> b.trace_id or a.span_id <> b.span_id)
    and a.not_billed_by_tree is null and b.not_billed_by_tree is null
    and not a.is_aggregate and not b.is_aggregate
    and (a.preference, a.start_unix_nano, a.span_id, a.trace_id) < (b.preference, b.start_unix_nano, b.span_id, b.trace_id)
where (a.response_id = b.response_id and a.kind = b.kind and a.has_usage >= b.has_usage
        and abs(a.end_unix_nano::hugeint - b.end_unix_nano::hugeint) < 600_000_000_000)
    or (a.scope_name <> b.scope_name and (a.response_id is null or b.response_id is null)
        and a.kind = b.kind
        and (coalesce(a.response_model, a.request_model) is null or coalesce(b.response_model, b.request_model) is null
            or list_has_any([a.response_model, a.request_model], [b.response_model, b.request_model]))
        and (a.trace_id = b.trace_id and a.parent_span_id is not distinct from b.parent_span_id
            or a.parent_span_id is null and b.parent_span_id is null and a.service_name = b.service_name)
        and ((a.start_unix_nano >= b.start_unix_nano and a.end_unix_nano <= b.end_unix_nano)
            or (b.start_unix_nano >= a.start_unix_nano and b.end_unix_nano <= a.end_unix_nano))
        and coalesce(a.uncached_input_tokens + a.cache_read_tokens, -1)
            = coalesce(b.uncached_input_tokens + b.cache_read_tokens, -1));

create or replace temp table d_call as
select c.* exclude (agent_name, agent_version, session_id, user_id, tenant, tags, environment, not_billed_by_tree, preference),
    coalesce(c.agent_name, ag.agent_name, tr.agent_name, case when tr.is_complete then c.service_name end) as agent_name,
    coalesce(c.agent_version, ag.agent_version, tr.agent_version) as agent_version,
    coalesce(c.session_id, tr.session_id) as session_id, coalesce(c.user_id, tr.user_id) as user_id,
    coalesce(c.tenant, tr.tenant) as tenant, coalesce(c.tags, tr.tags) as tags,
    coalesce(c.environment, tr.environment) as environment,
    coalesce(not_billed_by_tree, w.reason) as billed_reason, coalesce(not_billed_by_tree, w.reason) is null as is_billed,
    c.uncached_input_tokens + c.cache_read_tokens + c.cache_write_short_tokens + c.cache_write_long_tokens
        + coalesce(c.audio_input_tokens, 0) + coalesce(c.audio_cache_read_tokens, 0)
        + coalesce(c.image_input_tokens, 0) as prompt_tokens,
    prompt_tokens + coalesce(c.output_tokens, 0) + coalesce(c.audio_output_tokens, 0)
        + coalesce(c.image_output_tokens, 0) as total_tokens
from d_candidate c
left join (select trace_id, span_id, min(reason) as reason from d_twin group by all) w using (trace_id, span_id)
left join d_span ag on ag.trace_id = c.trace_id and ag.span_id = c.agent_span_id
left join d_trace tr on tr.trace_id = c.trace_id;
