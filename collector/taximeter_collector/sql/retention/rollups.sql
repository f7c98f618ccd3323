-- Derived rows that began before $before leave; those of a trace by the start of its request.
delete from rollup.call where start_time < $before;
delete from rollup.call_link where start_time < $before;
delete from rollup.tool_call where start_time < $before;
delete from rollup.agent_run where start_time < $before;
delete from rollup.request where start_time < $before;
delete from rollup.usage_minute where minute < $before;
delete from rollup.repriced_call where (trace_id, span_id) not in (select (trace_id, span_id) from rollup.call);
