-- Format 2 finds other views of a call by a number and a mark.
update {file}.call_link set link_key = link_key(kind, response_id, tool_call_id),
    is_lone = is_lone(kind, parent_span_id, start_time, end_time, prompt_tokens);
