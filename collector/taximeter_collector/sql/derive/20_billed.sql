-- Which spans can be calls, when several carry the same tokens → d_call (unpriced), by the tree they are in alone.

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

-- Of clients that are known to open a span for every call (mark one_call), also where it was cancelled and says nothing.
create or replace temp table d_one_call as
with marked as (
    select distinct seen.dialect, seen.name
    from (select distinct dialect, name from d_span where kind in ('llm', 'embedding') and masked is null) as seen
    join span_mark m on m.mark = 'one_call' and m.key = 'span.name' and m.dialect in ('*', seen.dialect) and lower(seen.name) glob m.pattern
)
select s.trace_id, s.span_id from d_span s
where s.kind in ('llm', 'embedding') and case when s.masked is not null then list_contains(s.masked.marks, 'one_call')
    else (s.dialect, s.name) in (from marked) end;

create or replace temp table d_call as
with candidate as (
    select s.* exclude (batch, received_at, otel_kind, status_message, scope_version, linked_span_id, is_side, is_cumulative, request_id,
            tool_name, tool_call_id, arguments_hash, result_hash, is_denied, iteration, termination_reason, iteration_limit, confidence, marks,
            counted_output_tokens, max_output_tokens, choice_count),
        t.agent_span_id, coalesce(p.preference::integer, 5) as preference,
        s.kind not in ('llm', 'embedding') or s.signal = 'metric' as is_aggregate,
        case when operation = 'fetch_response' then 'fetch of a stored response'
            when s.dialect = 'other' then 'dialect is not known'
            when s.kind in ('llm', 'embedding') and above_usage then 'sum of the calls below it'
            when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and above_call then 'a call below it'
            when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and t.is_below_call then 'part of the call above it'
            when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and s.status not in ('error', 'cancelled')
                and (s.trace_id, s.span_id) not in (from d_one_call)
                and coalesce(s.response_id, s.finish_reason) is null
                and (s.trace_id, s.span_id) not in (select (call_trace_id, call_span_id) from d_late)
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
    select * exclude (reason, kept_trace_id, kept_span_id, batch, received_at, otel_kind, status_message, scope_version, linked_span_id, is_side,
            is_cumulative, request_id, tool_name, tool_call_id, arguments_hash, result_hash, is_denied, iteration, termination_reason,
            iteration_limit, confidence, marks, counted_output_tokens, max_output_tokens, choice_count), false as is_aggregate, 9 as preference, reason as not_billed_by_tree
    from d_told where kind in ('llm', 'embedding') or has_usage and kind in ('agent', 'workflow', 'chain', 'step')
)
select c.* exclude (agent_name, agent_version, session_id, user_id, tenant, tags, environment, not_billed_by_tree),
    null::varchar as usage_span_id, not_billed_by_tree as billed_reason,
    coalesce(c.agent_name, ag.agent_name, tr.agent_name, case when tr.is_complete then c.service_name end) as agent_name,
    coalesce(c.agent_version, ag.agent_version, tr.agent_version) as agent_version,
    coalesce(c.session_id, tr.session_id) as session_id, coalesce(c.user_id, tr.user_id) as user_id,
    coalesce(c.tenant, tr.tenant) as tenant, coalesce(c.tags, tr.tags) as tags,
    coalesce(c.environment, tr.environment) as environment,
    not_billed_by_tree is null as is_billed,
    c.prompt_tokens + c.output_tokens + coalesce(c.audio_output_tokens, 0) + coalesce(c.image_output_tokens, 0) as total_tokens
from candidate c
left join d_span ag on ag.trace_id = c.trace_id and ag.span_id = c.agent_span_id
left join d_trace tr on tr.trace_id = c.trace_id;

create or replace temp table d_finish as
select seen.finish_reason, arg_min(rule.finish_class, rule.rank) as finish_class
from (select distinct finish_reason from d_call where finish_reason is not null) as seen
join finish_rule rule
    on regexp_replace(lower(seen.finish_reason), '^finish_?reason[._]', '') glob rule.pattern
group by all;

-- A client that runs the tools itself inside one span shows one call for several, with the last one's usage at best;
-- unless it is known to open such a span for every call.
create or replace temp table d_wrapping as
select distinct c.trace_id, c.span_id
from d_call c
join d_span t on t.trace_id = c.trace_id and t.parent_span_id = c.span_id and t.kind = 'tool'
left join d_finish f on f.finish_reason = c.finish_reason
where c.kind = 'llm' and c.signal = 'span' and c.is_billed and coalesce(f.finish_class, '') <> 'tool'
    and (c.trace_id, c.span_id) not in (from d_one_call);
