-- Points (in_point_item, in_point_attribute) of metrics that count tokens or cost → n_told, n_point_attribute, by
-- metric_rule: the points of one series (same attributes but for the kind of token) at one time are one row.
create or replace temp table n_point as
with named as (
    select p.*, rule.rank, rule.attribute, rule.type_key,
        map_entries(map_from_entries(list_filter(map_entries(p.attributes),
            lambda e: e.key is distinct from rule.type_key and e.key <> 'gen_ai.token.modality')))::varchar as series
    from in_point_item p
    join metric_rule rule on rule.metric = p.name and coalesce(p.scope_name, '') glob rule.scope
        and (rule.type_key is null or p.attributes[rule.type_key] = rule.type_value)
    where p.value is not null and p.end_time > 0
    qualify row_number() over (partition by p."row" order by rule.rank) = 1
)
select n.*, md5(concat_ws(chr(31), r.attributes::varchar, scope_name, series, is_cumulative)) as series_id
from named n left join (select resource, map_from_entries(list({k: key, v: value} order by key, value)) as attributes
    from (select resource, key, first(value) as value from in_resource_attribute group by all) group by resource) r using (resource)
where n.attribute is not null
-- Old and new names of one count: the first of the rules. A point sent again is one point, also in one group commit.
qualify rank = min(rank) over (partition by request, resource, scope_name, attribute)
    and row_number() over (partition by series_id, name, list_sort(map_entries(n.attributes)), start_time, end_time
        order by "row") = 1;

-- Counters of one call may start some milliseconds apart; what is exported together belongs together.
create or replace temp table n_series as
select series_id, end_time, is_cumulative,
    min("row") as "row", min(start_time) as start_time, any_value(request) as request, any_value(resource) as resource,
    any_value(scope_name) as scope_name, any_value(scope_version) as scope_version,
    min_by(name, rank) as name, min_by(attributes, rank) as attributes,
    min_by(stored_attributes, rank) as stored_attributes
from n_point group by series_id, end_time, is_cumulative;

create or replace temp table n_told as
select "row", request, resource, scope_name, scope_version, unhex(series_id) as trace_id,
    unhex(left(md5(concat_ws(chr(31), series_id, case when is_cumulative then null else start_time end, end_time)), 16)) as span_id,
    ''::blob as parent_span_id, name, 0 as kind,
    case when start_time = 0 then end_time else start_time end as start_time, end_time, attributes,
    stored_attributes as kept_attributes, null::map(varchar, varchar) as content, null::bigint as content_bytes,
    null::struct("time" ubigint, "name" varchar, attributes map(varchar, varchar))[] as events,
    name as stored_name, '' as stored_status_message, stored_attributes,
    null::struct("time" ubigint, "name" varchar, attributes map(varchar, varchar))[] as stored_events,
    0 as status_code, '' as status_message, 'metric' as signal, 'llm' as given_kind, false as is_side,
    is_cumulative, null::varchar as linked_span_id
from n_series;

create or replace temp table n_point_attribute as
select "row", key, value from in_point_attribute where "row" in (select "row" from n_told)
union all
select s."row", p.attribute, case when p.attribute in (select key from attribute_mapping where column_name = 'cost_reported') then sum(p.value)::varchar else sum(p.value)::bigint::varchar end
from n_point p join n_series s on s.end_time = p.end_time and s.is_cumulative = p.is_cumulative and s.series_id = p.series_id
group by s."row", p.attribute;
