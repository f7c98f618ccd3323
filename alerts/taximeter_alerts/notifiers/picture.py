"""A chart as a PNG: the last day of a metric with its usual range. Values in, bytes out."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from taximeter_alerts.amounts import say_amount
from taximeter_alerts.outbox.notice import Chart

WIDTH: Final = 640
HEIGHT: Final = 180
_SCALE: Final = 2
"""Drawn twice as large, for screens with small pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 26
_MUTED, _RANGE, _LINE = "#7a8191", "#e8edf7", "#c0362c"
_FONT_SIZE: Final = 12


def draw_chart(chart: Chart) -> bytes:
    """Return the picture of a chart; without any value an empty one."""
    picture = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_FONT_SIZE * _SCALE)
    known = [value for value in (*chart.values, chart.high, chart.usual) if value is not None]
    top = max(known, default=0.0) * 1.1 or 1.0

    def x(place: float) -> float:
        share = place / max(1, len(chart.values) - 1)
        return (_LEFT + share * (WIDTH - _LEFT - _RIGHT)) * _SCALE

    def y(value: float) -> float:
        return (_TOP + (1 - max(value, 0.0) / top) * (HEIGHT - _TOP - _BOTTOM)) * _SCALE

    last = len(chart.values) - 1
    if chart.high is not None:
        # Of a drop the range's end is its bottom: what is usual lies above it.
        other = top if chart.usual is not None and chart.usual > chart.high else 0.0
        ends = sorted((y(chart.high), y(other)))
        pen.rectangle((x(0), ends[0], x(last), ends[1]), fill=_RANGE)
    if chart.usual is not None:
        pen.line((x(0), y(chart.usual), x(last), y(chart.usual)), fill=_MUTED, width=_SCALE)
    for value in (0.0, top / 1.1):
        text = say_amount(value, chart.unit)
        pen.text((8 * _SCALE, y(value)), text, fill=_MUTED, font=font, anchor="lm")
    for place, text in ((0, "24 h ago"), (last / 2, "12 h"), (last, "now")):
        anchor = "la" if place == 0 else "ra" if place == last else "ma"
        at = (x(place), (HEIGHT - _BOTTOM + 6) * _SCALE)
        pen.text(at, text, fill=_MUTED, font=font, anchor=anchor)
    for run in _runs(chart.values):
        points = [(x(place), y(value)) for place, value in run]
        if len(points) > 1:
            pen.line(points, fill=_LINE, width=2 * _SCALE, joint="curve")
        for px, py in (points[0], points[-1]):
            pen.ellipse((px - 3, py - 3, px + 3, py + 3), fill=_LINE)
    out = io.BytesIO()
    picture.quantize(32).save(out, "PNG", optimize=True)
    return out.getvalue()


def _runs(values: tuple[float | None, ...]) -> list[list[tuple[int, float]]]:
    """Return the parts without a gap."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place, value))
    return [run for run in runs if run]
