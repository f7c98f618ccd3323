-- The tool calls of [$start, $end) that only repeated an earlier one, by tool, the most frequent first.
select tool_name, count(*) filter (is_repeat) as repeated, count(*) as tool_calls
from tool_calls
where start_time >= $start and start_time < $end
    and ($agent_name is null or list_contains($agent_name, agent_name))
    and ($agent_version is null or list_contains($agent_version, agent_version))
    and ($environment is null or list_contains($environment, environment))
    and ($service_name is null or list_contains($service_name, service_name))
    and ($tenant is null or list_contains($tenant, tenant))
    and ($user_id is null or list_contains($user_id, user_id))
group by all having count(*) filter (is_repeat) > 0 order by repeated desc, tool_name limit 3
