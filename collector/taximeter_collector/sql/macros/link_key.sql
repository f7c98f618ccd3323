-- The id by which other views of a call or a tool call are found, as a number: to look through numbers costs a tenth of
-- looking through texts. A short tool-call id such as call_0 is given anew in every turn: it says nothing outside its trace.
create or replace macro link_key(kind, response_id, tool_call_id) as
    md5_number_lower(case when kind in ('llm', 'embedding') then response_id when length(tool_call_id) >= 16 then tool_call_id end);
