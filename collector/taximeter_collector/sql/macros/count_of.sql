-- A count as an emitter wrote it ('12', '12.0'); what is none, is negative or can't be of one call is unknown.
create or replace macro count_of(text) as
    case when try_cast(text as double) between 0 and 1e12 then try_cast(try_cast(text as double) as bigint) end;
