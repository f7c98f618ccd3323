-- What a running total had reached before: nothing after a reset.
create or replace macro since(earlier, total) as case when earlier <= total then earlier else 0 end;
