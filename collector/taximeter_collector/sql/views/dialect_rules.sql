-- The rules by which spans are read, those of the user included: what `taximeter explain` reads a span with again.
create or replace view dialect_rules as
select 'detect_rule' as rule_table, rank, to_json(r)::varchar as fields from detect_rule r
union all select 'kind_rule', rank, to_json(r)::varchar from kind_rule r
union all select 'attribute_mapping', rank, to_json(r)::varchar from attribute_mapping r
union all select 'exclusive_rule', rank, to_json(r)::varchar from exclusive_rule r
union all select 'absent_is_zero', rank, to_json(r)::varchar from absent_is_zero r
union all select 'two_lifetimes', rank, to_json(r)::varchar from two_lifetimes r
union all select 'distrusted', rank, to_json(r)::varchar from distrusted r
union all select 'error_rule', rank, to_json(r)::varchar from error_rule r
union all select 'message_rule', rank, to_json(r)::varchar from message_rule r
union all select 'dialect_preference', rank, to_json(r)::varchar from dialect_preference r
union all select 'finish_rule', rank, to_json(r)::varchar from finish_rule r
union all select 'termination_rule', rank, to_json(r)::varchar from termination_rule r
union all select 'span_mark', rank, to_json(r)::varchar from span_mark r
union all select 'tool_rule', rank, to_json(r)::varchar from tool_rule r
union all select 'input_key', rank, to_json(r)::varchar from input_key r
union all select 'content_key', rank, to_json(r)::varchar from content_key r
union all select 'output_limit', rank, to_json(r)::varchar from output_limit r
union all select 'thrash_level', rank, to_json(r)::varchar from thrash_level r
union all select 'volatile_argument', null, to_json(r)::varchar from volatile_argument r
union all select 'event_rule', rank, to_json(r)::varchar from event_rule r
union all select 'signal_rule', rank, to_json(r)::varchar from signal_rule r
union all select 'metric_rule', rank, to_json(r)::varchar from metric_rule r
union all select 'nested_rule', rank, to_json(r)::varchar from nested_rule r;
