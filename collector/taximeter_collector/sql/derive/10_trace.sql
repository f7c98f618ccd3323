-- The spans of the traces to look at → d_tree (nearest agent, workflow and tool above; below a call with usage?), d_trace (whose it is).

create or replace temp table d_tree as
with recursive down as (
    select s.trace_id, s.span_id, null::varchar as parent_agent_span_id,
        case when s.kind = 'agent' then s.span_id end as agent_span_id,
        case when s.kind = 'workflow' then s.span_id end as workflow_span_id, null::varchar as tool_span_id, s.kind,
        false as is_below_call, s.kind in ('llm', 'embedding') and s.dialect <> 'other' and coalesce(s.has_usage, false) as is_call
    from d_span s
    where not exists (from d_span p where p.trace_id = s.trace_id and p.span_id = s.parent_span_id)
    union all
    select c.trace_id, c.span_id, d.agent_span_id,
        case when c.kind = 'agent' then c.span_id else d.agent_span_id end,
        case when c.kind = 'workflow' then c.span_id when c.kind <> 'agent' then d.workflow_span_id end,
        case when d.kind = 'tool' then d.span_id when d.kind not in ('agent', 'llm', 'embedding') then d.tool_span_id end, c.kind,
        d.is_below_call or d.is_call, c.kind in ('llm', 'embedding') and c.dialect <> 'other' and coalesce(c.has_usage, false)
    from down d join d_span c on c.trace_id = d.trace_id and c.parent_span_id = d.span_id
)
select * exclude (kind) from down;

create or replace temp table d_trace as
with root as (
    select trace_id, unnest(arg_min({'span_id': span_id, 'parent_span_id': parent_span_id, 'name': name, 'kind': kind, 'status': status,
        'error_type': error_type, 'error_class': error_class, 'termination_reason': termination_reason, 'start_time': start_time,
        'end_time': end_time, 'service_name': service_name, 'service_version': service_version, 'agent_name': agent_name,
        'agent_version': agent_version}, (parent_span_id is not null, start_unix_nano, span_id)))
    from d_span s
    where s.signal <> 'metric' and (not exists (from d_span p where p.trace_id = s.trace_id and p.span_id = s.parent_span_id)
        or not exists (from d_tree t where t.trace_id = s.trace_id))  -- nothing but a cycle
    group by trace_id
)
select s.trace_id, any_value(root.span_id) as root_span_id,
    any_value(root.parent_span_id is null) as is_complete,
    any_value(root.name) as name, any_value(root.kind) as root_kind, any_value(root.status) as root_status,
    any_value(root.error_type) as root_error_type, any_value(root.error_class) as root_error_class,
    any_value(root.termination_reason) as root_termination_reason,
    bool_or(s.kind = 'agent') as has_agent, bool_or(s.kind = 'agent' and s.dialect <> 'taximeter') as has_foreign_agent,
    -- A trace of nothing but plumbing (HTTP, an MCP server's side of a call) is no request to an agent.
    bool_or(s.kind <> 'other' and not (s.kind = 'tool' and s.otel_kind = 2)) as is_request,
    any_value(root.start_time) as start_time,
    coalesce(any_value(root.end_time) filter (root.parent_span_id is null), max(s.end_time)) as end_time,
    coalesce(any_value(root.service_name), arg_min(s.service_name, (s.start_unix_nano, s.span_id))) as service_name,
    arg_min(s.environment, (s.start_unix_nano, s.span_id)) as environment,
    arg_min(s.session_id, (s.start_unix_nano, s.span_id)) as session_id,
    arg_min(s.user_id, (s.start_unix_nano, s.span_id)) as user_id,
    arg_min(s.tenant, (s.start_unix_nano, s.span_id)) as tenant,
    arg_min(s.tags, (s.start_unix_nano, s.span_id)) as tags,
    -- The request's agent is the outermost. Before the root has arrived it is whose call came first, where calls say that:
    -- a loop that runs for an hour must not run under nobody's name.
    case when is_complete then coalesce(any_value(case when root.kind = 'agent' then root.agent_name end),
            arg_min(s.agent_name, (s.start_unix_nano, s.span_id)) filter (s.kind = 'agent'),
            arg_min(s.agent_name, (s.start_unix_nano, s.span_id)))
        else arg_min(s.agent_name, (s.start_unix_nano, s.span_id)) filter (s.kind in ('llm', 'embedding')) end as agent_name,
    case when is_complete then coalesce(any_value(case when root.kind = 'agent' then root.agent_version end),
        arg_min(s.agent_version, (s.start_unix_nano, s.span_id)) filter (s.kind = 'agent'),
        any_value(root.service_version)) end as agent_version,
    count(*)::integer as span_count, min(f.first_batch) as first_batch,
    min(s.received_at) as first_received_at, max(s.received_at) as last_received_at
from d_span s join root using (trace_id) join d_first f using (trace_id)
group by s.trace_id;
