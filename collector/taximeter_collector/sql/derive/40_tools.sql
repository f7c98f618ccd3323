-- Tool executions with their repeats → d_tool.
create or replace temp table d_tool as
with once as (
    select s.*, t.agent_span_id
    from d_span s
    left join d_tree t using (trace_id, span_id)
    left join d_span p on p.trace_id = s.trace_id and p.span_id = s.parent_span_id
    where s.kind = 'tool' and (p.kind is distinct from 'tool' or p.tool_name is distinct from s.tool_name)
), ordered as (
    select *, tool_name || '|' || arguments_hash as repeat_key,
        row_number() over run as turn,
        row_number() over (partition by trace_id, agent_span_id, tool_name, arguments_hash
            order by start_unix_nano, span_id) as turn_of_key
    from once window run as (partition by trace_id, agent_span_id order by start_unix_nano, span_id)
)
select o.* exclude (agent_name, agent_version, session_id, user_id, tenant, tags, environment, turn, turn_of_key, repeat_key),
    coalesce(ag.agent_name, o.agent_name, tr.agent_name, case when tr.is_complete then o.service_name end) as agent_name,
    coalesce(ag.agent_version, o.agent_version, tr.agent_version) as agent_version,
    coalesce(o.session_id, tr.session_id) as session_id, coalesce(o.user_id, tr.user_id) as user_id,
    coalesce(o.tenant, tr.tenant) as tenant, coalesce(o.tags, tr.tags) as tags,
    coalesce(o.environment, tr.environment) as environment,
    o.status = 'error' and not coalesce(o.is_denied, false) as is_error,
    case when o.repeat_key is null then 1 else row_number() over (
        partition by o.trace_id, o.agent_span_id, o.repeat_key, o.turn - o.turn_of_key order by o.turn)
    end::integer as consecutive_repeat,
    o.repeat_key is not null and o.turn_of_key > 1 and o.attempt = 1 as is_repeat
from ordered o
left join d_span ag on ag.trace_id = o.trace_id and ag.span_id = o.agent_span_id
left join d_trace tr on tr.trace_id = o.trace_id;
