-- Calls that broke off before their output was counted → d_output_bound: how many tokens it was at least (the pieces that
-- came, taken for a token each, up to the limit) and at most (what the request allowed, times the choices it asked for). Rules: dialects/output_limits.csv.
create or replace temp table d_output_bound as
with teller as (
    select c.trace_id, c.span_id, d.span_id as told_by, d.batch
    from d_call c join d_span d on d.trace_id = c.trace_id and d.span_id in (c.span_id, c.usage_span_id)
    where c.output_tokens is null and c.is_billed and c.kind = 'llm' and c.signal <> 'metric'
), said as (
    select t.trace_id, t.span_id, r.says, try_cast(case when r.path is null then s.attributes[r.key]
        when json_valid(s.attributes[r.key]) then s.attributes[r.key]::json ->> r.path end as bigint) as tokens
    from teller t join span s on s.trace_id = t.trace_id and s.span_id = t.told_by and s.batch = t.batch
    cross join output_limit r where s.masked is null and s.attributes[r.key] is not null
    union all
    select t.trace_id, t.span_id, b.key, b.value
    from teller t join span s on s.trace_id = t.trace_id and s.span_id = t.told_by and s.batch = t.batch,
        unnest(map_entries(s.masked.bounds)) as bound(b)
), bound as (
    select trace_id, span_id, max(tokens) filter (says = 'at_least') as at_least,
        max(tokens) filter (says = 'at_most') * coalesce(max(tokens) filter (says = 'choices'), 1) as at_most
    from said where tokens between 1 and 1_000_000_000 group by all
)
select trace_id, span_id, case when at_least is not null then least(at_least, at_most) end as output_tokens_lower_bound, at_most as output_tokens_upper_bound
from bound where coalesce(at_least, at_most) is not null;
