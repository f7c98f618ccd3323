-- Whether a value meets one of a rule's lower-case patterns; a rule that does not ask (NULL) is met by anything.
create or replace macro meets(value, patterns) as
    patterns is null or coalesce(len(list_filter(patterns, lambda pattern: lower(value) glob pattern)) > 0, false);
