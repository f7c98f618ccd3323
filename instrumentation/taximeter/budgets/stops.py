"""The budgets that are used up and stop calls: the collector's JSON in, the one that binds a call out. Pure.

``{"stale_after_s": 435.0, "stops": [{"budget": "tenants", "where": {"agent_name": ["research"]},
"labels": {"tenant": "acme"}, "amount_usd": 50.0, "used_usd": 50.4, "period": "day",
"period_end": "2026-11-27T00:00:00Z", "ends_after_s": 4980.0}]}``, beside what else is said. Ages are
counted from the end of the minute that was evaluated last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DIMENSIONS: Final = (
    "service_name", "environment", "agent_name", "agent_version", "tenant", "user_id", "provider", "model",
)  # fmt: skip
"""What a budget can be of."""
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_STOPS: Final = 10_000
_LONGEST: Final = 1_000
"""Characters of a text."""
ValueOf = Callable[[str], str | None]
"""What the store will say of a call, by dimension; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A budget that is used up for one group."""

    budget: str
    where: tuple[tuple[str, frozenset[str]], ...]
    """Which part of the traffic the budget is of: dimension -> allowed values."""
    labels: tuple[tuple[str, str | None], ...]
    """The group, by dimension."""
    amount_usd: float
    used_usd: float
    period: str
    period_end: str
    ends_after_s: float
    """When the period is over, at this age of the answer."""


@dataclass(slots=True)
class Stops:
    """All of them, to be looked up by the call."""

    stale_after_s: float = 0.0
    """At this age nobody is stopped by it any more."""
    left_out: int = 0
    """How many are of a dimension that is not known here."""
    by_group: dict[Any, dict[tuple[str | None, ...], Stop]] = field(default_factory=dict)
    """(where, dimensions of the labels) -> labels -> the one that ends last."""

    def add(self, stop: Stop) -> None:
        """Take one in."""
        names = tuple(name for name, _ in stop.labels)
        group = self.by_group.setdefault((stop.where, names), {})
        key = tuple(value for _, value in stop.labels)
        if key not in group or group[key].ends_after_s < stop.ends_after_s:
            group[key] = stop

    def binding(self, value_of: ValueOf, age_s: float) -> Stop | None:
        """Return one that binds the call at this age of the answer."""
        for (where, names), group in self.by_group.items():
            stop = group.get(tuple(value_of(name) for name in names))
            if stop is None or stop.ends_after_s <= age_s:
                continue
            if all(value_of(name) in allowed for name, allowed in where):
                return stop
        return None


def read_stops(text: bytes) -> Stops:
    """Return what the collector says. Raises ValueError for anything but that."""
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None
    return stops_of(said)


def stops_of(said: Any) -> Stops:
    """Return what a document says. Raises ValueError."""
    rows = _mapping(said).get("stops")
    if not isinstance(rows, list) or len(rows) > MOST_STOPS:
        raise ValueError(f"stops must be a list of at most {MOST_STOPS:,}")
    stops = Stops(number(said, "stale_after_s"))
    for row in rows:
        of = _mapping(row)
        if {*_mapping(of.get("where")), *_mapping(of.get("labels"))} <= {*DIMENSIONS}:
            stops.add(_stop(of))
        else:
            stops.left_out += 1
    return stops


def _stop(row: Mapping[str, Any]) -> Stop:
    return Stop(
        budget=_text(row.get("budget")),
        where=tuple((name, _texts(values)) for name, values in sorted(row["where"].items())),
        labels=tuple(
            (name, None if value is None else _text(value))
            for name, value in sorted(row["labels"].items())
        ),
        amount_usd=number(row, "amount_usd"),
        used_usd=number(row, "used_usd"),
        period=_text(row.get("period")),
        period_end=_text(row.get("period_end")),
        ends_after_s=number(row, "ends_after_s"),
    )


def number(said: Mapping[str, Any], name: str) -> float:
    """Return a finite number, 0 or more. Raises ValueError."""
    value = said.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(min(value, 10**15))  # JSON knows integers that no float holds
    if not isinstance(value, float) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number, 0 or more")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("not an object where one belongs")


def _texts(values: Any) -> frozenset[str]:
    if isinstance(values, list):
        return frozenset(map(_text, values))
    raise ValueError("where must give lists of texts")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"not a text of at most {_LONGEST:,} characters where one belongs")
    value.encode()  # half a surrogate would make the span unreadable that quotes it
    return value
