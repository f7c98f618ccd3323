-- The model calls that failed in [$start, $end), by provider, model and class of failure, the most frequent first.
select coalesce(provider, '') || '/' || coalesce(model, '') as model,
    coalesce(error_class, 'unknown') as error_class, count(*) as failed
from calls
where is_billed and status = 'error' and start_time >= $start and start_time < $end
    and {where}
group by all order by failed desc, model, error_class limit 3
