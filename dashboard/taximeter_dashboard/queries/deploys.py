"""Which new versions of agents arrived in a window."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from taximeter_collector.metrics import matching
from taximeter_dashboard.queries.core import Reads, Row
from taximeter_dashboard.scope import Scope

KNOWN_DAYS: Final = 90
"""How far back an earlier version is looked for."""
_NARROWED_BY: Final = ("agent_name", "environment", "service_name")


def deploys(reader: Reads, scope: Scope) -> list[Row]:
    """Return `agent_name`, `agent_version`, `before` (the version) and `first_seen`, in its order.

    A version is new where its first minute in the last 90 days lies in the window and another
    version of the agent was seen before. An agent's very first version is no deploy.
    """
    own: dict[str, list[str]] = {
        name: values for name, values in scope.where.items() if name in _NARROWED_BY
    }
    narrowed = matching(own)
    known = scope.end - timedelta(days=KNOWN_DAYS)
    return reader.rows(
        "with first as (select coalesce(agent_name, service_name) as agent_name, agent_version, min(minute) as first_seen"
        " from usage_minute where minute >= $known and minute < $end and agent_version is not null"
        f" and {narrowed.sql} group by all having coalesce(agent_name, service_name) is not null),"
        " ordered as (select *, lag(agent_version) over (partition by agent_name order by first_seen,"
        " agent_version) as before from first)"
        " select agent_name, agent_version, before, first_seen from ordered"
        " where before is not null and first_seen >= $start order by first_seen, agent_name",
        {"start": scope.start, "end": scope.end, "known": known, **narrowed.params},
    )
