-- A value of the span that tells more of one call, where there is such a span, else the call's own.
create or replace macro taken(other_span, theirs, own) as case when other_span is null then own else theirs end;
