-- The failed requests of [$start, $end) by the class of what they failed with, the most frequent first;
-- those that a limit, a budget of the fleet or a guardrail ended by that.
select case when termination_reason in ('iteration_cap', 'tool_call_cap', 'token_budget', 'cost_budget', 'deadline',
        'low_confidence', 'thrashing', 'error_cascade', 'circuit_open', 'guardrail', 'handoff')
        then 'ended by ' || replace(termination_reason, '_', ' ')
        else coalesce(error_class, 'unknown') end as error_class,
    count(*) as failed, coalesce(sum(cost_pico), 0)::double / 1e12 as cost_usd
from requests
where is_error and start_time >= $start and start_time < $end
    and {where}
group by all order by failed desc, error_class
