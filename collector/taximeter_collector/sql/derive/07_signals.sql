-- One call or tool told by a span and by a log event, or one tool call by several spans: the better teller stays
-- in d_span and takes the other's facts; the other moves to d_told (shown, never billed).
create or replace temp table d_item as
select s.trace_id, s.span_id, s.signal, case when s.kind in ('tool', 'agent') then 'tool' else 'call' end as class,
    s.linked_span_id, coalesce(s.session_id, t.session_id) as session_id, s.service_name, s.scope_name,
    case when s.id_key not in (from d_reused) then s.response_id end as response_id, s.request_id, s.tool_call_id,
    coalesce(length(s.tool_call_id) >= 16 and s.id_key not in (from d_reused), false) as is_unique_id, s.tool_name, s.start_unix_nano, s.end_unix_nano,
    s.prompt_tokens as prompt,
    s.output_tokens, s.output_tokens - coalesce(s.reasoning_tokens, 0) as said_tokens, coalesce(s.has_usage, false) as has_usage, s.status,
    coalesce(try_cast(r.rank as integer), case s.signal when 'span' then 1 when 'log' then 2 end)
        + case when exists (from nested_rule n where s.scope_name glob n.scope) then 5 else 0 end
        + case when s.kind <> 'tool' and not coalesce(s.has_usage, false) and s.kind <> 'agent' and s.status <> 'error' then 10 else 0 end as place
from (select *, link_key(kind, response_id, tool_call_id) as id_key from d_span) s
left join (select trace_id, arg_min(session_id, start_unix_nano) as session_id from d_span group by trace_id) t using (trace_id)
left join signal_rule r on r.dialect = s.dialect and r.signal = s.signal
where s.signal <> 'metric' and (s.kind in ('llm', 'embedding', 'tool') or s.kind = 'agent' and s.tool_call_id is not null);

create or replace temp table d_same as
with log_item as (select * from d_item where signal = 'log'), span_item as (select * from d_item where signal = 'span'),
-- One tool call that waited (for a human, say) is told again when it goes on, up to a day later. A short id such as
-- call_0, or one that many calls share, is given anew in every turn: there only spans of one trace that overlap are one tool call.
tool_item as (
    select *, sum((start_unix_nano > over_at)::integer) over (partition by "key" order by start_unix_nano, end_unix_nano desc, span_id) as chain
    from (
        select s, "key", s.start_unix_nano, s.end_unix_nano, s.span_id,
            coalesce(max(s.end_unix_nano + case when s.is_unique_id then 86_400_000_000_000 else 0 end) over (
                partition by "key" order by s.start_unix_nano, s.end_unix_nano desc, s.span_id
                rows between unbounded preceding and 1 preceding), s.start_unix_nano) as over_at
        from (
            select s, case when is_unique_id then tool_call_id else trace_id || ' ' || tool_call_id end as "key"
            from span_item s where class = 'tool' and tool_call_id is not null
        )
    )
), tool_best as (
    select "key", chain, arg_min(s, (s.place, s.start_unix_nano, -s.end_unix_nano::hugeint, s.span_id)) as best
    from tool_item group by all having count(*) > 1
),
pair as (
    select s as of_span, l as of_log from span_item s join log_item l on l.class = s.class and l.linked_span_id = s.span_id
    union all
    select s, l from span_item s join log_item l on l.class = 'call' and s.class = 'call' and l.request_id = s.request_id
    union all
    select s, l from span_item s join log_item l on l.class = 'call' and s.class = 'call' and l.response_id = s.response_id
    union all  -- of one emitter, written inside the span with its very counts, under ids that nothing else has
    select s, l from span_item s join log_item l on l.class = 'call' and s.class = 'call' and l.scope_name = s.scope_name
        and l.service_name = s.service_name and l.prompt = s.prompt and l.output_tokens = s.output_tokens
        and l.start_unix_nano >= s.start_unix_nano and l.start_unix_nano <= s.end_unix_nano
    where l.response_id <> s.response_id
        and not exists (from span_item other where other.response_id = l.response_id)
        and not exists (from log_item other where other.response_id = s.response_id)
    union all
    select s, l from span_item s join log_item l on l.class = 'tool' and s.class = 'tool' and l.tool_call_id = s.tool_call_id
        and (l.is_unique_id and s.is_unique_id or l.trace_id = s.trace_id or l.session_id = s.session_id)
    union all
    select best, s from tool_item join tool_best using ("key", chain) where s.span_id <> best.span_id or s.trace_id <> best.trace_id
    union all
    select s, l from span_item s join log_item l on l.class = s.class
        and coalesce(l.session_id, l.service_name) = coalesce(s.session_id, s.service_name)
        and l.start_unix_nano <= s.end_unix_nano + 1_000_000_000 and s.start_unix_nano <= l.end_unix_nano + 1_000_000_000
        and (l.request_id is null or s.request_id is null) and (l.response_id is null or s.response_id is null)
        and (l.tool_call_id is null or s.tool_call_id is null)
    where case when l.class = 'tool' then l.tool_name = s.tool_name
        when l.has_usage and s.has_usage then l.prompt = s.prompt
            and list_has_any([l.output_tokens, l.said_tokens], [s.output_tokens, s.said_tokens])  -- some leave thoughts out
        else l.status = 'error' and s.status = 'error' or l.has_usage <> s.has_usage end
), placed as (
    select case when of_span.place <= of_log.place then of_span else of_log end as kept,
        case when of_span.place <= of_log.place then of_log else of_span end as told
    from pair
)
select trace_id, span_id, kept.trace_id as kept_trace_id, kept.span_id as kept_span_id,
    'the ' || kept.signal || ' ' || kept.span_id || ' tells it better' as reason
from (
    select told.trace_id as trace_id, told.span_id as span_id,
        arg_min(kept, (kept.place, kept.start_unix_nano, -kept.end_unix_nano::hugeint, kept.span_id)) as kept
    from placed group by all
);

insert into d_told by name
select s.*, d.reason, d.kept_trace_id, d.kept_span_id from d_span s join d_same d using (trace_id, span_id);

update d_span set
    cost_reported_usd = coalesce(d_span.cost_reported_usd, other.cost_reported_usd),
    response_model = coalesce(d_span.response_model, other.response_model),
    request_model = coalesce(d_span.request_model, other.request_model),
    finish_reason = coalesce(d_span.finish_reason, other.finish_reason),
    resend_count = coalesce(d_span.resend_count, other.resend_count),
    arguments_hash = coalesce(d_span.arguments_hash, other.arguments_hash),
    result_hash = coalesce(d_span.result_hash, other.result_hash),
    status = case when d_span.kind = 'tool' and other.error_type is not null then 'error' else d_span.status end,
    error_type = case when d_span.kind = 'tool' then coalesce(d_span.error_type, other.error_type) else d_span.error_type end,
    error_class = case when d_span.kind = 'tool' then coalesce(d_span.error_class, other.error_class) else d_span.error_class end
from (
    select kept_trace_id, kept_span_id, max(cost_reported_usd) as cost_reported_usd, max(response_model) as response_model,
        max(request_model) as request_model, max(finish_reason) as finish_reason, max(resend_count) as resend_count,
        max(arguments_hash) as arguments_hash, max(result_hash) as result_hash,
        max(error_type) as error_type, max(error_class) as error_class
    from d_told group by all
) as other
where d_span.trace_id = other.kept_trace_id and d_span.span_id = other.kept_span_id;

-- An agent's sum repeats the calls of the program that it ran (dialects/nested.csv).
insert into d_told by name
select s.*, 'sum of the calls of the program below it' as reason, s.trace_id as kept_trace_id, s.span_id as kept_span_id
from d_span s join nested_rule n on s.scope_name glob n.scope
where s.kind in ('agent', 'workflow', 'chain', 'step') and s.has_usage and exists (
    from d_span c where c.dialect = n.inner and c.kind = 'llm' and c.has_usage and c.trace_id <> s.trace_id
        and c.start_unix_nano + 1_000_000_000 >= s.start_unix_nano and c.end_unix_nano <= s.end_unix_nano + 1_000_000_000);

delete from d_span where signal = 'log' and (trace_id, span_id) in (select (trace_id, span_id) from d_told);
update d_span set kind = 'other', has_usage = false where (trace_id, span_id) in (select (trace_id, span_id) from d_told);
