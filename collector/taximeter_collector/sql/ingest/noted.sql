-- What the roll-ups need of attributes, read out while content is there: in_attribute, n_dialect → n_noted.
create or replace temp table n_noted as
with seen as materialized (
    select distinct key from in_attribute
), rule as (
    select key, 'input' as says, null as dialect, null as pattern, null as path
    from seen where exists (from input_key k where seen.key glob k.pattern)
    union all
    select key, m.mark, m.dialect, m.pattern, null from seen join span_mark m using (key) where key <> 'span.name'
    union all
    select key, l.says, null, null, l.path from seen join output_limit l using (key)
), told as (
    select a."row", r.says, r.pattern is not null as is_mark, hash(a.key, a.value) as pair,
        case when r.says in ('at_least', 'at_most', 'choices') then try_cast(case when r.path is null then a.value
            when json_valid(a.value) then a.value::json ->> r.path end as bigint) end as tokens
    from in_attribute a join rule r using (key)
    where r.pattern is null or a.value glob r.pattern
        and r.dialect in ('*', (select d.dialect from n_dialect d where d."row" = a."row"))
)
select "row", bit_xor(pair) filter (says = 'input') as input_hash, list_sort(list_distinct(list(says) filter (is_mark))) as marks,
    max(tokens) filter (says = 'at_least' and is_count) as counted_output_tokens,
    max(tokens) filter (says = 'at_most' and is_count) as max_output_tokens,
    max(tokens) filter (says = 'choices' and is_count) as choice_count
from (select *, tokens between 1 and 1_000_000_000 as is_count from told)
group by "row";
