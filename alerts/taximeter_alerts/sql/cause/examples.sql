-- The three requests of [$start, $end) that show an alert best; $show says by what.
select request_id, cost_pico::double as cost_pico, loop_length, duration_ms, error_class
from requests
where start_time >= $start and start_time < $end
    and {where}
order by case $show when 'failed' then is_error::int::double when 'loop' then loop_length::double
    when 'slow' then duration_ms when 'uncached' then uncached_input_tokens::double
    else cost_pico::double end desc nulls last, start_time desc
limit 3
