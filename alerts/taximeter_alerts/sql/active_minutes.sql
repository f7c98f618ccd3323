-- The minutes from $start on in which anything was counted: a window without one of them at its ends holds what it held.
select distinct minute from usage_minute where minute >= $start
union
select distinct date_trunc('minute', start_time) from requests where start_time >= $start;
