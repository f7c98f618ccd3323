-- n_pick → n_typed, n_emitter, n_error: values as numbers, kinds, errors, what is known of the emitter.

create or replace temp table n_exception as
select "row", list_filter(events, lambda e: e.name = 'exception')[1].attributes as exception,
    exception['exception.type'] as exception_type, exception['exception.message'] as exception_message
from in_span where len(events) > 0;

create or replace temp table n_named as
select s."row", s.scope_name, s.scope_version, d.dialect, p.* exclude ("row"),
    s.status_code = 2 as has_error_status, lower(coalesce(nullif(s.status_message, ''), p.exception_message)) as error_message,
    lower(coalesce(p.provider_raw, '')) as provider_seen,
    lower(concat_ws(' ', p.response_model, p.request_model)) as models_seen
from in_span s
join n_dialect d using ("row")
left join (select n_pick.*, x.exception_type, x.exception_message from n_pick full join n_exception x using ("row")) p using ("row");

-- What the rule files know of an emitter: scope, version, provider and models together.
create or replace temp table n_emitter as
with seen as (select distinct scope_name, scope_version, provider_seen, models_seen from n_named where dialect <> 'other'),
exclusive as (
    select seen.*, rule.leaf, coalesce(rule.basis, 'exclusive') as basis, rule.rank
    from seen join exclusive_rule as rule
        on coalesce(seen.scope_name, '') glob rule.scope and provider_seen glob rule.provider
        and is_version_up_to(seen.scope_version, rule.version_up_to)
), zero as (
    select seen.*, rule."column" as column_name
    from seen join absent_is_zero as rule
        on coalesce(seen.scope_name, '') glob rule.scope and provider_seen glob rule.provider and models_seen glob rule.model
)
select seen.*,
    coalesce(arg_min(exclusive.basis, exclusive.rank) filter (exclusive.leaf = 'cache') = 'exclusive', false) as leaves_cache_out,
    min(exclusive.rank) filter (exclusive.leaf = 'cache') as cache_out_rank,
    coalesce(arg_min(exclusive.basis, exclusive.rank) filter (exclusive.leaf = 'reasoning') = 'exclusive', false) as leaves_reasoning_out,
    bool_or(zero.column_name in ('*', 'cache_read')) is true as absent_read_is_zero,
    bool_or(zero.column_name in ('*', 'cache_write')) is true as absent_write_is_zero,
    bool_or(zero.column_name = 'resend_count') is true as absent_resend_is_zero,
    exists (from two_lifetimes as rule where seen.provider_seen glob rule.provider and seen.models_seen glob rule.model) as has_two_lifetimes
from seen
left join exclusive on exclusive.scope_name is not distinct from seen.scope_name
    and exclusive.scope_version is not distinct from seen.scope_version
    and exclusive.provider_seen = seen.provider_seen and exclusive.models_seen = seen.models_seen
left join zero on zero.scope_name is not distinct from seen.scope_name
    and zero.scope_version is not distinct from seen.scope_version
    and zero.provider_seen = seen.provider_seen and zero.models_seen = seen.models_seen
group by all;

-- What the text of an error says that nothing else does: its class, or that it was an answer which ended early.
create or replace temp table n_message as
select seen.error_message,
    arg_min(rule.error_class, rule.rank) filter (rule.error_class is not null) as said_class,
    arg_min(rule.finish_reason, rule.rank) filter (rule.finish_reason is not null) as said_finish
from (select distinct error_message from n_named where error_message is not null) as seen
join message_rule as rule on seen.error_message glob rule.pattern
group by all;

create or replace temp table n_typed as
select n.* exclude (has_error_status, provider_seen, models_seen, error_message, finish_reason), m.said_class,
    coalesce(k.kind, case when tool_name is not null then 'tool'
        when dialect <> 'other' and request_model is not null and stated_input is not null then 'llm'
        else 'other' end) as kind_found,
    said_finish is not null and kind_found in ('llm', 'embedding') as is_answered,
    coalesce(n.finish_reason, case when is_answered then said_finish end) as finish_reason,
    coalesce(e.leaves_cache_out, false) as leaves_cache_out, e.cache_out_rank,
    coalesce(e.has_two_lifetimes, false) as has_two_lifetimes, coalesce(e.absent_resend_is_zero, false) as absent_resend_is_zero,
    count_of(stated_input) as i, count_of(stated_output) as o, count_of(stated_uncached) as u,
    count_of(reported_total) as total, count_of(reasoning) as thought,
    -- Some sum only what has no lifetime beside it.
    greatest(count_of(cache_write), count_of(cache_write_short) + coalesce(count_of(cache_write_long), 0), count_of(cache_write_long)) as w_stated,
    coalesce(w_stated, case when e.absent_write_is_zero or kind_found = 'embedding' then 0 end) as w,
    -- Who knows what was written knows what was read.
    coalesce(count_of(cache_read), case when e.absent_read_is_zero or w_stated is not null or kind_found = 'embedding' then 0 end) as r,
    case when w = 0 then 0 else coalesce(case when count_of(cache_write_long) <= w then count_of(cache_write_long) end, w - count_of(cache_write_short),
        case when not has_two_lifetimes then 0 end) end as l,
    coalesce(count_of(audio_input), 0) as ai, coalesce(count_of(image_input), 0) as ii,
    coalesce(count_of(audio_output), 0) as ao, coalesce(count_of(image_output), 0) as io,
    coalesce(r, 0) + coalesce(w, 0) as cached,
    cached > coalesce(i, 0) or (cached > 0 and total = i + cached + o) as breaks_inclusive,
    thought > 0 and (thought > o or total = i + o + thought or total = i + cached + o + thought
        or e.leaves_reasoning_out and total is distinct from i + o) is true as reasoning_is_outside,
    coalesce(error_type, exception_type, http_status) as error_type_found,
    (has_error_status or error_type is not null or success = 'false'
        or error_level = 'ERROR' or tool_status = 'error'
        -- An exception beside a status that says ok was handled, unless nothing came of the call or the status is always ok.
        or exception_type is not null and (kind_found in ('llm', 'embedding') and i is null and o is null
            or exists (from n_distrusted t where t.column_name = 'status' and t.scope_name = n.scope_name
                and t.scope_version is not distinct from n.scope_version))) is true as failed
from n_named n
left join n_kind k using ("row")
left join n_message m using (error_message)
left join n_emitter e on e.scope_name is not distinct from n.scope_name and e.scope_version is not distinct from n.scope_version
    and e.provider_seen = n.provider_seen and e.models_seen = n.models_seen;

create or replace temp table n_error as
select seen.error_type_found, arg_min(rule.error_class, rule.rank) as error_class
from (select distinct unnest([error_type_found, http_status]) as error_type_found from n_typed where failed) as seen
join error_rule as rule on lower(seen.error_type_found) glob rule.pattern
group by all;
