-- Every source that could have filled a column, the one that did first (ingest/pick.sql made n_source).
select s."row", s.column_name, m.key, m.path, s.rank, s.value
from n_source s join attribute_mapping m using (rank)
where s.value is not null and s.value <> ''
order by s."row", s.column_name, s.rank;
