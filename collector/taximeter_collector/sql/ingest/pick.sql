-- in_span, in_attribute, in_resource_attribute (Arrow) → n_key, n_resource, n_dialect, n_kind, n_pick (one row a span).

-- The keys of the rules that each attribute's key is read as: itself; where no rule names it, one of the same letters and
-- digits (genAi.usage.inputTokens); else every pattern that its snake_case meets (*.prompt_tokens), or nothing.
create or replace temp table n_key as
with named as (
    select key, letters_of(key) as letters, min(rank) as rank
    from (select key, rank from attribute_mapping union all select key, rank from kind_rule)
    group by all
), seen as (
    select key, key in (select key from named) as is_named from (select distinct key from in_attribute)
), alike as (
    select seen.key, arg_min(named.key, named.rank) as read_as
    from seen join named on named.letters = letters_of(seen.key) where not is_named and not contains(named.key, '*')
    group by all
)
select key, key as read_as from seen where is_named
union all from alike
union all
select seen.key, named.key
from seen left join named on contains(named.key, '*') and snake_case(seen.key) glob named.key
where not is_named and seen.key not in (select key from alike);

create or replace temp table n_resource as
select resource, map_from_entries(list({k: key, v: stored_value}) filter (value is null or stored_value is not null)) as attributes,
    max(value) filter (key = 'service.name') as service_name,
    max(value) filter (key = 'service.version') as service_version,
    max(value) filter (key = 'service.namespace') as service_namespace,
    max(value) filter (key in ('deployment.environment.name', 'deployment.environment')) as environment
from (select resource, key, first(value) as value, first(stored_value) as stored_value from in_resource_attribute group by all)
group by resource;

-- The dialect of a span: the first rule that its scope, its resource or any of its attribute keys meets.
create or replace temp table n_dialect as
with resource_rank as (
    select seen.resource, min(rule.rank) as rank
    from (select distinct resource, key || '=' || value as pair from in_resource_attribute) as seen
    join detect_rule as rule on rule.place = 'resource' and seen.pair glob rule.pattern
    group by all
), scope_rank as (
    select scope_name, min(rule.rank) as rank
    from (select distinct scope_name from in_span) as seen
    join detect_rule as rule on rule.place = 'scope' and seen.scope_name glob rule.pattern
    group by all
), key_rank as (
    select seen.key, min(rule.rank) as rank
    from (
        select key, case when contains(read_as, '*') then snake_case(key) else coalesce(read_as, key) end as read_as from n_key
    ) as seen
    join detect_rule as rule on rule.place = 'attribute' and seen.read_as glob rule.pattern
    group by all
), marker_rank as (
    select a."row", min(k.rank) as rank from in_attribute a join key_rank k using (key) group by all
)
select s."row", s.scope_name, s.scope_version, coalesce(rule.dialect, 'other') as dialect, rule.rank
from in_span s
left join resource_rank r using (resource)
left join scope_rank sc on sc.scope_name is not distinct from s.scope_name
left join marker_rank m on m."row" = s."row"
left join detect_rule rule on rule.rank = least(sc.rank, r.rank, m.rank);

create or replace temp table n_kind as
with name_kind as (
    select seen.dialect, seen.name, arg_min(rule.kind, rule.rank) as kind, min(rule.rank) as rank
    from (select distinct d.dialect, s.name from in_span s join n_dialect d using ("row")) as seen
    join kind_rule as rule on rule.key = 'span.name' and seen.name glob rule.value
        and (rule.dialect = '*' or rule.dialect = seen.dialect)
    group by all
)
select "row", arg_min(kind, rank) as kind, nullif(min(rank), -2147483648) as rank
from (
    select a."row", rule.kind, rule.rank
    from (
        select "row", read_as as key, unnest(['*', trim(value, '"')]) as value from in_attribute join n_key using (key)
        where read_as in (select key from kind_rule)
    ) as a
    join kind_rule rule on rule.key = a.key and lower(rule.value) = lower(a.value)
    join n_dialect d on d."row" = a."row" and (rule.dialect = '*' or rule.dialect = d.dialect)
    union all
    select s."row", n.kind, n.rank
    from in_span s join n_dialect d using ("row") join name_kind n on n.dialect = d.dialect and n.name = s.name
    union all
    select "row", given_kind, -2147483648 from in_span where given_kind is not null
)
group by "row";

-- Values that an emitter is known to get wrong; they count as not sent.
create or replace temp table n_distrusted as
select seen.scope_name, seen.scope_version, rule."column" as column_name, rule."value"
from (select distinct scope_name, scope_version from n_dialect) as seen
join distrusted as rule on seen.scope_name glob rule.scope and is_version_up_to(seen.scope_version, rule.version_up_to);

-- Each column takes the first of its sources that is there (attribute_mapping, in order of rank): attributes of the
-- span, and of its events.
create or replace temp table n_source as
select a."row", m.column_name, m.rank,
    case when m.path is null then a.value else json_text(a.value, m.path) end as value
from (
    select "row", read_as as key, value from in_attribute join n_key using (key)
    union all  -- an attribute of an event: event.name:key
    select s."row", e.name || ':' || pair.key, pair.value
    from in_span s, unnest(s.events) as event(e), unnest(map_entries(e.attributes)) as entry(pair)
    where e.name in (select split_part(key, ':', 1) from attribute_mapping where key like '%:%')
) a
join attribute_mapping m on m.key = a.key
join n_dialect d on d."row" = a."row" and (m.dialect = '*' or m.dialect = d.dialect)
where not exists (
    from n_distrusted t where t.scope_name = d.scope_name and t.scope_version is not distinct from d.scope_version
        and t.column_name = m.column_name
        and case when m.path is null then a.value else json_text(a.value, m.path) end glob t."value"
);
