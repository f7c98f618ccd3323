-- A request with a model call of [$start, $end); with $only_failed: one that failed.
request_id in (
    select trace_id from calls
    where is_billed and start_time >= $start and start_time < $end and (status = 'error' or not $only_failed)
        and {where}
)
