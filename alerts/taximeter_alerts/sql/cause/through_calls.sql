-- A request with a model call of [$start, $end); with $only_failed: one that failed.
request_id in (
    select trace_id from calls
    where start_time >= $start and start_time < $end and (error_type is not null or not $only_failed)
        and {where}
)
