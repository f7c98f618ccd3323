"""Spans of a request in, its cumulative cost over its time out, as an ECharts spec. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from taximeter_dashboard import charts, format
from taximeter_dashboard.money_axis import money_axes, money_tip
from taximeter_dashboard.trace import PICO, Row, offset_ms

Point = tuple[float, float]
Mark = tuple[float, float, str]
_POINTS: Final = 600
"""Of a line: more than there are pixels to tell them apart."""
MARKS: Final = 400
"""Of a kind: more would cover each other."""
MODELS: Final = 7
_INKS: Final = {
    "tool": charts.INK["muted"],
    "failed": charts.INK["error"],
    "no price": charts.INK["muted"],
}
_PLURALS: Final = {"tool": "tools", "failed": "failures", "no price": "calls without a price"}


@dataclass(frozen=True, slots=True)
class Spent:
    """What billed calls cost, as (seconds since the start, dollars) at the end of each."""

    steps: dict[str, list[Point]]
    """By model, the dearest first, each cumulative."""
    total: list[Point]
    marks: dict[str, list[Mark]]
    """By kind: seconds, the total then, and what it was."""
    seconds: float
    priced: int
    unpriced: int


def spent_over_time(spans: Sequence[Row]) -> Spent:
    """Return the cumulative cost; a call without a price adds nothing and is marked."""
    origin = min((s["start_time"] for s in spans if s["start_time"]), default=None)
    ended = sorted(
        ((offset_ms(s["start_time"], origin) + (s["duration_ms"] or 0)) / 1000, i)
        for i, s in enumerate(spans)
    )
    total: list[Point] = []
    sums: dict[str, int] = {}
    steps: dict[str, list[Point]] = {}
    marks: dict[str, list[Mark]] = {name: [] for name in _INKS}
    spent = unpriced = 0
    for at, i in ended:
        span = spans[i]
        is_call = span["kind"] in ("llm", "embedding") and span["is_billed"] is not False
        if is_call and span["cost_pico"] is not None:
            model = span["model"] or "unknown"
            sums[model] = sums.get(model, 0) + int(span["cost_pico"])
            spent += int(span["cost_pico"])
            steps.setdefault(model, []).append((at, sums[model] / PICO))
            total.append((at, spent / PICO))
        kind = _mark(span, is_call)
        unpriced += is_call and span["cost_pico"] is None
        if kind:
            marks[kind].append((at, spent / PICO, span["name"] or format.UNKNOWN))
    ranked = sorted(steps, key=lambda model: (-sums[model], model))
    seconds = ended[-1][0] if ended else 0.0
    by_model = {model: steps[model] for model in ranked}
    return Spent(by_model, total, marks, seconds, len(total), unpriced)


def summary(spent: Spent) -> str:
    """Return what was spent in one line, and what the line leaves out."""
    calls = spent.priced + spent.unpriced
    if not spent.total:
        return (
            f"{format.exact(calls)} call{'' if calls == 1 else 's'} without a price"
            if calls
            else ""
        )
    least = "at least " if spent.unpriced else ""
    text = f"{least}{format.usd(spent.total[-1][1])} in {format.duration(spent.seconds * 1000)}"
    if spent.unpriced:
        text += f" · no price for {format.exact(spent.unpriced)} of {format.exact(calls)} calls"
    return text


def left_out(spent: Spent) -> str:
    """Return what the chart has no room for, "" if it draws everything."""
    said = [
        f"{format.exact(len(_thinned(found)))} of {format.exact(len(found))} {_PLURALS[kind]}"
        for kind, found in spent.marks.items()
        if len(found) > MARKS
    ]
    if len(spent.steps) > MODELS:
        said.append(f"{MODELS} of {len(spent.steps)} models")
    return f"Drawn are {', '.join(said)}; the total counts all." if said else ""


def spent_chart(spent: Spent) -> charts.Spec:
    """Return step lines of dollars over seconds: the total, and each model when there are several."""
    spec = charts.lines([], [], y_format="${value}", tip="")
    high = spent.total[-1][1]
    spec["yAxis"] = money_axes(spec["yAxis"], 0, high)
    spec["tooltip"]["valueFormatter"] = money_tip(high)
    spec["xAxis"] |= {"type": "value", "min": 0, "max": spent.seconds or 1}
    spec["xAxis"]["axisLabel"] |= {"formatter": "{value} s"}
    spec["legend"] = charts.legend()
    spec["grid"]["top"] = 42
    lines = [_step("total", spent.total, spent.seconds, charts.INK["cost"], has_area=True)]
    if len(spent.steps) > 1:
        models = list(spent.steps.items())[:MODELS]
        lines += [
            _step(model, points, spent.seconds, charts.CATEGORIES[(i + 1) % len(charts.CATEGORIES)])
            for i, (model, points) in enumerate(models)
        ]
    spec["series"] = lines + [_marks(k, found) for k, found in spent.marks.items() if found]
    return spec


def _mark(span: Row, is_call: bool) -> str:
    if span["status"] == "error" and span["kind"] in ("llm", "embedding", "tool"):
        return "failed"
    if span["kind"] == "tool":
        return "tool"
    return "no price" if is_call and span["cost_pico"] is None else ""


def _step(
    name: str, points: Sequence[Point], end: float, color: str, *, has_area: bool = False
) -> charts.Spec:
    thinned = {int(at / end * _POINTS) if end else 0: (at, value) for at, value in points}
    data: list[Any] = [[0, 0], *(list(point) for point in thinned.values()), [end, points[-1][1]]]
    drawn: charts.Spec = {
        "type": "line",
        "name": name,
        "step": "end",
        "data": data,
        "showSymbol": False,
        "lineStyle": {"width": 1.8 if has_area else 1.3},
        "itemStyle": {"color": color},
        "emphasis": {"disabled": True},
    }
    if has_area:
        drawn["areaStyle"] = {"opacity": 0.10}
    return drawn


def _thinned(found: Sequence[Mark]) -> Sequence[Mark]:
    return found[:: max(-(-len(found) // MARKS), 1)]


def _marks(kind: str, found: Sequence[Mark]) -> charts.Spec:
    label = {"show": True, "formatter": "{b}", "position": "top", "fontSize": 11, "color": "#FFFFFF",
             "backgroundColor": "#171A21", "padding": [4, 7], "borderRadius": 4, "width": 250,
             "overflow": "truncate"}  # fmt: skip
    return {
        "type": "scatter",
        "name": kind,
        "data": [{"value": [at, value], "name": name} for at, value, name in _thinned(found)],
        "symbol": "circle" if kind == "tool" else "diamond",
        "symbolSize": 6 if kind == "tool" else 10,
        "itemStyle": {"color": "transparent", "borderColor": _INKS[kind], "borderWidth": 2}
        if kind == "no price"
        else {"color": _INKS[kind]},
        "tooltip": {"show": False},
        "emphasis": {"label": label},
        "z": 5,
    }
