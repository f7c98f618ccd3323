-- in_span, n_dialect, n_typed → n_masked: of spans whose texts are stored masked, what the roll-ups read in those texts
-- (derive/20, 28, 35, 50), read in what was sent.
create or replace temp table n_masked as
with changed as (
    select s."row", s.name, s.attributes, d.dialect,
        lower(coalesce(t.error_type_found, '') || ' ' || coalesce(nullif(s.status_message, ''), t.exception_message, '')) as said
    from in_span s join n_dialect d using ("row") join n_typed t using ("row")
    where s.stored_name is distinct from s.name or s.stored_status_message is distinct from s.status_message
        or s.stored_attributes is distinct from s.attributes or s.stored_events is distinct from s.events
), entry as (
    select c."row", pair.key, pair.value from changed c, unnest(map_entries(c.attributes)) as entry(pair)
), input as (
    select "row", md5(string_agg(key || value, chr(10) order by key, value)) as input_hash
    from entry where exists (from input_key k where entry.key glob k.pattern) group by "row"
), mark as (
    select "row", list(distinct mark) as marks from (
        select c."row", m.mark from changed c join span_mark m
            on m.key = 'span.name' and m.dialect in ('*', c.dialect) and lower(c.name) glob m.pattern
        union all
        select c."row", m.mark from entry join changed c using ("row") join span_mark m
            on m.key = entry.key and m.dialect = c.dialect and entry.value glob m.pattern
    ) group by "row"
), bound as (
    select "row", map_from_entries(list({k: says, v: tokens})) as bounds from (
        select "row", says, max(tokens) as tokens from (
            select "row", r.says, try_cast(case when r.path is null then value
                when json_valid(value) then value::json ->> r.path end as bigint) as tokens
            from entry join output_limit r using (key)
        ) where tokens between 1 and 1_000_000_000 group by all
    ) group by "row"
), ended as (
    select c."row", arg_min(rule.reason, rule.rank) as reason
    from changed c join termination_rule rule on c.said glob rule.pattern group by all
)
select c."row", {'input_hash': input_hash, 'marks': coalesce(marks, []), 'bounds': bounds, 'reason': reason} as masked
from changed c left join input using ("row") left join mark using ("row") left join bound using ("row") left join ended using ("row");
