-- The three requests of [$start, $end) that show an alert best; $show says by what.
select request_id, cost_pico::double as cost_pico, loop_length, duration_ms, error_class
from requests
where start_time >= $start and start_time < $end
    and ($agent_name is null or list_contains($agent_name, agent_name))
    and ($agent_version is null or list_contains($agent_version, agent_version))
    and ($environment is null or list_contains($environment, environment))
    and ($service_name is null or list_contains($service_name, service_name))
    and ($tenant is null or list_contains($tenant, tenant))
    and ($user_id is null or list_contains($user_id, user_id))
order by case $show when 'failed' then is_error::int::double when 'loop' then loop_length::double
    when 'slow' then duration_ms when 'uncached' then uncached_input_tokens::double
    else cost_pico::double end desc nulls last, start_time desc
limit 3
