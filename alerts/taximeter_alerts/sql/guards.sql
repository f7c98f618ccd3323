-- Limits an agent's completed runs would have kept, and what they would have done to its runs in [$start, $end): one row
-- an agent and limit. A limit is the least that stops at most one completed run in a thousand; what a run would have cost
-- up to it is its share of the run, of money what is above it.
with runs as (
    select agent_name, termination_reason = 'completed' as is_completed, cost_pico, duration_ms, loop_length
    from agent_runs where start_time >= $start and start_time < $end and agent_name is not null
), measured as (
    select agent_name, is_completed, cost_pico, unnest([
        {limit_name: 'iterations', value: loop_length::double, whole: true},
        {limit_name: 'cost_usd', value: cost_pico / 1e12, whole: false},
        {limit_name: 'deadline_s', value: duration_ms / 1000, whole: true}], recursive := true)
    from runs
), kept as (
    select agent_name, limit_name, count(*) as runs, count(*) filter (is_completed) as completed,
        quantile_disc(value, 0.999) filter (is_completed) as highest, any_value(whole) as whole
    from measured where value is not null group by all having completed >= $least
), limited as (
    -- Two figures are enough for a limit, and it is rounded up.
    select *, case when whole then ceil(highest)
        else ceil(highest / power(10, floor(log10(greatest(highest, 1e-9))) - 1)) * power(10, floor(log10(greatest(highest, 1e-9))) - 1)
        end as limit_value
    from kept
)
select l.agent_name, l.limit_name, l.limit_value, l.runs, l.completed,
    count(*) filter (m.value > l.limit_value) as stopped,
    count(*) filter (m.value > l.limit_value and m.is_completed) as stopped_completed,
    coalesce(sum(m.cost_pico * (1 - l.limit_value / m.value)) filter (m.value > l.limit_value), 0) / 1e12 as saved_usd,
    coalesce(sum(m.cost_pico), 0) / 1e12 as spent_usd
from limited l join measured m on m.agent_name = l.agent_name and m.limit_name = l.limit_name and m.value is not null
group by all order by saved_usd desc, l.agent_name, l.limit_name;
