"""Named amounts in, ECharts specs out: what led from one total to another, and how often each value was met. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taximeter_dashboard.charts import INK, Spec, legend

GOOD: Final = INK["cache"]
BAD: Final = INK["error"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One bar of a waterfall: a total, or what was added or taken away."""

    name: str
    value: float
    text: str
    is_total: bool = False


def waterfall(stages: Sequence[Stage]) -> Spec:
    """Return horizontal bars from one total to the next; what is added is red, what is saved green."""
    blank, above, below = [], [], []
    level = 0.0
    for stage in stages:
        start, level = (0.0, stage.value) if stage.is_total else (level, level + stage.value)
        low, high = min(start, level), max(start, level)
        # A bar across zero is two: stacks add up values of one sign only.
        blank.append(low if low > 0 else high if high < 0 else 0.0)
        style = {"color": _ink(stage), "borderRadius": 2}
        shown = {"show": True, "position": "right", "formatter": stage.text, "fontSize": 11.5,
                 "color": INK["muted"]}  # fmt: skip
        is_above = high > 0 or not low
        size = high - max(low, 0.0)
        above.append(
            {"value": max(size, 0.0), "itemStyle": style, "label": shown if is_above else {}}
        )
        below.append({"value": min(low - min(high, 0.0), 0.0), "itemStyle": style,
                      "label": {} if is_above else shown})  # fmt: skip
    bar: Spec = {"type": "bar", "stack": "all", "barMaxWidth": 18, "emphasis": {"disabled": True}}
    return {
        "animation": False,
        "grid": {"left": 4, "right": 64, "top": 4, "bottom": 4, "containLabel": True},
        # The axis is not seen: its round end would only be room that the bars lack.
        "xAxis": {"type": "value", "show": False, "max": "dataMax"},
        "yAxis": _categories([stage.name for stage in stages]) | {"inverse": True},
        "series": [
            {**bar, "silent": True, "itemStyle": {"color": "transparent"}, "data": blank},
            {**bar, "data": above},
            {**bar, "data": below},
        ],
    }


def histogram(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    colors: Sequence[str],
    y_format: str,
    tip: str,
    y_max: float | None = None,
) -> Spec:
    """Return bars over ordered classes, one colour a series; the axis ends at `y_max` if a bar comes near it."""
    highest = max((value for values in series.values() for value in values), default=0.0)
    # Left to itself the axis goes on to the next round step: 120 % of something.
    is_near = y_max is not None and highest > 0.75 * y_max
    ends: Spec = {"max": y_max, "interval": y_max / 4} if y_max is not None and is_near else {}
    return {
        "animation": False,
        "grid": {"left": 4, "right": 12, "top": 42 if len(series) > 1 else 12, "bottom": 2,
                 "containLabel": True},
        "legend": {"show": len(series) > 1, **legend()},
        "tooltip": {"trigger": "axis", "valueFormatter": tip, "confine": True,
                    "textStyle": {"fontSize": 12}, "axisPointer": {"type": "shadow"}},
        # On two lines: beside each other on a phone, a hidden label would be that of the long tail.
        "xAxis": _categories([name.replace("–", "–\n") for name in names])
        | {"axisLabel": {"fontSize": 11, "lineHeight": 13, "hideOverlap": True, "interval": 0}},
        "yAxis": {"type": "value", "splitNumber": 3, **ends,
                  "axisLabel": {"fontSize": 11, "formatter": y_format},
                  "splitLine": {"lineStyle": {"opacity": 0.6}}},
        "series": [
            {"type": "bar", "name": name, "data": list(values), "barCategoryGap": "22%",
             "barMaxWidth": 26, "itemStyle": {"color": colors[i % len(colors)]}}
            for i, (name, values) in enumerate(series.items())
        ],
    }  # fmt: skip


def _ink(stage: Stage) -> str:
    if stage.is_total:
        return INK["muted"]
    return BAD if stage.value > 0 else GOOD


def _categories(names: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "category",
        "data": list(names),
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "axisLabel": {"fontSize": 11.5},
    }
