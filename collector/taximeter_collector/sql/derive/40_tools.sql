-- Tool executions, the spans of one execution merged → d_tool; the order of calls that can repeat → d_tool_order.

-- A tool span below another of the same tool, or with the same call id, is the same execution seen further down.
create or replace temp table d_tool_part as
with below as (
    select s.trace_id, s.span_id, t.tool_span_id as above, s.kind = 'tool' as is_tool, s.status, s.error_type,
        s.start_unix_nano, s.arguments_hash, s.result_hash, s.is_denied,
        s.trace_id in (select trace_id from d_mark m where m.span_id = s.span_id and m.mark = 'denied') as is_refused
    from d_span s
    join d_tree t using (trace_id, span_id)
    join d_span up on up.trace_id = t.trace_id and up.span_id = t.tool_span_id
    where (s.kind = 'tool' and (tool_base(s.tool_name) = tool_base(up.tool_name) or s.tool_call_id = up.tool_call_id
            or (s.name like 'tools/call%' and ends_with(tool_base(up.tool_name), '_' || tool_base(s.tool_name)))))
        or exists (from d_mark m where m.trace_id = s.trace_id and m.span_id = s.span_id and m.mark = 'tool_part')
)
select b.* exclude (above), coalesce(up2.above, up1.above, b.above) as tool_span_id
from below b
left join below up1 on up1.trace_id = b.trace_id and up1.span_id = b.above
left join below up2 on up2.trace_id = b.trace_id and up2.span_id = up1.above;

-- So is a server's side that names no caller and runs while the same tool's call does: an MCP server inside the program that
-- starts Claude Code, which passes no context on. A client may call every such tool the same (role any_tool in dialects/tools.csv).
insert into d_tool_part
select s.trace_id, s.span_id, true, s.status, s.error_type, s.start_unix_nano, s.arguments_hash, s.result_hash, s.is_denied, false,
    arg_max(up.span_id, (up.start_unix_nano, up.span_id))
from d_span s
join d_tree t on t.trace_id = s.trace_id and t.span_id = s.span_id and t.tool_span_id is null
join d_span up on up.trace_id = s.trace_id and up.kind = 'tool' and up.name not like 'tools/call%'
    and up.start_unix_nano <= s.end_unix_nano and up.end_unix_nano >= s.start_unix_nano
    and (tool_base(up.tool_name) = tool_base(s.tool_name) or ends_with(tool_base(up.tool_name), '_' || tool_base(s.tool_name))
        or exists (from tool_rule r where r.role = 'any_tool' and coalesce(up.scope_name, '') glob r.scope and lower(up.tool_name) glob r.tool))
where s.kind = 'tool' and s.otel_kind = 2 and s.name like 'tools/call%'
group by all;

create or replace temp table d_tool_named as
select seen.scope_name, seen.tool_name, list_distinct(list(rule.role)) as roles
from (select distinct scope_name, tool_name from d_span where kind = 'tool') as seen
join tool_rule rule on coalesce(seen.scope_name, '') glob rule.scope
    and (lower(seen.tool_name) glob lower(rule.tool) or tool_base(seen.tool_name) glob lower(rule.tool))
group by all;

-- An agent, or a loop of calls and tools, inside a tool execution: the tool hands the work to a sub-agent.
create or replace temp table d_delegation as
select t.trace_id, t.tool_span_id as span_id
from d_tree t
join d_span s using (trace_id, span_id)
left join (select trace_id, span_id from d_mark where mark = 'own_loop') own using (trace_id, span_id)
left join d_tool_part part using (trace_id, span_id)
where t.tool_span_id is not null
group by all
having bool_or(s.kind = 'agent' or own.span_id is not null) or (bool_or(s.kind = 'llm') and bool_or(s.kind = 'tool' and part.span_id is null));

-- Left out: an answer or a hand-over in the form of a tool call, what came from a cache, and the side of an MCP
-- server whose caller is in another trace.
create or replace temp table d_execution as
select s.trace_id, s.span_id, s.parent_span_id, s.name, s.dialect, s.signal, s.service_name, s.service_version, s.environment,
    s.start_time, s.end_time, s.duration_ms, s.status, s.session_id, s.user_id, s.tenant, s.tags, s.agent_name, s.agent_version,
    s.tool_name, s.tool_call_id, s.attempt, s.start_unix_nano, s.end_unix_nano,
    o.run_span_id, coalesce(n.roles, []) as roles, list_contains(coalesce(n.roles, []), 'delegation') or del.span_id is not null as is_delegation,
    coalesce(s.is_denied, false) or coalesce(p.is_denied, false) as denied,
    (s.status = 'error' or coalesce(p.last_status = 'error', false)) and not denied as failed,
    coalesce(s.error_type, nullif(p.last_error_type, '')) as found_error_type,
    coalesce(s.arguments_hash, p.arguments_hash) as found_arguments_hash,
    coalesce(s.result_hash, p.result_hash) as found_result_hash
from d_span s
join d_owner o using (trace_id, span_id)
join d_trace tr using (trace_id)
left join d_delegation del using (trace_id, span_id)
left join d_tool_named n on n.scope_name is not distinct from s.scope_name and n.tool_name = s.tool_name
left join (
    select trace_id, tool_span_id as span_id, bool_or(coalesce(is_denied, false) or is_refused) as is_denied,
        arg_max(status, (start_unix_nano, span_id)) as last_status,
        arg_max(coalesce(error_type, ''), (start_unix_nano, span_id)) as last_error_type,
        arg_min(arguments_hash, (start_unix_nano, span_id)) as arguments_hash,
        arg_min(result_hash, (start_unix_nano, span_id)) as result_hash
    from d_tool_part group by all
) p using (trace_id, span_id)
where s.kind = 'tool' and tr.is_request
    and not exists (from d_tool_part t where t.trace_id = s.trace_id and t.span_id = s.span_id)
    and not exists (from d_mark m where m.trace_id = s.trace_id and m.span_id = s.span_id and m.mark = 'not_executed');

-- The model decisions of each invocation in order; a tool execution belongs to the turn of the last one before it.
create or replace temp table d_decision as
select p.trace_id, coalesce(p.agent_span_id, '') as run, p.span_id, p.cost_pico, p.start_unix_nano,
    row_number() over (partition by p.trace_id, p.agent_span_id order by p.start_unix_nano, p.span_id) as turn
from d_priced p anti join d_side using (trace_id, span_id)
where p.is_billed and p.kind = 'llm';

-- Within one turn the same call again is an attempt of it (same id, or after a failure), else a parallel duplicate.
-- Without visible decisions only what is_parallel is parallel, and the id says nothing: a mock gives one to all calls.
-- JavaScript's clocks tell milliseconds: what begins with a tool was not what decided on it.
create or replace temp table d_tool_order as
with turned as (
    select e.trace_id, e.span_id, coalesce(e.run_span_id, '') as run, e.start_unix_nano, e.end_unix_nano, e.failed,
        e.tool_call_id, e.attempt, e.found_error_type, e.found_result_hash,
        -- What runs inside one span for several calls was not asked for at once.
        case when (d.trace_id, d.span_id) not in (select (trace_id, span_id) from d_wrapping) then d.turn end as turn, d.span_id as decision_span_id, d.cost_pico,
        list_contains(e.roles, 'mutating') as is_mutating,
        case when not list_contains(e.roles, 'polling') then tool_base(e.tool_name) || '|' || e.found_arguments_hash end as key
    from (select *, coalesce(run_span_id, '') as run from d_execution
          where not list_has_any(roles, ['answering', 'handoff'])) e
    asof left join d_decision d on d.trace_id = e.trace_id and d.run = e.run and e.start_unix_nano > d.start_unix_nano
), placed as (
    select *, lag(tool_call_id) over same as id_before, lag(failed) over same as failed_before,
        start_unix_nano < max(end_unix_nano) over (same rows between unbounded preceding and 1 preceding) as is_parallel,
        row_number() over same as nth
    from turned window same as (partition by trace_id, run, key, turn order by start_unix_nano, span_id)
)
select * exclude (id_before, failed_before, is_parallel, nth),
    coalesce(key is not null and (attempt > 1 or (nth > 1 and (turn is not null and tool_call_id = id_before
        or (failed_before and not is_parallel and coalesce(tool_call_id = id_before, true))))), false) as is_retry,
    coalesce(key is not null and nth > 1 and not is_retry and (turn is not null or is_parallel), false) as is_fanout_duplicate,
    sum(is_mutating::integer) over (partition by trace_id, run order by start_unix_nano, span_id) as writes_before
from placed;

create or replace temp table d_tool as
with counted as (
    select *, key || '|' || case when is_mutating then 0 else writes_before end as epoch_key,
        row_number() over (partition by trace_id, run order by start_unix_nano, span_id) as place
    from d_tool_order where not is_retry and not is_fanout_duplicate
), island as (
    select *, place - row_number() over same as island, row_number() over same as nth,
        lag(found_result_hash) over same as result_before, lag(failed) over same as failed_before,
        lag(found_error_type) over same as error_before
    from counted window same as (partition by trace_id, run, epoch_key order by place)
), judged as (
    select trace_id, span_id, key is not null and nth > 1 as is_repeat,
        case when key is null then 1
            else row_number() over (partition by trace_id, run, epoch_key, island order by place) end as consecutive_repeat,
        is_repeat and found_result_hash = result_before as is_same_result,
        is_repeat and failed and failed_before and found_error_type is not distinct from error_before as is_same_error
    from island
)
select e.* exclude (agent_name, agent_version, session_id, user_id, tenant, tags, environment, attempt, failed, denied,
        found_error_type, found_arguments_hash, found_result_hash, roles, run_span_id),
    e.run_span_id as agent_span_id,
    coalesce(ag.agent_name, e.agent_name, tr.agent_name, case when tr.is_complete then e.service_name end) as agent_name,
    coalesce(ag.agent_version, e.agent_version, tr.agent_version) as agent_version,
    coalesce(e.session_id, tr.session_id) as session_id, coalesce(e.user_id, tr.user_id) as user_id,
    coalesce(e.tenant, tr.tenant) as tenant, coalesce(e.tags, tr.tags) as tags,
    coalesce(e.environment, tr.environment) as environment,
    e.found_arguments_hash as arguments_hash, e.found_result_hash as result_hash,
    e.failed as is_error, e.denied as is_denied,
    case when e.failed or e.denied then e.found_error_type end as error_type, case when e.failed then 'tool' end as error_class,
    greatest(e.attempt, case when o.is_retry then 2 else 1 end) as attempt,
    coalesce(j.consecutive_repeat, 1)::integer as consecutive_repeat, coalesce(j.is_repeat, false) as is_repeat,
    o.is_fanout_duplicate, coalesce(j.is_same_result, false) as is_same_result, coalesce(j.is_same_error, false) as is_same_error
from d_execution e
join d_tool_order o using (trace_id, span_id)
left join judged j using (trace_id, span_id)
left join d_span ag on ag.trace_id = e.trace_id and ag.span_id = e.run_span_id and ag.kind = 'agent'
left join d_trace tr on tr.trace_id = e.trace_id;
