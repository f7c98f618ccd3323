-- Which span is the call, when several carry the same tokens → d_call (unpriced), d_shadow.

-- Spans that stand above a model call, and above a span that carries a sum.
create or replace temp table d_above as
with recursive up as (
    select trace_id, parent_span_id as span_id, true as of_call, coalesce(has_usage, false) as with_usage
    from d_span where kind in ('llm', 'embedding') and dialect <> 'other' and parent_span_id is not null
    union
    select trace_id, parent_span_id, false, true
    from d_span where kind in ('agent', 'workflow', 'chain', 'step') and has_usage and parent_span_id is not null
    union
    select s.trace_id, s.parent_span_id, up.of_call, up.with_usage
    from up join d_span s using (trace_id, span_id) where s.parent_span_id is not null
)
select trace_id, span_id, bool_or(of_call) as above_call,
    bool_or(of_call and with_usage) as above_usage, bool_or(not of_call) as above_sum
from up group by all;

-- A streamed call can be told twice: by a span that ends before the answer is there, and by one of no length that comes
-- after it with the usage. The second belongs to the latest such span of the same scope, model and input.
-- What is merged across traces must be found by macros/linked_traces.sql.
create or replace temp table d_late as
with pair as (
    select p.trace_id, p.span_id, b.trace_id as call_trace_id, b.span_id as call_span_id, b.start_unix_nano
    from d_span p join d_span b on b.kind = p.kind and b.signal = p.signal and b.scope_name = p.scope_name
        and b.service_name is not distinct from p.service_name and b.request_model is not distinct from p.request_model
        and b.start_unix_nano <= p.start_unix_nano and p.start_unix_nano - b.start_unix_nano < 600_000_000_000
        and (b.trace_id = p.trace_id and b.parent_span_id is not distinct from p.parent_span_id
            or b.trace_id <> p.trace_id and (b.parent_span_id is null or p.parent_span_id is null))
    where p.kind = 'llm' and p.signal = 'span' and p.start_unix_nano = p.end_unix_nano
        and b.start_unix_nano < b.end_unix_nano and not coalesce(b.has_usage, false)
        and p.input_hash is not distinct from b.input_hash
)
select trace_id, span_id, call_trace_id, call_span_id from pair
qualify row_number() over (partition by trace_id, span_id order by start_unix_nano desc, call_span_id) = 1;

create or replace temp table d_candidate as
select s.*, t.agent_span_id, coalesce(p.preference::integer, 5) as preference,
    s.kind not in ('llm', 'embedding') or s.signal = 'metric' as is_aggregate,
    case when operation = 'fetch_response' then 'fetch of a stored response'
        when s.dialect = 'other' then 'dialect is not known'
        when s.kind in ('llm', 'embedding') and above_usage then 'sum of the calls below it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and above_call then 'a call below it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and t.is_below_call then 'part of the call above it'
        when s.kind in ('llm', 'embedding') and not coalesce(s.has_usage, false) and s.status <> 'error'
            and coalesce(s.response_id, s.finish_reason) is null
            and (s.trace_id, s.span_id) not in (select (call_trace_id, call_span_id) from d_late)
            and exists (from d_span other where other.trace_id = s.trace_id and other.parent_span_id = s.parent_span_id
                and other.scope_name = s.scope_name and other.kind = s.kind and other.has_usage) then 'a step of the call beside it'
        when s.kind not in ('llm', 'embedding') and (above_call or above_sum) then 'sum of the calls below it'
        when s.kind not in ('llm', 'embedding') and t.is_below_call then 'part of the call above it'
    end as not_billed_by_tree
from d_span s
left join d_tree t using (trace_id, span_id)
left join d_above a using (trace_id, span_id)
left join dialect_preference p using (dialect)
where s.kind in ('llm', 'embedding') or (s.kind in ('agent', 'workflow', 'chain', 'step') and s.has_usage)
union all by name
select * exclude (reason, kept_trace_id, kept_span_id), false as is_aggregate, 9 as preference, reason as not_billed_by_tree
from d_told where kind in ('llm', 'embedding') or has_usage and kind in ('agent', 'workflow', 'chain', 'step');

create or replace temp table d_finish as
select seen.finish_reason, arg_min(rule.finish_class, rule.rank) as finish_class
from (select distinct finish_reason from d_candidate where finish_reason is not null) as seen
join finish_rule rule
    on regexp_replace(lower(seen.finish_reason), '^finish_?reason[._]', '') glob rule.pattern
group by all;

-- A client that runs the tools itself inside one span shows one call for several, with the last one's usage at best;
-- unless it is known to open such a span for every call (mark one_call).
create or replace temp table d_wrapping as
select distinct c.trace_id, c.span_id
from d_candidate c
join d_span t on t.trace_id = c.trace_id and t.parent_span_id = c.span_id and t.kind = 'tool'
left join d_finish f on f.finish_reason = c.finish_reason
where c.kind = 'llm' and c.signal = 'span' and c.not_billed_by_tree is null and coalesce(f.finish_class, '') <> 'tool'
    and not case when c.masked is not null then list_contains(c.masked.marks, 'one_call')
        else exists (from span_mark m where m.mark = 'one_call' and m.key = 'span.name' and m.dialect in ('*', c.dialect) and lower(c.name) glob m.pattern) end;

-- One call seen by two instrumentations: the same response id within ten minutes (across traces too: a gateway, or an
-- SDK whose own span found no parent), else the same prompt inside the same time.
-- What is merged across traces must be found by macros/linked_traces.sql.
create or replace temp table d_twin as
with one as (
    select trace_id, span_id, kind, scope_name, service_name, parent_span_id, coalesce(prompt_tokens, -1) as prompt, response_id,
        [response_model, request_model] as models, start_unix_nano, end_unix_nano, not_billed_by_tree
    from d_candidate where not is_aggregate
), shown as (  -- only prompts that two scopes tell of: a join of all calls of one size would be quadratic
    from one where not_billed_by_tree is null and (kind, prompt) in (
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
    select trace_id, span_id, not_billed_by_tree, status, error_type, error_class,
        ((trace_id, span_id) in (select (trace_id, span_id) from d_late), agent_span_id is null, parent_span_id is null, not coalesce(has_usage, false), preference, start_unix_nano, trace_id, span_id) as place,
        (not coalesce(has_usage, false), prompt_tokens is null, uncached_input_tokens is null, cache_write_short_tokens is null,
            preference, start_unix_nano, trace_id, span_id) as detail
    from d_candidate where not is_aggregate
)
select a.trace_id, a.span_id,
    arg_min({'trace_id': b.trace_id, 'span_id': b.span_id}, b.place) filter (b.not_billed_by_tree is null and b.place < a.place) as billed_as,
    bool_or(t.by_id) as by_id,
    arg_min({'trace_id': b.trace_id, 'span_id': b.span_id}, b.detail) filter (b.detail < a.detail) as usage_of,
    arg_min({'type': b.error_type, 'class': b.error_class}, (coalesce(b.error_class, 'internal') = 'internal', b.place)) filter (b.status = 'error') as failure
from d_twin t
join ranked a using (trace_id, span_id)
join ranked b on b.trace_id = t.twin_trace_id and b.span_id = t.twin_span_id
group by all;

create or replace temp table d_call as
with placed as (
    select c.*, r.usage_of, r.billed_as, r.failure,
        coalesce(not_billed_by_tree, case when r.billed_as is not null then
            case when r.by_id then 'same response id as ' else 'same call as ' end || r.billed_as.span_id end) as billed_reason
    from d_candidate c left join d_role r using (trace_id, span_id)
)
select c.* exclude (agent_name, agent_version, session_id, user_id, tenant, tags, environment, not_billed_by_tree, preference, usage_of, billed_as, failure)
    replace (
        taken(d.span_id, d.has_usage, c.has_usage) as has_usage, taken(d.span_id, d.unclassified_input_tokens, c.unclassified_input_tokens) as unclassified_input_tokens,
        taken(d.span_id, d.uncached_input_tokens, c.uncached_input_tokens) as uncached_input_tokens, taken(d.span_id, d.cache_read_tokens, c.cache_read_tokens) as cache_read_tokens,
        taken(d.span_id, d.cache_write_tokens, c.cache_write_tokens) as cache_write_tokens, taken(d.span_id, d.cache_write_short_tokens, c.cache_write_short_tokens) as cache_write_short_tokens,
        taken(d.span_id, d.cache_write_long_tokens, c.cache_write_long_tokens) as cache_write_long_tokens, taken(d.span_id, d.output_tokens, c.output_tokens) as output_tokens,
        taken(d.span_id, d.reasoning_tokens, c.reasoning_tokens) as reasoning_tokens, taken(d.span_id, d.audio_input_tokens, c.audio_input_tokens) as audio_input_tokens,
        taken(d.span_id, d.audio_cache_read_tokens, c.audio_cache_read_tokens) as audio_cache_read_tokens, taken(d.span_id, d.audio_output_tokens, c.audio_output_tokens) as audio_output_tokens,
        taken(d.span_id, d.image_input_tokens, c.image_input_tokens) as image_input_tokens, taken(d.span_id, d.image_output_tokens, c.image_output_tokens) as image_output_tokens,
        taken(d.span_id, d.web_searches, c.web_searches) as web_searches, taken(d.span_id, d.prompt_tokens, c.prompt_tokens) as prompt_tokens,
        taken(d.span_id, d.cache_reported, c.cache_reported) as cache_reported, taken(d.span_id, d.input_basis, c.input_basis) as input_basis,
        taken(d.span_id, d.basis_evidence, c.basis_evidence) as basis_evidence, taken(d.span_id, d.usage_conflict, c.usage_conflict) as usage_conflict,
        taken(d.span_id, d.usage_raw, c.usage_raw) as usage_raw,
        -- What came to nothing failed when any of the call's spans says so.
        case when c.status not in ('error', 'cancelled') and not coalesce(c.has_usage, false) and c.failure is not null then 'error' else c.status end as status,
        case when not coalesce(c.has_usage, false) and c.failure is not null and coalesce(c.error_class, 'internal') = 'internal' then c.failure.type else c.error_type end as error_type,
        case when not coalesce(c.has_usage, false) and c.failure is not null and coalesce(c.error_class, 'internal') = 'internal' then c.failure.class else c.error_class end as error_class,
        coalesce(d.response_model, c.response_model) as response_model, coalesce(d.response_id, c.response_id) as response_id, coalesce(d.service_tier, c.service_tier) as service_tier,
        coalesce(d.region_class, c.region_class) as region_class, coalesce(d.finish_reason, c.finish_reason) as finish_reason, coalesce(d.resend_count, c.resend_count) as resend_count,
        coalesce(d.server_address, c.server_address) as server_address, coalesce(d.provider_raw, c.provider_raw) as provider_raw,
        coalesce(c.cost_reported_usd, d.cost_reported_usd) as cost_reported_usd, coalesce(c.ttft_ms, d.ttft_ms) as ttft_ms,
        greatest(c.attempt, d.attempt) as attempt, c.is_batch or coalesce(d.is_batch, false) as is_batch),
    d.span_id as usage_span_id,
    coalesce(c.agent_name, ag.agent_name, tr.agent_name, case when tr.is_complete then c.service_name end) as agent_name,
    coalesce(c.agent_version, ag.agent_version, tr.agent_version) as agent_version,
    coalesce(c.session_id, tr.session_id) as session_id, coalesce(c.user_id, tr.user_id) as user_id,
    coalesce(c.tenant, tr.tenant) as tenant, coalesce(c.tags, tr.tags) as tags,
    coalesce(c.environment, tr.environment) as environment,
    c.billed_reason is null as is_billed, coalesce(c.billed_as.trace_id <> c.trace_id, false) as is_billed_elsewhere,
    taken(d.span_id, d.prompt_tokens, c.prompt_tokens) + taken(d.span_id, d.output_tokens, c.output_tokens)
        + coalesce(taken(d.span_id, d.audio_output_tokens, c.audio_output_tokens), 0)
        + coalesce(taken(d.span_id, d.image_output_tokens, c.image_output_tokens), 0) as total_tokens
from placed c
left join d_candidate d on c.billed_reason is null and d.trace_id = c.usage_of.trace_id and d.span_id = c.usage_of.span_id
left join d_span ag on ag.trace_id = c.trace_id and ag.span_id = c.agent_span_id
left join d_trace tr on tr.trace_id = c.trace_id;

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

-- Traces that hold nothing but another view of calls that are billed elsewhere: no requests of their own.
create or replace temp table d_shadow as
select trace_id from d_call group by trace_id
having bool_and(is_billed_elsewhere)
    and not exists (from d_span s where s.trace_id = d_call.trace_id and s.kind in ('agent', 'tool', 'workflow', 'step'));
