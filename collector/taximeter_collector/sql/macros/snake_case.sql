-- A key in snake_case: acme.usage.inputTokens is acme.usage.input_tokens.
create or replace macro snake_case(key) as lower(regexp_replace(key, '([a-z0-9])([A-Z])', '\1_\2', 'g'));
