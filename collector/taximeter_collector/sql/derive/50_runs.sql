-- Agent invocations: how many decisions, what came of them, why they ended → d_run.

create or replace temp table d_answer as
select p.trace_id, p.span_id, coalesce(p.agent_span_id, '') as run, p.kind, p.is_aggregate, p.status, p.error_type, p.error_class,
    p.start_unix_nano, p.end_unix_nano, p.cost_pico, f.finish_class, a.is_retry, a.unseen_attempts, a.is_last_attempt,
    p.kind = 'llm' and not p.is_aggregate and s.span_id is null as is_decision,
    w.span_id is not null as wraps_tools
from d_priced p
join d_attempt a using (trace_id, span_id)
left join d_side s using (trace_id, span_id)
left join d_wrapping w using (trace_id, span_id)
left join d_finish f using (finish_reason);

create or replace temp table d_run_call as
select trace_id, run, (count(*) filter (not is_retry))::integer as model_calls, sum(cost_pico) as own_cost_pico,
    count(*) filter (cost_pico is null) as unpriced, bool_or(is_aggregate) as has_aggregate,
    nullif(count(*) filter (is_decision and not is_retry), 0)::integer as decisions,
    arg_max(status, (start_unix_nano, span_id)) filter (is_decision or is_aggregate) as last_status,
    arg_max({'type': error_type, 'class': error_class}, (start_unix_nano, span_id)) filter (is_decision or is_aggregate) as last_error,
    arg_max(coalesce(finish_class, ''), (start_unix_nano, span_id)) filter (is_decision or is_aggregate) as last_finish,
    coalesce(bool_or(wraps_tools) filter (is_decision), false) as wraps_tools,
    arg_max(end_unix_nano, (start_unix_nano, span_id)) filter (is_decision) as last_end
from d_answer group by all;

-- What the invocation did after its last decision: a tool that it asked for, an answer or a hand-over by tool.
create or replace temp table d_run_after as
select c.trace_id, c.run, bool_or(not list_has_any(e.roles, ['answering', 'handoff'])) as with_tool,
    bool_or(list_contains(e.roles, 'answering')) as with_answer,
    bool_or(list_contains(e.roles, 'handoff')) as with_handoff
from d_run_call c join d_execution e
    on e.trace_id = c.trace_id and coalesce(e.run_span_id, '') = c.run and e.start_unix_nano >= c.last_end
group by all;

-- Tool executions that overlap were asked for together: the turns of an invocation whose calls nobody shows.
create or replace temp table d_tool_group as
select trace_id, run, count(*) filter (starts_group)::integer as tool_groups,
    count(*) filter (starts_group and parent_span_id in (select span_id from d_answer))::integer as groups_inside_calls
from (
    select trace_id, run, parent_span_id, coalesce(start_unix_nano >= max(end_unix_nano) over (partition by trace_id, run
        order by start_unix_nano, span_id rows between unbounded preceding and 1 preceding), true) as starts_group
    from d_tool_order join (select trace_id, span_id, parent_span_id from d_span) using (trace_id, span_id)
) group by all;

create or replace temp table d_run_span as
select s.trace_id, s.span_id, s.parent_span_id, s.name, s.kind, s.service_name, s.environment, s.start_time, s.end_time, s.duration_ms, s.end_unix_nano,
    s.status, s.error_type, s.error_class, s.masked, s.agent_name, s.agent_version, s.tool_name, s.termination_reason, s.iteration_limit, s.confidence,
    t.agent_span_id, t.parent_agent_span_id,
    lower(coalesce(s.error_type, '') || ' ' || coalesce(s.status_message, '')) as said
from d_span s join d_tree t using (trace_id, span_id)
where s.kind = 'agent'
    or (s.trace_id, s.span_id) in (select (trace_id, run) from d_run_call where decisions > 0);

create or replace temp table d_end_rule as
select seen.said, arg_min(rule.reason, rule.rank) as reason
from (select distinct said from d_run_span where status = 'error') as seen
join termination_rule rule on seen.said glob rule.pattern group by all;

-- Each invocation's own reason; null where it made no decision itself and its sub-agents have to tell.
create or replace temp table d_run_end as
with seen as (
    select s.trace_id, s.span_id, case when s.masked is null then r.reason when s.status = 'error' then s.masked.reason end as said_reason,
        c.decisions, c.has_aggregate, g.tool_groups, c.wraps_tools, g.groups_inside_calls, s.end_unix_nano,
        s.status, s.termination_reason, s.iteration_limit, s.error_type as span_error_type, s.error_class as span_error_class,
        c.last_finish, c.last_status, c.last_error, a.with_tool, a.with_answer, a.with_handoff, m.hit_limit, m.answered,
        coalesce(c.last_finish in ('tool', 'paused') or (a.with_tool and not a.with_answer), false) as is_pending
    from d_run_span s
    left join d_run_call c on c.trace_id = s.trace_id and c.run = s.span_id
    left join d_run_after a on a.trace_id = s.trace_id and a.run = s.span_id
    left join d_tool_group g on g.trace_id = s.trace_id and g.run = s.span_id
    left join d_end_rule r on r.said = s.said and s.status = 'error'
    left join (select trace_id, span_id, bool_or(mark = 'hit_limit') as hit_limit, bool_or(mark = 'answered') as answered
               from d_mark group by all) m on m.trace_id = s.trace_id and m.span_id = s.span_id
), ended as (
    select *,
        case when termination_reason is not null then {'reason': termination_reason, 'evidence': 'stated'}
            when status = 'cancelled' then {'reason': 'cancelled', 'evidence': 'status'}
            when said_reason is not null then {'reason': said_reason, 'evidence': 'error'}
            when status = 'error' then {'reason': 'error', 'evidence': 'status'}
            when hit_limit then {'reason': 'iteration_cap', 'evidence': 'stated'}
            when decisions > iteration_limit or (decisions = iteration_limit and is_pending)
                then {'reason': 'iteration_cap', 'evidence': 'limit'}
            when with_handoff then {'reason': 'handoff', 'evidence': 'tool'}
            when (answered and coalesce(last_finish, '') not in ('truncated', 'refused', 'guardrail')) or with_answer then {'reason': 'completed', 'evidence': 'answer'}
            when last_status in ('error', 'cancelled') and not coalesce(with_tool, false)
                then {'reason': last_status, 'evidence': 'last_call'}
            -- The model answered, but the client raised on an answer that ended early.
            when last_error.type is not null and last_finish in ('truncated', 'refused', 'guardrail') then {'reason': 'error', 'evidence': 'last_call'}
            when is_pending and decisions > 1 then {'reason': 'iteration_cap', 'evidence': 'stopped_at_tool_request'}
            when is_pending then {'reason': 'unknown', 'evidence': 'stopped_at_tool_request'}
            when last_finish in ('truncated', 'refused', 'guardrail', 'error', 'cancelled')
                then {'reason': last_finish, 'evidence': 'finish_reason'}
            when wraps_tools then {'reason': 'unknown', 'evidence': 'tools_inside_call'}
            when last_finish = 'answer' then {'reason': 'completed', 'evidence': 'finish_reason'}
            when (decisions > 0 or has_aggregate) and status = 'ok' then {'reason': 'completed', 'evidence': 'status'}
            when decisions > 0 or has_aggregate then {'reason': 'unknown', 'evidence': 'no_finish_reason'} end as own_end
    from seen
)
select trace_id, span_id, decisions, has_aggregate, tool_groups, wraps_tools, groups_inside_calls, end_unix_nano, own_end,
    case when own_end['reason'] = 'error' then coalesce(case when status = 'error' then span_error_type end, last_error.type) end as error_type,
    case when own_end['reason'] = 'error' then coalesce(case when span_error_class <> 'internal' then span_error_class end,
        last_error.class, span_error_class, 'internal') end as error_class
from ended;

-- Every invocation with those it runs under, itself included.
create or replace temp table d_run_above as
with recursive up as (
    select trace_id, span_id as run, span_id as above, parent_span_id as next from d_run_span
    union
    select up.trace_id, up.run, s.span_id, s.parent_span_id
    from up join d_span s on s.trace_id = up.trace_id and s.span_id = up.next
)
select up.trace_id, up.run, up.above from up semi join d_run_span r on r.trace_id = up.trace_id and r.span_id = up.above;

create or replace temp table d_run as
with whole as (
    select u.trace_id, u.above as span_id, sum(c.own_cost_pico) as cost_pico, coalesce(sum(c.unpriced), 0) as unpriced
    from d_run_above u left join d_run_call c on c.trace_id = u.trace_id and c.run = u.run
    group by all
), latest as (
    select u.trace_id, u.above as span_id, arg_max(e, (e.end_unix_nano, e.span_id)) as sub
    from d_run_above u join d_run_end e on e.trace_id = u.trace_id and e.span_id = u.run
    where u.run <> u.above and e.own_end is not null group by all
)
select s.trace_id, s.span_id, s.kind, coalesce(s.agent_name, s.tool_name, s.name) as agent_name, s.agent_version,
    coalesce(up.agent_name, up.name) as parent_agent, s.service_name, coalesce(s.environment, tr.environment) as environment,
    s.start_time, s.end_time, s.duration_ms,
    coalesce(e.decisions + case when e.wraps_tools then e.groups_inside_calls else 0 end, case when e.has_aggregate then coalesce(e.tool_groups, 0)
        + case when coalesce(e.own_end.reason, '') in ('iteration_cap', 'error') and e.tool_groups > 0 then 0 else 1 end end)::integer as loop_length,
    case when e.wraps_tools then 'tool_groups' when e.decisions is not null then 'model_calls' when e.has_aggregate then 'tool_groups' end as loop_evidence,
    case when c.trace_id is null then 0 when not (c.has_aggregate or c.wraps_tools) then c.model_calls end as model_calls,
    coalesce(t.tool_calls, 0) as tool_calls, coalesce(t.tool_errors, 0) as tool_errors,
    coalesce(t.distinct_tools, 0) as distinct_tools, coalesce(t.max_consecutive_repeat, 0) as max_consecutive_repeat,
    t.thrash_ratio, coalesce(t.max_repeats, 0) as max_repeats,
    coalesce(t.same_result_repeats, 0) as same_result_repeats, coalesce(t.same_error_repeats, 0) as same_error_repeats,
    coalesce(t.fanout_duplicates, 0) as fanout_duplicates, coalesce(t.cycle_repeats, 0) as cycle_repeats, t.cycle_period,
    t.thrash_level, case when t.trace_id is null then 0 else t.thrash_cost_pico end as thrash_cost_pico,
    coalesce(w.cost_pico, case when w.unpriced = 0 then 0 end) as cost_pico,
    coalesce(c.own_cost_pico, case when coalesce(c.unpriced, 0) = 0 then 0 end) as own_cost_pico,
    coalesce(e.own_end.reason, l.sub.own_end.reason, 'unknown') as termination_reason,
    case when e.own_end is not null then e.own_end.evidence when l.sub.own_end is not null then 'sub_agent' end as termination_evidence,
    coalesce(e.error_type, case when e.own_end is null then l.sub.error_type end) as error_type,
    coalesce(e.error_class, case when e.own_end is null then l.sub.error_class end) as error_class,
    s.iteration_limit, coalesce(e.decisions >= s.iteration_limit, false) as hit_limit, s.confidence
from d_run_span s
join d_run_end e using (trace_id, span_id)
left join d_span up on up.trace_id = s.trace_id
    and up.span_id = case when s.kind = 'agent' then s.parent_agent_span_id else s.agent_span_id end
left join d_trace tr on tr.trace_id = s.trace_id
left join d_run_call c on c.trace_id = s.trace_id and c.run = s.span_id
left join d_thrash t on t.trace_id = s.trace_id and t.run = s.span_id
left join whole w on w.trace_id = s.trace_id and w.span_id = s.span_id
left join latest l on l.trace_id = s.trace_id and l.span_id = s.span_id;
