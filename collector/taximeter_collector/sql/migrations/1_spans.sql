-- Format 1 keeps content apart. A file from before keeps it among the attributes, where it is read out of once.
create or replace temp view in_attribute as
select s.id as "row", e.key, e.value
from (select rowid as id, attributes from {file}.span
    where kind in ('llm', 'embedding', 'agent') or dialect in (select dialect from span_mark where key <> 'span.name')) s,
    unnest(map_entries(s.attributes)) as entry(e);

create or replace temp view n_dialect as select rowid as "row", dialect from {file}.span;

{noted}

update {file}.span set input_hash = n.input_hash, marks = n.marks, counted_output_tokens = n.counted_output_tokens,
    max_output_tokens = n.max_output_tokens, choice_count = n.choice_count
from n_noted n where n."row" = span.rowid;

drop view in_attribute;
drop view n_dialect;
drop table n_noted;
