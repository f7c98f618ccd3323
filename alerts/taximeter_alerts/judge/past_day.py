"""The last 24 hours of an alert's metric: a query to the collector, and its shape in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from taximeter_alerts.judge.windows import Reader
from taximeter_alerts.rules.book import Rule
from taximeter_collector.metrics import metric_query

BUCKET_S: Final = 900
POINTS: Final = 96
_BARS: Final = "▁▂▃▄▅▆▇█"
_SPARKS: Final = 24


def read_past_day(
    reader: Reader, rule: Rule, labels: Mapping[str, str | None], at: datetime
) -> tuple[float | None, ...]:
    """Return the metric of one group by quarters of an hour, the newest last; None: no traffic.

    Raises QueryError.
    """
    end = at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
    start = end - timedelta(seconds=BUCKET_S * (POINTS - 1))
    where = {name: list(values) for name, values in rule.where}
    where |= {name: [value] for name, value in labels.items() if value is not None}
    query = metric_query([rule.watch], start, at, bucket_s=BUCKET_S, by=rule.by, where=where)
    values: list[float | None] = [None] * POINTS
    for row in reader.query(query.sql, query.params).to_pylist():
        place = int((row["bucket"] - start).total_seconds()) // BUCKET_S
        if all(row[name] == value for name, value in labels.items()) and 0 <= place < POINTS:
            values[place] = row[rule.watch]
    return tuple(values)


def sparkline(values: Sequence[float | None]) -> str:
    """Return the shape of a series in a line of text; a gap is a space.

    >>> sparkline([0.0, 1.0, None, 4.0])
    '▁▃ █'
    """
    size = max(1, len(values) // _SPARKS)
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    highest = [max((v for v in part if v is not None), default=None) for part in parts]
    top = max((value for value in highest if value is not None), default=0.0) or 1.0
    last = len(_BARS) - 1
    return "".join(" " if v is None else _BARS[round(max(v, 0.0) / top * last)] for v in highest)
