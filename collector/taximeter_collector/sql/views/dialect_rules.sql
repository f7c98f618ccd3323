-- The rules by which spans are read, those of the user included: what `taximeter explain` reads a span with again.
create or replace view dialect_rules as
select 'detect_rule' as rule_table, rank, to_json(r)::varchar as fields from detect_rule r
union all select 'kind_rule', rank, to_json(r)::varchar from kind_rule r
union all select 'attribute_mapping', rank, to_json(r)::varchar from attribute_mapping r
union all select 'exclusive_rule', rank, to_json(r)::varchar from exclusive_rule r
union all select 'error_rule', rank, to_json(r)::varchar from error_rule r
union all select 'dialect_preference', rank, to_json(r)::varchar from dialect_preference r;
