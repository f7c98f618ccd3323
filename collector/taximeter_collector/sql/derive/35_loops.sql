-- Whose loop a call or a tool execution belongs to, which calls are no decision of it, and which are attempts of
-- one call → d_mark, d_side, d_owner, d_attempt; d_priced gets its invocation as agent_span_id.

-- What a span's name or an attribute says beyond its kind (dialects/span_marks.csv).
create or replace temp table d_mark as
select s.trace_id, s.span_id, named.mark
from d_span s join (
    select distinct seen.dialect, seen.name, m.mark
    from (select distinct dialect, name from d_span where masked is null) as seen
    join span_mark m on m.key = 'span.name' and m.dialect in ('*', seen.dialect) and lower(seen.name) glob m.pattern
) as named using (dialect, name)
where s.masked is null
union
select trace_id, span_id, unnest(masked.marks) from d_span where masked is not null
union
select s.trace_id, s.span_id, m.mark
from span s join span_mark m on m.key <> 'span.name' and m.dialect = s.dialect and s.attributes[m.key] glob m.pattern
where s.masked is null and s.batch between $first_batch and $last_batch and s.trace_id in (select trace_id from d_touched)
    and s.dialect in (select dialect from span_mark where key <> 'span.name');

-- Calls for the agent's housekeeping: below a guardrail, a retrieval or a compaction, or marked themselves.
create or replace temp table d_side as
with recursive below as (
    select trace_id, span_id from d_mark where mark = 'side'
    union
    select trace_id, span_id from d_span where kind in ('guardrail', 'retriever', 'reranker', 'memory')
    union
    select c.trace_id, c.span_id from below b join d_span c on c.trace_id = b.trace_id and c.parent_span_id = b.span_id
    where c.kind <> 'agent'
)
select * from below;

-- The invocation: the nearest agent, else workflow, else the root of a trace that has no agent; a sub-agent
-- without a span of its own is the tool call that started it.
create or replace temp table d_owner as
select s.trace_id, s.span_id,
    case when own.span_id is not null and t.tool_span_id is not null then t.tool_span_id
        else coalesce(t.agent_span_id, t.workflow_span_id, case when tr.is_complete and not tr.has_agent
            and tr.root_kind not in ('llm', 'embedding', 'tool') then tr.root_span_id end) end as run_span_id
from d_span s
join d_trace tr using (trace_id)
left join d_tree t using (trace_id, span_id)
left join (select trace_id, span_id from d_mark where mark = 'own_loop') own using (trace_id, span_id)
where s.kind in ('llm', 'embedding', 'tool', 'workflow', 'chain', 'step');

update d_priced set agent_span_id = o.run_span_id
from d_owner o
where o.trace_id = d_priced.trace_id and o.span_id = d_priced.span_id
    and o.run_span_id is distinct from d_priced.agent_span_id;

-- The attempt that each attempt repeats: the latest failed one before it under the same parent, of the same model,
-- less than two minutes ago, with a smaller number or, where neither is numbered, with the same input.
create or replace temp table d_numbered as
select trace_id, span_id, parent_span_id, kind, coalesce(request_model, response_model) as model, status,
    greatest(attempt, coalesce(resend_count, 0) + 1) as attempt, start_unix_nano, end_unix_nano
from d_priced where is_billed;

create or replace temp table d_again as
select c.trace_id, c.span_id, c.start_unix_nano, c.attempt, f.span_id as earlier, f.attempt as earlier_attempt,
    f.end_unix_nano as earlier_end
from d_numbered c join d_numbered f
    on f.trace_id = c.trace_id and f.span_id <> c.span_id and f.kind = c.kind and f.status = 'error'
    and f.parent_span_id is not distinct from c.parent_span_id and f.model is not distinct from c.model
    and c.start_unix_nano >= f.end_unix_nano and c.start_unix_nano - f.end_unix_nano < 120_000_000_000
    and (c.attempt > f.attempt or (c.attempt = 1 and f.attempt = 1));

-- Only candidates are read again for what they were asked (dialects/input_keys.csv).
create or replace temp table d_asked as
with candidate as materialized (
    select distinct s.trace_id, s.span_id, s.batch, s.attributes, s.masked
    from (select trace_id, span_id from d_again union select trace_id, earlier from d_again) c
    join d_span d using (trace_id, span_id)
    join span s on s.trace_id = c.trace_id and s.span_id = c.span_id and s.batch = d.batch
    where s.batch between $first_batch and $last_batch
), said as (  -- each pair once, however often the span came
    select distinct c.trace_id, c.span_id, e.key, e.value
    from candidate c, unnest(map_entries(c.attributes)) as entry(e)
    join input_key on e.key glob input_key.pattern
    where c.masked is null
)
select trace_id, span_id, md5(string_agg(key || value, chr(10) order by key, value)) as input_hash
from said group by all
union all
select distinct trace_id, span_id, masked.input_hash from candidate where masked.input_hash is not null;

create or replace temp table d_attempt as
with latest as (
    select a.* from d_again a
    left join d_asked now on now.trace_id = a.trace_id and now.span_id = a.span_id
    left join d_asked before on before.trace_id = a.trace_id and before.span_id = a.earlier
    where a.attempt > a.earlier_attempt or coalesce(now.input_hash = before.input_hash, true)
    qualify row_number() over (partition by a.trace_id, a.span_id order by a.earlier_end desc, a.earlier) = 1
), repeats as (
    from latest qualify row_number() over (partition by trace_id, earlier order by start_unix_nano, span_id) = 1
)
select n.trace_id, n.span_id, r.span_id is not null as is_retry, later.span_id is null as is_last_attempt,
    greatest(n.attempt - 1 - coalesce(r.earlier_attempt, 0), 0)::integer as unseen_attempts
from d_numbered n
left join repeats r using (trace_id, span_id)
left join repeats later on later.trace_id = n.trace_id and later.earlier = n.span_id;
