-- How many model calls in [$start, $end) there are to follow, and since when the newest $most of them.
select count(*) as calls, min(start_time) filter (place <= $most) as since
from (
    select start_time, row_number() over (order by start_time desc) as place
    from calls where start_time >= $start and start_time < $end and {where}
)
