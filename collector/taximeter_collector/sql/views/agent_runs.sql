create or replace view agent_runs as
select *, cost_pico / 1e12 as cost_usd, own_cost_pico / 1e12 as own_cost_usd, thrash_cost_pico / 1e12 as thrash_cost_usd
from rollup.agent_run;
