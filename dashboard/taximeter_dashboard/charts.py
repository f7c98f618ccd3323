"""Series in, ECharts specs out: pure dict builders. Inks are mid-tones that read on both themes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taximeter_dashboard.money_axis import bounds, money_axes, money_tip

Spec = dict[str, Any]
Values = Sequence[float | None]

INK: Final = {
    "cost": "#4C6FE0",
    "loop": "#8F63D6",
    "error": "#E5484D",
    "cache": "#14A594",
    "latency": "#E08A1E",
    "muted": "#8B94A5",
    "annotation": "#C837AB",
}
CATEGORIES: Final = (
    "#4C6FE0", "#E08A1E", "#14A594", "#8F63D6", "#57B4E9", "#C2557F", "#9AA35A", "#7B8494",
)  # fmt: skip
OUTCOME_INK: Final = {
    "completed": "#14A594",
    "error": "#E5484D",
    "tool": "#E5484D",
    "throttled": "#57B4E9",
    "timeout": "#E08A1E",
    "deadline": "#E08A1E",
    "provider": "#8B94A5",
    "client": "#C2557F",
    "refused": "#C2557F",
    "internal": "#8F63D6",
    "thrashing": "#8F63D6",
    "iteration_cap": "#4C6FE0",
    "tool_call_cap": "#2F4A9C",
    "truncated": "#9AA35A",
    "unknown": "#B4BBC7",
}
"""How a request or a run ended, and what made it fail; two that can stand in one chart differ."""
OTHER_INK: Final = "#7B8494"
_LONE_POINTS: Final = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    values: Values
    color: str
    width: float = 1.8
    has_area: bool = False


def stacked(
    times: Sequence[datetime],
    series: Mapping[str, Values],
    *,
    is_money: bool = False,
    colors: Mapping[str, str] | None = None,
) -> Spec:
    """Return stacked bars of counts or dollars: one series a name, biggest first at the bottom."""
    spec = _base(y_format="{value}", tip="%.0f", has_legend=True)
    spec["tooltip"]["axisPointer"] = {"type": "shadow", "shadowStyle": {"opacity": 0.25}}
    spec["xAxis"] |= _span(times)
    if is_money:
        low, high = bounds(zip(*series.values(), strict=True))
        spec["tooltip"]["valueFormatter"] = money_tip(high)
        spec["yAxis"] = money_axes(spec["yAxis"], low, high)
    else:
        spec["yAxis"]["minInterval"] = 1
    spec["series"] = [
        {
            "type": "bar",
            "name": name,
            "stack": "all",
            "data": _points(times, values),
            "barCategoryGap": "22%",
            "barMaxWidth": 26,
            "emphasis": {"focus": "series"},
            "itemStyle": {"color": (colors or {}).get(name, CATEGORIES[i % len(CATEGORIES)])},
        }
        for i, (name, values) in enumerate(series.items())
    ]
    return spec


def lines(
    times: Sequence[datetime],
    series: Sequence[Line],
    *,
    y_format: str,
    tip: str,
    y_max: float | None = None,
    target: float | None = None,
) -> Spec:
    """Return lines over time; a gap in the data is a gap in the line. `target` is dotted."""
    spec = _base(y_format=y_format, tip=tip, has_legend=len(series) > 1, y_max=y_max)
    spec["xAxis"] |= _span(times)
    spec["series"] = [_line(times, line) for line in series]
    if target is not None and spec["series"]:
        spec["series"][0]["markLine"] = _target(target, series[0].color)
    return spec


@dataclass(frozen=True, slots=True)
class Span:
    """One bar on a time line."""

    row: str
    start: datetime
    end: datetime
    color: str
    name: str


def time_line(spans: Sequence[Span], start: datetime, end: datetime) -> Spec:
    """Return bars over time, a row a name, in the order of their first bar."""
    rows = list(dict.fromkeys(span.row for span in spans))
    spec = _base(y_format="", tip="", has_legend=False)
    spec["tooltip"] = {"trigger": "item", "confine": True, "formatter": "{a}"}
    spec["xAxis"] |= {"min": start.isoformat(), "max": end.isoformat()}
    spec["yAxis"] = {
        "type": "category",
        # The first row is on top; with an inverse axis marks would stand on their heads.
        "data": rows[::-1],
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "axisLabel": {"fontSize": 11, "width": 130, "overflow": "truncate"},
    }
    spec["series"] = [
        {
            "type": "line",
            "name": span.name,
            "data": [[span.start.isoformat(), span.row], [span.end.isoformat(), span.row]],
            # A bar shorter than a pixel must still be seen.
            "symbol": "roundRect",
            "symbolSize": 8,
            "lineStyle": {"width": 8, "cap": "round"},
            "itemStyle": {"color": span.color},
        }
        for span in spans
    ]
    return spec


def _line(times: Sequence[datetime], line: Line) -> Spec:
    known = sum(value is not None for value in line.values)
    drawn: Spec = {
        "type": "line",
        "name": line.name,
        "data": _points(times, line.values),
        # Single points between gaps have no line: only a symbol shows them.
        "showSymbol": known <= _LONE_POINTS and _has_lone_point(line.values),
        "symbolSize": 4,
        "lineStyle": {"width": line.width},
        "itemStyle": {"color": line.color},
        "emphasis": {"disabled": True},
    }
    if line.has_area:
        drawn["areaStyle"] = {"opacity": 0.10}
    return drawn


def _has_lone_point(values: Values) -> bool:
    around = [None, *values, None]
    return any(
        value is not None and around[i] is None and around[i + 2] is None
        for i, value in enumerate(values)
    )


def _points(times: Sequence[datetime], values: Values) -> list[list[Any]]:
    return [[time.isoformat(), value] for time, value in zip(times, values, strict=True)]


def _span(times: Sequence[datetime]) -> Spec:
    if len(times) < 2:
        return {}
    return {"min": times[0].isoformat(), "max": times[-1].isoformat()}


def _target(value: float, color: str) -> Spec:
    return {
        "symbol": "none",
        "silent": True,
        "animation": False,
        "label": {"show": False},
        "lineStyle": {"color": color, "opacity": 0.7, "type": "dotted", "width": 1.2},
        "data": [{"yAxis": value}],
    }


def _base(*, y_format: str, tip: str, has_legend: bool, y_max: float | None = None) -> Spec:
    bounds: Spec = {} if y_max is None else {"max": y_max, "interval": y_max / 4}
    spec: Spec = {
        "animation": False,
        "useUTC": False,
        "grid": {
            "left": 4, "right": 12, "top": 42 if has_legend else 24, "bottom": 2,
            "containLabel": True,
        },
        "tooltip": {
            "trigger": "axis",
            "valueFormatter": tip,
            "confine": True,
            "textStyle": {"fontSize": 12},
            "padding": [6, 10],
            "axisPointer": {"type": "line", "lineStyle": {"width": 1, "opacity": 0.5}},
        },
        "xAxis": _time_axis(),
        "yAxis": {
            "type": "value",
            "splitNumber": 3,
            "min": 0,
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            **bounds,
            "axisLabel": {"formatter": y_format, "fontSize": 11},
            "splitLine": {"lineStyle": {"opacity": 0.6}},
        },
    }  # fmt: skip
    if has_legend:
        spec["legend"] = legend()
    return spec


def _time_axis() -> Spec:
    return {
        "type": "time",
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "splitLine": {"show": False},
        "axisLabel": {
            "hideOverlap": True,
            "showMaxLabel": False,  # it would stick out on the right
            "fontSize": 11,
            "margin": 10,
            "formatter": {
                "year": "{yyyy}",
                "month": "{d} {MMM}",
                "day": "{d} {MMM}",
                "hour": "{HH}:{mm}",
                "minute": "{HH}:{mm}",
                "second": "{HH}:{mm}:{ss}",
            },
        },
    }


def legend() -> Spec:
    """Return the legend above a plot; what has no room in one line scrolls."""
    return {
        "top": 0,
        "left": 0,
        "right": 4,
        "padding": 0,
        "itemWidth": 9,
        "itemHeight": 9,
        "itemGap": 11,
        "icon": "roundRect",
        "type": "scroll",
        "pageIconSize": 9,
        "pageButtonGap": 6,
        "pageTextStyle": {"fontSize": 10},
        "textStyle": {"fontSize": 11.5, "lineHeight": 16},  # without it descenders are cut
    }


def change(now: float | None, before: float | None, *, is_ratio: bool) -> float | None:
    """Return the change: relative, or in points of a ratio; None if it can't be said.

    >>> change(3.0, 2.0, is_ratio=False), change(0.4, 0.5, is_ratio=True) < 0
    (0.5, True)
    """
    if now is None or before is None or (not is_ratio and not before):
        return None
    return now - before if is_ratio else (now - before) / abs(before)


def tone(change: float | None, better: str, notable: float) -> str:
    """Return whether a change is good or bad news, "" if it is neither.

    >>> tone(0.2, "lower", 0.05), tone(0.2, "higher", 0.05), tone(0.01, "lower", 0.05)
    ('bad', 'good', '')
    """
    if change is None or better == "neutral" or abs(change) < notable:
        return ""
    return "good" if (change < 0) == (better == "lower") else "bad"
