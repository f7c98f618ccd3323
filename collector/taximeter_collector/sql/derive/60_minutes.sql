-- The minutes that the touched traces had or have → d_minute.
create or replace temp table d_minute as
select distinct date_trunc('minute', start_time) as minute from (
    select start_time from rollup.request where request_id in (select trace_id from d_touched)
        and start_time between getvariable('stored_time').first and getvariable('stored_time').last
    union all select start_time from rollup.call where trace_id in (select trace_id from d_touched)
        and start_time between getvariable('stored_time').first and getvariable('stored_time').last
    union all select start_time from rollup.tool_call where trace_id in (select trace_id from d_touched)
        and start_time between getvariable('stored_time').first and getvariable('stored_time').last
    union all select start_time from d_request
    union all select start_time from d_priced
    union all select start_time from d_tool
) where start_time is not null;
