-- Whether a call may have another view that is found by time alone: it has no parent, no length or no usage. Few are so.
create or replace macro is_lone(kind, parent_span_id, start_time, end_time, prompt_tokens) as
    kind in ('llm', 'embedding') and (parent_span_id is null or start_time = end_time or prompt_tokens is null);
