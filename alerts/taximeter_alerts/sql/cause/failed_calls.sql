-- The model calls that failed in [$start, $end), by provider, model and class of failure, the most frequent first.
select coalesce(provider, '') || '/' || coalesce(model, '') as model,
    coalesce(error_class, 'unknown') as error_class, count(*) as failed
from calls
where error_type is not null and start_time >= $start and start_time < $end
    and ($agent_name is null or list_contains($agent_name, agent_name))
    and ($agent_version is null or list_contains($agent_version, agent_version))
    and ($environment is null or list_contains($environment, environment))
    and ($service_name is null or list_contains($service_name, service_name))
    and ($tenant is null or list_contains($tenant, tenant))
    and ($user_id is null or list_contains($user_id, user_id))
    and ($provider is null or list_contains($provider, provider))
    and ($model is null or list_contains($model, model))
group by all order by failed desc, model, error_class limit 3
