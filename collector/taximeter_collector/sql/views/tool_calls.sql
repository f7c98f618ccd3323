create or replace view tool_calls as select * from rollup.tool_call;
