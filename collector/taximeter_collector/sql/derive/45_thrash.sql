-- What an invocation spent on saying the same again → d_thrash (one row per invocation with tool executions).

-- Cycles A B A B A B: the key equals the one two or three places before and differs from its neighbour.
create or replace temp table d_cycle as
with counted as (
    select trace_id, run, key, start_unix_nano, span_id from d_tool_order where not is_retry and not is_fanout_duplicate
), compared as (
    select trace_id, run, period, row_number() over places as place,
        coalesce(key = case period when 2 then lag(key, 2) over places else lag(key, 3) over places end
            and key <> lag(key) over places, false) as continues
    from counted, (values (2), (3)) as periods(period)
    window places as (partition by trace_id, run, period order by start_unix_nano, span_id)
), stretch as (
    select trace_id, run, period, count(*) as length
    from (select *, place - row_number() over (partition by trace_id, run, period order by place) as island
          from compared where continues)
    group by trace_id, run, period, island
)
select trace_id, run, max((length + period) // period)::integer as cycle_repeats,
    arg_max(period, ((length + period) // period, -period))::integer as cycle_period
from stretch where (length + period) // period >= 3
group by all;

create or replace temp table d_thrash as
with cost as (
    select trace_id, run, sum(cost_pico) as thrash_cost_pico
    from (select distinct o.trace_id, o.run, o.decision_span_id, o.cost_pico
          from d_tool_order o join d_tool t using (trace_id, span_id)
          where t.is_repeat and o.decision_span_id is not null)
    group by all having count(*) = count(cost_pico)
), repeats as (
    select trace_id, run, max(n)::integer - 1 as repeats
    from (select o.trace_id, o.run, o.key, count(*) filter (t.is_repeat) + 1 as n
          from d_tool_order o join d_tool t using (trace_id, span_id) where o.key is not null group by all)
    group by all
), summed as (
    select trace_id, coalesce(agent_span_id, '') as run, count(*) filter (not is_delegation)::integer as tool_calls,
        count(*) filter (is_error and not is_delegation)::integer as tool_errors, len(list_distinct(list(tool_base(tool_name))))::integer as distinct_tools,
        max(consecutive_repeat)::integer as max_consecutive_repeat,
        count(*) filter (is_repeat)::integer as repeated_tool_calls,
        count(*) filter (is_repeat) / count(*) as thrash_ratio,
        count(*) filter (is_same_result)::integer as same_result_repeats,
        count(*) filter (is_same_error)::integer as same_error_repeats,
        count(*) filter (is_fanout_duplicate)::integer as fanout_duplicates,
        max(end_unix_nano) as last_end, max(start_unix_nano) as last_start
    from d_tool group by all
)
select s.*, coalesce(r.repeats, 0) as max_repeats, coalesce(c.cycle_repeats, 0) as cycle_repeats, c.cycle_period,
    case when s.repeated_tool_calls = 0 then 0 else cost.thrash_cost_pico end as thrash_cost_pico,
    (select arg_min(l.level, l.rank) from thrash_level l
     where l.at_least::integer <= case l.measure when 'consecutive_run' then s.max_consecutive_repeat
         when 'repeats' then coalesce(r.repeats, 0) when 'cycle_repeats' then coalesce(c.cycle_repeats, 0) end) as thrash_level
from summed s
left join repeats r using (trace_id, run)
left join d_cycle c using (trace_id, run)
left join cost using (trace_id, run);
