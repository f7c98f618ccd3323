-- What lies at a path of a JSON text, or of the repr of a Python dict; NULL where it is neither.
create or replace macro json_text(text, path) as
    case when json_valid(text) then json_extract_string(text, path)
        when json_valid(replace(text, '''', '"')) then json_extract_string(replace(text, '''', '"'), path) end;
