-- The failed requests of [$start, $end) by the class of what they failed with, the most frequent first.
select coalesce(error_class, 'unknown') as error_class, count(*) as failed,
    coalesce(sum(cost_pico), 0)::double / 1e12 as cost_usd
from requests
where is_error and start_time >= $start and start_time < $end
    and ($agent_name is null or list_contains($agent_name, agent_name))
    and ($agent_version is null or list_contains($agent_version, agent_version))
    and ($environment is null or list_contains($environment, environment))
    and ($service_name is null or list_contains($service_name, service_name))
    and ($tenant is null or list_contains($tenant, tenant))
    and ($user_id is null or list_contains($user_id, user_id))
group by all order by failed desc, error_class
