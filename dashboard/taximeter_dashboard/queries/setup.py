"""What was received, and what has no price."""

from __future__ import annotations

from datetime import datetime

from taximeter_dashboard.queries.core import Reads, Row


def received_by_dialect(reader: Reads, since: datetime) -> list[Row]:
    """Return what arrived since then, by how it was written."""
    return reader.rows(
        "select dialect, service_name, count(*) as spans, max(received_at) as last_received"
        " from spans where received_at >= $since group by all order by spans desc limit 50",
        {"since": since},
    )


def unpriced_models(reader: Reads) -> list[Row]:
    """Return the models without a price, the most used first."""
    return reader.rows("select * from unpriced_models order by tokens desc nulls last limit 100")


def has_any_request(reader: Reads) -> bool:
    """Return whether the store holds anything at all."""
    return bool(reader.rows("select 1 as one from requests limit 1"))
