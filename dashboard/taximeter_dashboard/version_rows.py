"""Two versions of an agent in, the rows of their comparison out. Pure."""

from __future__ import annotations

from collections.abc import Callable

from taximeter_dashboard import format
from taximeter_dashboard.queries import Version
from taximeter_dashboard.significance import FEW, Ratio, certainty

Change = Callable[[format.Number, format.Number], str | None]


def comparison_rows(before: Version, after: Version, unit: str) -> list[list[str]]:
    """Return name, before, after, difference and how sure it is; `unit` is requests or runs."""
    one = unit.removesuffix("s")
    rows = [
        [unit.capitalize(), format.exact(before.units), format.exact(after.units), "", ""],
        _row(f"Cost per {one}", before.cost_usd, after.cost_usd, format.usd),
        _row("Loop length", before.loop_length, after.loop_length, format.decimal),
        _row("Error rate", before.error_rate, after.error_rate, format.percent,
             format.change_points),
        _row("Cache-hit ratio", before.cache_hit_ratio, after.cache_hit_ratio, format.percent,
             format.change_points),
    ]  # fmt: skip
    times = (before.p95_ms, after.p95_ms)
    few = min(before.units, after.units) < FEW
    rows.append([
        "p95 duration", *(format.duration(ms) for ms in times),
        format.change_relative(times[1], times[0]) or format.UNKNOWN,
        "too few" if few else "not tested",
    ])  # fmt: skip
    return rows


def _row(
    name: str,
    before: Ratio,
    after: Ratio,
    text: Callable[[float | None], str],
    change: Change = format.change_relative,
) -> list[str]:
    return [
        name,
        text(before.value),
        text(after.value),
        change(after.value, before.value) or format.UNKNOWN,
        certainty(before, after) or format.UNKNOWN,
    ]
