-- Whether a version is at or below a bound, compared number by number over the bound's length; no bound fits all.
create or replace macro is_version_up_to(version, bound) as
    bound is null or coalesce(list_slice(try_cast(regexp_extract_all(version, '\d+') as bigint[]), 1, len(regexp_extract_all(bound, '\d+')))
        <= try_cast(regexp_extract_all(bound, '\d+') as bigint[]), true);
