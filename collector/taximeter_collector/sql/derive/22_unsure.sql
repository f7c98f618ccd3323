-- Calls whose usage or outcome is not what they say → d_call.
update d_call set has_usage = true, usage_conflict = false, basis_evidence = 'last_of_several', cache_reported = null,
    unclassified_input_tokens = null, uncached_input_tokens = null, cache_read_tokens = null, cache_write_tokens = null,
    cache_write_short_tokens = null, cache_write_long_tokens = null, output_tokens = null, reasoning_tokens = null,
    prompt_tokens = null, total_tokens = null, usage_raw = null
where is_billed and (trace_id, span_id) in (
    select (trace_id, span_id) from d_wrapping
    union all  -- a sum that leaves out what a sub-agent used
    select (t.trace_id, t.agent_span_id)
    from d_tree t join d_span s using (trace_id, span_id)
    join tool_rule rule on rule.role = 'delegation' and coalesce(s.scope_name, '') glob rule.scope and s.tool_name = rule.tool
    where s.kind = 'tool'
);

update d_call set status = 'error', error_type = coalesce(error_type, finish_reason), error_class = coalesce(error_class, 'internal')
where status <> 'error' and not coalesce(has_usage, false)
    and finish_reason in (select finish_reason from d_finish where finish_class = 'error');
