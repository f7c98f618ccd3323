-- The tool calls of [$start, $end) that only repeated an earlier one, by tool, the most frequent first.
select tool_name, count(*) filter (is_repeat) as repeated, count(*) as tool_calls
from tool_calls
where start_time >= $start and start_time < $end
    and {where}
group by all having count(*) filter (is_repeat) > 0 order by repeated desc, tool_name limit 3
