-- Which rule said what the span is, as ranks in the rule tables; NULL where none did.
select t."row", lower(hex(s.trace_id)) as trace_id, lower(hex(s.span_id)) as span_id, t.dialect, d.rank as detect_rank, k.rank as kind_rank, x.rank as exclusive_rank, t.kind_found,
    u."row" is not null as raw_decides
from n_typed t
join in_span s using ("row")
join n_dialect d using ("row")
left join n_kind k using ("row")
left join in_usage u using ("row")
left join n_exclusive x on x.scope_name = t.scope_name
    and x.scope_version is not distinct from t.scope_version
    and x.provider_raw is not distinct from t.provider_raw
order by t."row";
