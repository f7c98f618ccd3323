-- The insert itself: n_* and in_usage, in_hash (Arrow) → span. Parameters: $batch, $received_at.
insert into {day}.span by name
with based as (
    select s.* exclude (scope_name, scope_version), t.* exclude ("row"), u.* exclude ("row"),
        u."row" is not null and not u.is_unreadable as has_raw,
        h.arguments_hash as foreign_arguments_hash, h.result_hash as foreign_result_hash,
        case when t.u is null and t.breaks_inclusive then 'invariant' when t.u is null and t.leaves_cache_out then 'table' end as exclusive_by,
        t.i - coalesce(t.r, 0) - coalesce(t.w, 0) - t.ai - t.ii as inclusive_rest,
        coalesce(count_of(t.compaction_input), 0) as extra_input,
        coalesce(count_of(t.compaction_output), 0) + case when t.reasoning_is_outside then t.thought else 0 end as extra_output,
        coalesce(u.is_unreadable, false) as not_readable,
        coalesce(n_error.error_class, by_status.error_class, t.said_class) as class_found,
        -- The name is a fact where it is an agent's or a tool's.
        case when t.kind_found = 'agent' and coalesce(t.agent_name, t.entity_name) is null
            or t.kind_found = 'tool' and (coalesce(t.tool_name, t.entity_name) is null or s.name like 'tools/call%') then s.name
            else s.stored_name end as name_kept,
        n_masked.masked, in_usage_text."row" is not null as is_usage_cut, in_usage_text.usage_text
    from in_span s
    join n_typed t using ("row")
    left join in_usage u using ("row")
    left join in_hash h using ("row")
    left join n_error on n_error.error_type_found = t.error_type_found
    left join n_error as by_status on by_status.error_type_found = t.http_status
    left join n_masked using ("row")
    left join in_usage_text using ("row")
)
select
    $batch::ubigint as batch, $received_at::timestamptz as received_at,
    lower(hex(e.trace_id)) as trace_id, lower(hex(e.span_id)) as span_id,
    nullif(lower(hex(e.parent_span_id)), '') as parent_span_id,
    e.name_kept as name, e.kind as otel_kind, e.start_time as start_unix_nano, e.end_time as end_unix_nano,
    timezone('UTC', make_timestamp((e.start_time // 1000)::bigint)) as start_time,
    timezone('UTC', make_timestamp((e.end_time // 1000)::bigint)) as end_time,
    (e.end_time::hugeint - e.start_time::hugeint) / 1e6 as duration_ms,
    case when failed and lower(error_type_found) in ('cancelled', 'cancellederror', 'aborterror', '499',
              'asyncio.cancellederror', 'generatorexit') then 'cancelled'
        when failed and not is_answered then 'error' when e.status_code = 1 then 'ok' else 'unset' end as status,
    coalesce(nullif(stored_status_message, ''), case when failed then
        list_filter(stored_events, lambda ev: ev.name = 'exception')[1].attributes['exception.message'] end) as status_message, e.scope_name, e.scope_version,
    e.kept_attributes as attributes, n_resource.attributes as resource_attributes, e.stored_events as events, e.masked,
    e.signal, e.linked_span_id, e.is_side, e.is_cumulative,
    dialect, kind_found as kind, coalesce(operation, e.stored_name) as operation,
    n_resource.service_name, n_resource.service_version,
    coalesce(n_resource.environment, e.environment) as environment,
    case when failed then coalesce(error_type_found, 'error') end as error_type,
    case when failed then coalesce(case when kind_found = 'tool' then 'tool' end, class_found, 'internal') end as error_class,
    session_id, user_id, coalesce(tenant, n_resource.service_namespace) as tenant,
    case when tags like '[%' and json_valid(tags) then from_json(tags, '["VARCHAR"]')
        when tags is not null then string_split(tags, ',') end as tags,
    coalesce(agent_name, case when kind_found = 'agent' then coalesce(entity_name, regexp_replace(e.name, '\._\w+$', '')) end) as agent_name,
    coalesce(agent_version, case when agent_name is not null then n_resource.service_version end) as agent_version,
    provider_raw, server_address, regexp_replace(request_model, '\[1m\]$', '') as request_model,
    regexp_replace(response_model, '\[1m\]$', '') as response_model, response_id, request_id,
    case when has_raw then raw_uncached_input
        when u is not null then u + extra_input
        when i is null then null
        when exclusive_by is not null then greatest(i - ai - ii, 0) + extra_input
        when r is not null and w is not null then greatest(inclusive_rest, 0) + extra_input end as uncached_input_tokens,
    case when has_raw then case when raw_uncached_input is not null then 0 end
        when i is null then null
        when u is null and exclusive_by is null and (r is null or w is null) then greatest(inclusive_rest, 0) + extra_input
        else 0 end as unclassified_input_tokens,
    case when has_raw then raw_cache_read when i is not null then r end as cache_read_tokens,
    case when has_raw then raw_cache_write_short + raw_cache_write_long when i is not null then w end as cache_write_tokens,
    case when has_raw then raw_cache_write_short when i is not null then w - l end as cache_write_short_tokens,
    case when has_raw then raw_cache_write_long when i is not null then l end as cache_write_long_tokens,
    case when has_raw then raw_output when o is not null then greatest(o - ao - io, 0) + extra_output
        when kind_found = 'embedding' and i is not null then 0 end as output_tokens,
    case when has_raw then raw_reasoning else thought end as reasoning_tokens,
    case when has_raw then raw_audio_input when i is not null then ai end as audio_input_tokens,
    case when has_raw then raw_audio_cache_read when i is not null then 0 end as audio_cache_read_tokens,
    case when has_raw then raw_audio_output when i is not null then ao end as audio_output_tokens,
    case when has_raw then raw_image_input when i is not null then ii end as image_input_tokens,
    case when has_raw then raw_image_output when i is not null then io end as image_output_tokens,
    case when has_raw then raw_web_searches when i is not null then coalesce(count_of(e.web_searches), 0) end as web_searches,
    -- Known as soon as the emitter says how much of the prompt lies outside its input count.
    case when has_raw then raw_prompt when i is null then null when u is not null then u + cached + ai + ii + extra_input
        when exclusive_by is not null then greatest(i, ai + ii) + r + w + extra_input
        else greatest(i, cached + ai + ii) + extra_input end as prompt_tokens,
    has_raw or i > 0 or o > 0 as has_usage,
    case when has_raw then raw_cache_reported when i is not null then r is not null end as cache_reported,
    case when has_raw then raw_input_basis when i is not null then
        case when exclusive_by is not null or (u = i and cached > 0) then 'exclusive' else 'inclusive' end end as input_basis,
    case when has_raw then 'raw' when i is not null then coalesce(exclusive_by, case when u is not null then 'stated' when cache_out_rank is not null then 'table' else 'default' end) end as basis_evidence,
    case when has_raw then i is not null and i not in (raw_prompt, raw_uncached_input)
        when i is not null then (exclusive_by is null and u is null and inclusive_rest < 0) or (exclusive_by is not null and i < ai + ii) or coalesce(o - ao - io < 0, false)
            or coalesce(u + cached <> i and u <> i, false) or coalesce(l > w, false) or not_readable
        when not_readable then true end as usage_conflict,
    case when has_raw or not_readable then case when is_usage_cut then usage_text else usage_raw end end as usage_raw,
    service_tier, coalesce(lower(batch) in ('true', '1'), service_tier = 'batch', false) as is_batch, region_class,
    case when try_cast(cost_reported as double) > 0 then try_cast(cost_reported as double) end as cost_reported_usd,
    case when finish_reason like '[%' and json_valid(finish_reason) then json_extract_string(finish_reason, '$[0]')
        else finish_reason end as finish_reason,
    coalesce(try_cast(attempt as integer), 1) as attempt, coalesce(try_cast(resend_count as integer), try_cast(attempts_made as integer) - 1,
        case when absent_resend_is_zero and kind_found in ('llm', 'embedding') then 0 end) as resend_count,
    coalesce(try_cast(ttft_s as double) * 1000, try_cast(ttft_ms as double)) as ttft_ms,
    case when kind_found = 'tool' then coalesce(tool_name, entity_name, regexp_replace(e.name, '^(execute_tool|tools/call) |\.__call__$', '')) end as tool_name,
    tool_call_id, coalesce(arguments_hash, foreign_arguments_hash) as arguments_hash,
    coalesce(result_hash, foreign_result_hash) as result_hash,
    case when kind_found = 'tool' then coalesce(denied = 'true', false) end as is_denied,
    try_cast(iteration as integer) as iteration, termination_reason,
    try_cast(iteration_limit as integer) as iteration_limit, try_cast(confidence as double) as confidence,
    e.content, e.content_bytes, input_hash, marks, counted_output_tokens, max_output_tokens, choice_count
from based e
left join n_resource using (resource)
left join n_noted using ("row")
where is_span_id(e.trace_id, e.span_id);
