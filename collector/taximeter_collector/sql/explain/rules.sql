-- Which rule said what the span is, as ranks in the rule tables; NULL where none did.
select t."row", lower(hex(s.trace_id)) as trace_id, lower(hex(s.span_id)) as span_id, t.dialect, d.rank as detect_rank, k.rank as kind_rank, t.cache_out_rank as exclusive_rank, t.kind_found,
    u."row" is not null and not u.is_unreadable as raw_decides
from n_typed t
join in_span s using ("row")
join n_dialect d using ("row")
left join n_kind k using ("row")
left join in_usage u using ("row")
order by t."row";
