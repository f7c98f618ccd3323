-- The tools that failed in [$start, $end), by class of failure, the most frequent first.
select tool_name, coalesce(error_class, 'unknown') as error_class, count(*) as failed
from tool_calls
where is_error and is_delegation is not true and start_time >= $start and start_time < $end
    and {where}
group by all order by failed desc, tool_name, error_class limit 3
