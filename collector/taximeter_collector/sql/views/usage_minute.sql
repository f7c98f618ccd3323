create or replace view usage_minute as select * from rollup.usage_minute;
