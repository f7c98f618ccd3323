-- in_span, n_dialect, n_typed → n_masked: of spans whose texts are stored masked, what the roll-ups read in the name and in
-- the error (derive/20, 35, 50), read in what was sent. What they need of attributes is in n_noted.
create or replace temp table n_masked as
with changed as (
    select s."row", s.name, d.dialect,
        lower(coalesce(t.error_type_found, '') || ' ' || coalesce(nullif(s.status_message, ''), t.exception_message, '')) as said
    from in_span s join n_dialect d using ("row") join n_typed t using ("row")
    where s.stored_name is distinct from s.name or s.stored_status_message is distinct from s.status_message
        or s.stored_attributes is distinct from s.attributes or s.stored_events is distinct from s.events
), mark as (
    select c."row", list(distinct m.mark) as marks
    from changed c join span_mark m on m.key = 'span.name' and m.dialect in ('*', c.dialect) and lower(c.name) glob m.pattern
    group by all
), ended as (
    select c."row", arg_min(rule.reason, rule.rank) as reason
    from changed c join termination_rule rule on c.said glob rule.pattern group by all
)
select c."row", {'marks': coalesce(marks, []), 'reason': reason} as masked
from changed c left join mark using ("row") left join ended using ("row");
