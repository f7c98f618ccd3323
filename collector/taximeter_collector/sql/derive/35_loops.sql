-- Whose loop a call or a tool execution belongs to, which calls are no decision of it, and which are attempts of
-- one call → d_mark, d_side, d_owner, d_attempt; d_priced gets its invocation as agent_span_id.

-- What a span's name or an attribute says beyond its kind (dialects/span_marks.csv).
create or replace temp table d_mark as
select s.trace_id, s.span_id, named.mark
from d_span s join (
    select distinct seen.dialect, seen.name, m.mark
    from (select distinct dialect, name from d_span where masked is null) as seen
    join span_mark m on m.key = 'span.name' and m.mark <> 'one_call' and m.dialect in ('*', seen.dialect) and lower(seen.name) glob m.pattern
) as named using (dialect, name)
where s.masked is null
union
select trace_id, span_id, unnest(masked.marks) from d_span where masked is not null
union
select trace_id, span_id, unnest(marks) as mark
from d_span where marks is not null and trace_id in (select trace_id from d_touched);

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
    greatest(attempt, coalesce(resend_count, 0) + 1) as attempt, start_unix_nano, end_unix_nano, input_hash
from d_priced where is_billed;

create or replace temp table d_again as
select c.trace_id, c.span_id, c.start_unix_nano, c.attempt, f.span_id as earlier, f.attempt as earlier_attempt,
    f.end_unix_nano as earlier_end, c.input_hash, f.input_hash as earlier_input_hash
from d_numbered c join d_numbered f
    on f.trace_id = c.trace_id and f.span_id <> c.span_id and f.kind = c.kind and f.status = 'error'
    and f.parent_span_id is not distinct from c.parent_span_id and f.model is not distinct from c.model
    and c.start_unix_nano >= f.end_unix_nano and c.start_unix_nano - f.end_unix_nano < 120_000_000_000
    and (c.attempt > f.attempt or (c.attempt = 1 and f.attempt = 1));

create or replace temp table d_attempt as
with latest as (
    select a.* from d_again a
    where a.attempt > a.earlier_attempt or coalesce(a.input_hash = a.earlier_input_hash, true)
    qualify row_number() over (partition by a.trace_id, a.span_id order by a.earlier_end desc, a.earlier) = 1
), repeats as (
    from latest qualify row_number() over (partition by trace_id, earlier order by start_unix_nano, span_id) = 1
)
select n.trace_id, n.span_id, r.span_id is not null as is_retry, later.span_id is null as is_last_attempt,
    greatest(n.attempt - 1 - coalesce(r.earlier_attempt, 0), 0)::integer as unseen_attempts
from d_numbered n
left join repeats r using (trace_id, span_id)
left join repeats later on later.trace_id = n.trace_id and later.earlier = n.span_id;
