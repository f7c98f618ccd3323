-- The failed requests of [$start, $end) by the class of what they failed with, the most frequent first.
select coalesce(error_class, 'unknown') as error_class, count(*) as failed,
    coalesce(sum(cost_pico), 0)::double / 1e12 as cost_usd
from requests
where is_error and start_time >= $start and start_time < $end
    and {where}
group by all order by failed desc, error_class
