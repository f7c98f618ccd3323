-- n_pick → n_typed, n_emitter, n_error: values as numbers, kinds, errors, what is known of the emitter.

create or replace temp table n_exception as
select "row", list_filter(events, lambda e: e.name = 'exception')[1].attributes as exception,
    exception['exception.type'] as exception_type, exception['exception.message'] as exception_message
from in_span where len(events) > 0;

create or replace temp table n_named as
select s."row", s.scope_name, s.scope_version, d.dialect, s.status_code = 2 as has_error_status,
    lower(coalesce(nullif(s.status_message, ''), x.exception_message)) as error_message,
    lower(coalesce(p.provider_raw, '')) as provider_seen,
    lower(concat_ws(' ', p.response_model, p.request_model)) as models_seen
from in_span s
join n_dialect d using ("row")
left join n_pick p using ("row")
left join n_exception x on x."row" = s."row";

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

-- Step by step, the numbers apart from the texts: an expression that names another one of its SELECT is planned with a copy of it.
create or replace temp table n_typed as
with counted as (
    -- A tool's status is a word of its emitter, or what isError and the like say.
    select n."row", m.said_class, m.said_finish, e.leaves_cache_out, e.cache_out_rank, e.leaves_reasoning_out, e.absent_read_is_zero,
        e.absent_write_is_zero, e.absent_resend_is_zero, e.has_two_lifetimes,
        coalesce(k.kind, case when tool_name is not null then 'tool'
            when dialect <> 'other' and coalesce(request_model, response_model) is not null and coalesce(stated_input, usage_raw) is not null then 'llm'
            else 'other' end) as kind_found,
        count_of(stated_input) as i, count_of(stated_output) as o, count_of(stated_uncached) as u,
        count_of(reported_total) as total, count_of(reasoning) as thought, count_of(cache_read) as read_stated,
        count_of(cache_write) as written, count_of(cache_write_short) as written_short, count_of(cache_write_long) as written_long,
        coalesce(count_of(audio_input), 0) as ai, coalesce(count_of(image_input), 0) as ii,
        coalesce(count_of(audio_output), 0) as ao, coalesce(count_of(image_output), 0) as io,
        has_error_status or error_type is not null or success = 'false' or error_level = 'ERROR' or lower(tool_status) in ('error', 'failed', 'failure', 'true') as says_error,
        exception_type is not null as has_exception,
        exists (from n_distrusted t where t.column_name = 'status' and t.scope_name = n.scope_name
            and t.scope_version is not distinct from n.scope_version) as has_no_status
    from n_named n
    left join n_pick p using ("row")
    left join n_exception x on x."row" = n."row"
    left join n_kind k using ("row")
    left join n_message m using (error_message)
    left join n_emitter e on e.scope_name is not distinct from n.scope_name and e.scope_version is not distinct from n.scope_version
        and e.provider_seen = n.provider_seen and e.models_seen = n.models_seen
), stated as (
    -- Some sum only what has no lifetime beside it.
    select *, greatest(written, written_short + coalesce(written_long, 0), written_long) as w_stated from counted
), settled as (
    -- Who knows what was written knows what was read.
    select *, coalesce(w_stated, case when absent_write_is_zero or kind_found = 'embedding' then 0 end) as w,
        coalesce(read_stated, case when absent_read_is_zero or w_stated is not null or kind_found = 'embedding' then 0 end) as r
    from stated
), summed as (
    -- Who leaves reasoning out of the output and does not tell it says it in the total.
    select * replace (coalesce(thought, case when leaves_reasoning_out and total = i + coalesce(r, 0) + coalesce(w, 0) + o then 0
            when leaves_reasoning_out and total >= i + o then total - i - o end) as thought),
        case when w = 0 then 0 else coalesce(case when written_long <= w then written_long end, w - written_short,
            case when not coalesce(has_two_lifetimes, false) then 0 end) end as l,
        coalesce(r, 0) + coalesce(w, 0) as cached
    from settled
), judged as (
    select "row", said_class, kind_found, said_finish is not null and kind_found in ('llm', 'embedding') as is_answered, said_finish,
        coalesce(leaves_cache_out, false) as leaves_cache_out, cache_out_rank,
        coalesce(has_two_lifetimes, false) as has_two_lifetimes, coalesce(absent_resend_is_zero, false) as absent_resend_is_zero,
        i, o, u, total, thought, w_stated, w, r, l, ai, ii, ao, io, cached,
        cached > coalesce(i, 0) or (cached > 0 and total = i + cached + o) as breaks_inclusive,
        thought > 0 and (thought > o or total = i + o + thought or total = i + cached + o + thought
            or leaves_reasoning_out and total is distinct from i + o) is true as reasoning_is_outside,
        -- An exception beside a status that says ok was handled, unless nothing came of the call or the status is always ok.
        (says_error or has_exception and (kind_found in ('llm', 'embedding') and i is null and o is null or has_no_status)) is true as failed
    from summed
)
select n."row", n.scope_name, n.scope_version, n.dialect, p.* exclude ("row", finish_reason), x.exception_type, x.exception_message,
    j.* exclude ("row", said_finish), coalesce(p.finish_reason, case when is_answered then said_finish end) as finish_reason,
    coalesce(error_type, exception_type, http_status) as error_type_found
from n_named n
join judged j using ("row")
left join n_pick p using ("row")
left join n_exception x on x."row" = n."row";

create or replace temp table n_error as
select seen.error_type_found, arg_min(rule.error_class, rule.rank) as error_class
from (select distinct unnest([error_type_found, http_status]) as error_type_found from n_typed where failed) as seen
join error_rule as rule on lower(seen.error_type_found) glob rule.pattern
group by all;
