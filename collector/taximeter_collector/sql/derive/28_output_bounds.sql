-- Calls that broke off before their output was counted → d_output_bound: how many tokens it was at least (the pieces that
-- came, taken for a token each, up to the limit) and at most (what the request allowed, times the choices it asked for). Rules: dialects/output_limits.csv.
create or replace temp table d_output_bound as
with teller as (
    select c.trace_id, c.span_id, d.counted_output_tokens, d.max_output_tokens, d.choice_count
    from d_call c join d_span d on d.trace_id = c.trace_id and d.span_id in (c.span_id, c.usage_span_id)
    where c.output_tokens is null and c.is_billed and c.kind = 'llm' and c.signal <> 'metric'
), bound as (
    select trace_id, span_id, max(counted_output_tokens) as at_least,
        max(max_output_tokens) * coalesce(max(choice_count), 1) as at_most
    from teller group by all
)
select trace_id, span_id, case when at_least is not null then least(at_least, at_most) end as output_tokens_lower_bound, at_most as output_tokens_upper_bound
from bound where coalesce(at_least, at_most) is not null;
