-- A request with a tool call of [$start, $end); with $only_failed: one that failed.
request_id in (
    select trace_id from tool_calls
    where is_delegation is not true and start_time >= $start and start_time < $end and (is_error or not $only_failed)
        and {where}
)
