-- The tools that failed in [$start, $end), by class of failure, the most frequent first.
select tool_name, coalesce(error_class, 'unknown') as error_class, count(*) as failed
from tool_calls
where is_error and start_time >= $start and start_time < $end
    and ($agent_name is null or list_contains($agent_name, agent_name))
    and ($agent_version is null or list_contains($agent_version, agent_version))
    and ($environment is null or list_contains($environment, environment))
    and ($service_name is null or list_contains($service_name, service_name))
    and ($tenant is null or list_contains($tenant, tenant))
    and ($user_id is null or list_contains($user_id, user_id))
    and ($tool_name is null or list_contains($tool_name, tool_name))
group by all order by failed desc, tool_name, error_class limit 3
