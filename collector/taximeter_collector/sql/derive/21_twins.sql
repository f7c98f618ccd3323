-- Which spans are views of one call → d_twin, d_role, and what the call is by all of them → d_call, d_shadow.

-- One call seen by two instrumentations: the same response id within ten minutes (across traces too: a gateway, or an
-- SDK whose own span found no parent), else the same prompt inside the same time. An id that names no call counts as none (d_reused), and
-- one instrumentation that tells of different usage one after the other tells of two calls.
-- What is merged across traces must be found by macros/linked_traces.sql.
create or replace temp table d_twin as
with one as (
    select trace_id, span_id, kind, scope_name, service_name, parent_span_id, coalesce(prompt_tokens, -1) as prompt, output_tokens, has_usage,
        case when link_key(kind, response_id, null) not in (from d_reused) then response_id end as response_id, [response_model, request_model] as models, start_unix_nano, end_unix_nano, billed_reason
    from d_call where not is_aggregate
), shown as (  -- only prompts that two scopes tell of: a join of all calls of one size would be quadratic
    from one where billed_reason is null and (kind, prompt) in (
        select (kind, prompt) from one group by kind, prompt having min(scope_name) <> max(scope_name))
), lone as (from shown where parent_span_id is null),
alike as (
    select a, b from shown a join shown b on a.trace_id = b.trace_id and a.kind = b.kind and a.prompt = b.prompt
        and a.parent_span_id is not distinct from b.parent_span_id and a.scope_name <> b.scope_name
    union all
    select a, b from shown a join lone b on a.service_name = b.service_name and a.kind = b.kind and a.prompt = b.prompt
        and a.scope_name <> b.scope_name and a.trace_id <> b.trace_id
    union all
    select a, b from lone a join shown b on a.service_name = b.service_name and a.kind = b.kind and a.prompt = b.prompt
        and a.scope_name <> b.scope_name and a.trace_id <> b.trace_id
), same as (
    select a.trace_id, a.span_id, b.trace_id as twin_trace_id, b.span_id as twin_span_id, true as by_id
    from one a join one b on a.response_id = b.response_id and a.kind = b.kind
    where (a.trace_id, a.span_id) <> (b.trace_id, b.span_id)
        and abs(a.end_unix_nano::hugeint - b.end_unix_nano::hugeint) < 600_000_000_000
        and not coalesce(a.scope_name = b.scope_name and a.has_usage and b.has_usage
            and (a.prompt, a.output_tokens) is distinct from (b.prompt, b.output_tokens)
            and (a.end_unix_nano <= b.start_unix_nano or b.end_unix_nano <= a.start_unix_nano), false)
    union all
    select a.trace_id, a.span_id, b.trace_id, b.span_id, false
    from alike
    where (a.response_id is null or b.response_id is null)
        and (list_max(a.models) is null or list_max(b.models) is null or list_has_any(a.models, b.models))
        and ((a.start_unix_nano >= b.start_unix_nano and a.end_unix_nano <= b.end_unix_nano)
            or (b.start_unix_nano >= a.start_unix_nano and b.end_unix_nano <= a.end_unix_nano))
), told_late as (  -- the call may be the native span below the one that ended too early
    select l.trace_id, l.span_id, c.trace_id as twin_trace_id, c.span_id as twin_span_id
    from d_late l join one c on c.trace_id = l.call_trace_id and l.call_span_id in (c.span_id, c.parent_span_id)
)
select distinct * from same
union select *, false from told_late
union select twin_trace_id, twin_span_id, trace_id, span_id, false from told_late;

-- Of one call's spans, one says where it belongs (inside an agent before outside), one what was used (most detail first).
create or replace temp table d_role as
with ranked as (
    select trace_id, span_id, billed_reason, status, error_type, error_class,
        ((trace_id, span_id) in (select (trace_id, span_id) from d_late), agent_span_id is null, parent_span_id is null, not coalesce(has_usage, false), preference, start_unix_nano, trace_id, span_id) as place,
        (not coalesce(has_usage, false), prompt_tokens is null, uncached_input_tokens is null, cache_write_short_tokens is null,
            preference, start_unix_nano, trace_id, span_id) as detail
    from d_call where not is_aggregate
)
select a.trace_id, a.span_id,
    arg_min({'trace_id': b.trace_id, 'span_id': b.span_id}, b.place) filter (b.billed_reason is null and b.place < a.place) as billed_as,
    bool_or(t.by_id) as by_id,
    arg_min({'trace_id': b.trace_id, 'span_id': b.span_id}, b.detail) filter (b.detail < a.detail) as usage_of,
    arg_min({'type': b.error_type, 'class': b.error_class}, (coalesce(b.error_class, 'internal') = 'internal', b.place)) filter (b.status = 'error') as failure
from d_twin t
join ranked a using (trace_id, span_id)
join ranked b on b.trace_id = t.twin_trace_id and b.span_id = t.twin_span_id
group by all;

-- What the spans of one call say together → d_call: whether it is billed, what was used, and whether it failed.
create or replace temp table d_together as
select r.trace_id as of_trace_id, r.span_id as of_span_id, r.failure,
    case when r.billed_as is not null then case when r.by_id then 'same response id as ' else 'same call as ' end || r.billed_as.span_id end as same_as,
    d.span_id as usage_span_id, d.* exclude (trace_id, span_id, usage_span_id)
from d_role r
join d_call own using (trace_id, span_id)
left join d_call d on own.is_billed and r.billed_as is null and d.trace_id = r.usage_of.trace_id and d.span_id = r.usage_of.span_id;

update d_call c set
    billed_reason = coalesce(c.billed_reason, t.same_as), is_billed = c.is_billed and t.same_as is null, usage_span_id = t.usage_span_id,
    has_usage = taken(t.usage_span_id, t.has_usage, c.has_usage),
    unclassified_input_tokens = taken(t.usage_span_id, t.unclassified_input_tokens, c.unclassified_input_tokens),
    uncached_input_tokens = taken(t.usage_span_id, t.uncached_input_tokens, c.uncached_input_tokens),
    cache_read_tokens = taken(t.usage_span_id, t.cache_read_tokens, c.cache_read_tokens),
    cache_write_tokens = taken(t.usage_span_id, t.cache_write_tokens, c.cache_write_tokens),
    cache_write_short_tokens = taken(t.usage_span_id, t.cache_write_short_tokens, c.cache_write_short_tokens),
    cache_write_long_tokens = taken(t.usage_span_id, t.cache_write_long_tokens, c.cache_write_long_tokens),
    output_tokens = taken(t.usage_span_id, t.output_tokens, c.output_tokens),
    reasoning_tokens = taken(t.usage_span_id, t.reasoning_tokens, c.reasoning_tokens),
    audio_input_tokens = taken(t.usage_span_id, t.audio_input_tokens, c.audio_input_tokens),
    audio_cache_read_tokens = taken(t.usage_span_id, t.audio_cache_read_tokens, c.audio_cache_read_tokens),
    audio_output_tokens = taken(t.usage_span_id, t.audio_output_tokens, c.audio_output_tokens),
    image_input_tokens = taken(t.usage_span_id, t.image_input_tokens, c.image_input_tokens),
    image_output_tokens = taken(t.usage_span_id, t.image_output_tokens, c.image_output_tokens),
    web_searches = taken(t.usage_span_id, t.web_searches, c.web_searches), prompt_tokens = taken(t.usage_span_id, t.prompt_tokens, c.prompt_tokens),
    cache_reported = taken(t.usage_span_id, t.cache_reported, c.cache_reported), input_basis = taken(t.usage_span_id, t.input_basis, c.input_basis),
    basis_evidence = taken(t.usage_span_id, t.basis_evidence, c.basis_evidence),
    usage_conflict = taken(t.usage_span_id, t.usage_conflict, c.usage_conflict), usage_raw = taken(t.usage_span_id, t.usage_raw, c.usage_raw),
    total_tokens = taken(t.usage_span_id, t.prompt_tokens, c.prompt_tokens) + taken(t.usage_span_id, t.output_tokens, c.output_tokens)
        + coalesce(taken(t.usage_span_id, t.audio_output_tokens, c.audio_output_tokens), 0)
        + coalesce(taken(t.usage_span_id, t.image_output_tokens, c.image_output_tokens), 0),
    -- What came to nothing failed when any of the call's spans says so.
    status = case when c.status not in ('error', 'cancelled') and not coalesce(c.has_usage, false) and t.failure is not null then 'error' else c.status end,
    error_type = case when not coalesce(c.has_usage, false) and t.failure is not null and coalesce(c.error_class, 'internal') = 'internal' then t.failure.type else c.error_type end,
    error_class = case when not coalesce(c.has_usage, false) and t.failure is not null and coalesce(c.error_class, 'internal') = 'internal' then t.failure.class else c.error_class end,
    response_model = coalesce(t.response_model, c.response_model), response_id = coalesce(t.response_id, c.response_id),
    service_tier = coalesce(t.service_tier, c.service_tier), region_class = coalesce(t.region_class, c.region_class),
    finish_reason = coalesce(t.finish_reason, c.finish_reason), resend_count = coalesce(t.resend_count, c.resend_count),
    server_address = coalesce(t.server_address, c.server_address), provider_raw = coalesce(t.provider_raw, c.provider_raw),
    cost_reported_usd = coalesce(c.cost_reported_usd, t.cost_reported_usd), ttft_ms = coalesce(c.ttft_ms, t.ttft_ms),
    attempt = greatest(c.attempt, t.attempt), is_batch = c.is_batch or coalesce(t.is_batch, false)
from d_together t
where t.of_trace_id = c.trace_id and t.of_span_id = c.span_id;

-- Traces that hold nothing but another view of calls that are billed elsewhere: no requests of their own.
insert into d_shadow
select c.trace_id
from d_call c left join d_role r using (trace_id, span_id)
group by c.trace_id
having bool_and(coalesce(r.billed_as.trace_id <> c.trace_id, false))
    and not exists (from d_span s where s.trace_id = c.trace_id and s.kind in ('agent', 'tool', 'workflow', 'step'));
