-- Metric points: a running total becomes what was added since the export before it; what spans or logs of the same
-- session, or of the same service at that time, tell already moves to d_told (shown, never billed).
create or replace temp table d_added as
select trace_id, span_id, before_nano, before_time,
    uncached - since(uncached_before, uncached) as uncached, r - since(r_before, r) as r, w - since(w_before, w) as w,
    l - since(l_before, l) as l, o - since(o_before, o) as o, reasoning - since(reasoning_before, reasoning) as reasoning,
    cw - since(cw_before, cw) as cw, unclassified - since(unclassified_before, unclassified) as unclassified,
    prompt - since(prompt_before, prompt) as prompt, cost - since(cost_before, cost) as cost
from (
    select trace_id, span_id, uncached_input_tokens as uncached, cache_read_tokens as r, cache_write_short_tokens as w,
        cache_write_long_tokens as l, output_tokens as o, reasoning_tokens as reasoning, cost_reported_usd as cost,
        cache_write_tokens as cw, unclassified_input_tokens as unclassified, prompt_tokens as prompt,
        lag(end_unix_nano) over series as before_nano, lag(end_time) over series as before_time,
        lag(uncached) over series as uncached_before, lag(r) over series as r_before, lag(w) over series as w_before,
        lag(l) over series as l_before, lag(o) over series as o_before, lag(reasoning) over series as reasoning_before,
        lag(cw) over series as cw_before, lag(unclassified) over series as unclassified_before, lag(prompt) over series as prompt_before,
        lag(cost) over series as cost_before
    from d_span where is_cumulative
    window series as (partition by trace_id, start_unix_nano order by end_unix_nano, span_id)
);

update d_span set uncached_input_tokens = a.uncached, cache_read_tokens = a.r, cache_write_short_tokens = a.w,
    cache_write_long_tokens = a.l, output_tokens = a.o, reasoning_tokens = a.reasoning,
    cache_write_tokens = a.cw, unclassified_input_tokens = a.unclassified, prompt_tokens = a.prompt,
    cost_reported_usd = nullif(a.cost, 0), has_usage = coalesce(a.prompt, 0) + coalesce(a.o, 0) > 0,
    start_unix_nano = coalesce(a.before_nano, d_span.start_unix_nano), start_time = coalesce(a.before_time, d_span.start_time)
from d_added a
where d_span.trace_id = a.trace_id and d_span.span_id = a.span_id;
delete from d_span where signal = 'metric' and not coalesce(has_usage, false) and cost_reported_usd is null;

create or replace temp table d_known as
select coalesce(s.session_id, t.session_id) as session_id, s.service_name, s.start_time, s.end_time
from d_span s left join (select trace_id, arg_min(session_id, start_unix_nano) as session_id from d_span group by trace_id) t using (trace_id)
where s.signal <> 'metric' and s.kind in ('llm', 'embedding', 'agent') and s.has_usage
    and exists (from d_span where signal = 'metric');

insert into d_told by name
select m.*, 'spans or log events tell it better' as reason, m.trace_id as kept_trace_id, m.span_id as kept_span_id
from d_span m
where m.signal = 'metric' and (
    exists (from d_known k where k.session_id = m.session_id
        and k.start_time between m.start_time - interval 1 day and m.end_time + interval 1 day)
    or exists (from d_known k where k.service_name = m.service_name and (k.session_id is null or m.session_id is null)
        and k.start_time <= m.end_time + interval 1 minute and k.end_time >= m.start_time - interval 1 minute));
delete from d_span where (trace_id, span_id) in (select (trace_id, span_id) from d_told where signal = 'metric');
