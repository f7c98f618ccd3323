-- What a key has in common with itself in another casing or punctuation: its letters and digits.
create or replace macro letters_of(key) as regexp_replace(lower(key), '[^a-z0-9]', '', 'g');
