-- The traces with calls that started in [$from, $to), each with its spans, oldest first.
select c.trace_id, any_value(r.span_count) as spans
from rollup.call c join rollup.request r on r.request_id = c.trace_id
where c.start_time >= coalesce($from::timestamptz, '-infinity') and c.start_time < coalesce($to::timestamptz, 'infinity')
    and r.first_batch >= (select min(batch) from span)
group by c.trace_id order by min(c.start_time), c.trace_id;
