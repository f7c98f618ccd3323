-- in_span, in_attribute, in_resource_attribute (Arrow) → n_resource, n_dialect, n_kind, n_pick (one row a span).

create or replace temp table n_resource as
select resource, map_from_entries(list({k: key, v: value})) as attributes,
    max(value) filter (key = 'service.name') as service_name,
    max(value) filter (key = 'service.version') as service_version,
    max(value) filter (key = 'service.namespace') as service_namespace,
    max(value) filter (key in ('deployment.environment.name', 'deployment.environment')) as environment
from (select resource, key, first(value) as value from in_resource_attribute group by all)
group by resource;

-- The dialect of a span: the first rule that its scope, its service or any of its attribute keys meets.
create or replace temp table n_dialect as
with scope_rank as (
    select scope_name, service_name, min(rule.rank) as rank
    from (select distinct s.scope_name, r.service_name
          from in_span s left join n_resource r using (resource)) as seen
    join detect_rule as rule
        on (rule.place = 'scope' and seen.scope_name glob rule.pattern)
        or (rule.place = 'service' and seen.service_name glob rule.pattern)
    group by all
), key_rank as (
    select seen.key, min(rule.rank) as rank
    from (select distinct key from in_attribute) as seen
    join detect_rule as rule on rule.place = 'attribute' and seen.key glob rule.pattern
    group by all
), marker_rank as (
    select a."row", min(k.rank) as rank from in_attribute a join key_rank k using (key) group by all
)
select s."row", coalesce(rule.dialect, 'other') as dialect, rule.rank
from in_span s
left join n_resource r using (resource)
left join scope_rank sc on sc.scope_name is not distinct from s.scope_name
    and sc.service_name is not distinct from r.service_name
left join marker_rank m on m."row" = s."row"
left join detect_rule rule on rule.rank = least(sc.rank, m.rank);

create or replace temp table n_kind as
select "row", arg_min(kind, rank) as kind, nullif(min(rank), -2147483648) as rank
from (
    select a."row", rule.kind, rule.rank
    from in_attribute a join kind_rule rule on rule.key = a.key and rule.value in ('*', trim(a.value, '"'))
    union all
    select s."row", rule.kind, rule.rank
    from in_span s join kind_rule rule on rule.key = 'span.name' and rule.value = s.name
    union all
    select "row", given_kind, -2147483648 from in_span where given_kind is not null
)
group by "row";

-- Each column takes the first of its sources that is there (attribute_mapping, in order of rank).
create or replace temp table n_source as
select a."row", m.column_name,  m.rank,
    case when m.path is null then a.value
         when json_valid(a.value) then json_extract_string(a.value, m.path) end as value
from in_attribute a
join attribute_mapping m on m.key = a.key
join n_dialect d on d."row" = a."row" and (m.dialect = '*' or m.dialect = d.dialect);
