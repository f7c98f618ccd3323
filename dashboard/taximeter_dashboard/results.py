"""An answer as a person reads, draws and takes it away: Arrow table in; text, Plotly spec, CSV or Parquet out. Pure."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

import pyarrow as pa

from taximeter_dashboard.charts import CATEGORIES
from taximeter_dashboard.format import UNKNOWN

Kind = Literal["Line", "Bar", "Points"]
KINDS: Final[tuple[Kind, ...]] = ("Line", "Bar", "Points")
SHOWN_CHARS: Final = 300
MAX_SERIES: Final = 20
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def is_number(type: pa.DataType) -> bool:
    """Return whether values of this type are amounts."""
    return bool(
        pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type)
    )


def heading(field: pa.Field) -> str:
    """Return the name for `blocks.grid`: amounts and times are aligned right and stay on a line."""
    is_right = is_number(field.type) or pa.types.is_temporal(field.type)
    return f">{field.name}" if is_right else field.name


def column_text(values: Sequence[Any]) -> list[str]:
    """Return a column as text; unknown is —, a nested value is JSON, times are as exact as needed.

    >>> column_text([None, 3, 0.1, True, ["a"], [("k", "v")]])
    ['—', '3', '0.1', 'true', '["a"]', '[["k", "v"]]']
    >>> column_text([datetime(2026, 11, 24), None]), column_text([datetime(2026, 11, 24, 9, 30)])
    (['2026-11-24', '—'], ['2026-11-24 09:30:00'])
    """
    times = [value for value in values if isinstance(value, datetime)]
    exactness = "milliseconds" if any(time.microsecond for time in times) else "seconds"
    is_days = all((time.hour, time.minute, time.second) == (0, 0, 0) for time in times)
    return [
        UNKNOWN if value is None
        # All times of an answer are UTC.
        else value.replace(tzinfo=None).isoformat(" ", exactness)[: 10 if is_days else None]
        if isinstance(value, datetime)
        else _plain(value)
        for value in values
    ]  # fmt: skip


def shown_rows(table: pa.Table, number: int) -> list[list[str]]:
    """Return the first rows as text, long cells cut."""
    columns = zip(*_rows(table.slice(0, number)), strict=True)
    texts = [[_cut(text) for text in column_text(column)] for column in columns]
    return [list(row) for row in zip(*texts, strict=True)]


def as_csv(table: pa.Table) -> bytes:
    """Return all rows as CSV with a BOM, which a spreadsheet opens without running any of it.

    Text that starts as a formula does gets a leading apostrophe, the headings too; numbers stay.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([unformulated(name) for name in table.schema.names])
    numbers = [is_number(field.type) for field in table.schema]
    for row in _rows(table):
        writer.writerow(
            [
                "" if value is None else _plain(value) if is_amount else unformulated(_plain(value))
                for value, is_amount in zip(row, numbers, strict=True)
            ]
        )
    return out.getvalue().encode("utf-8-sig", "replace")


def unformulated(text: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula.

    >>> [unformulated(text) for text in ("=1+1", "@x", "a=b", "")]
    ["'=1+1", "'@x", 'a=b', '']
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_parquet(table: pa.Table) -> bytes:
    """Return all rows as Parquet, every value as it is."""
    import pyarrow.parquet  # a quarter of a second that only an export pays

    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def axes_of(schema: pa.Schema) -> tuple[str, list[str], str | None]:
    """Return what is best drawn: x (a time, else the first column), the amounts, and what splits them."""
    times = [f.name for f in schema if pa.types.is_temporal(f.type)]
    x = (times or schema.names)[0]
    amounts = [f.name for f in schema if is_number(f.type) and f.name != x]
    texts = [f.name for f in schema if pa.types.is_string(f.type) and f.name != x]
    return x, amounts, texts[0] if texts and times and amounts else None


def kind_of(schema: pa.Schema, x: str) -> Kind:
    """Return how amounts along ``x`` are best drawn: between names there is nothing to join."""
    return "Bar" if pa.types.is_string(schema.field(x).type) else "Line"


def figure(
    table: pa.Table, kind: Kind, x: str, amounts: Sequence[str], split: str | None
) -> dict[str, Any]:
    """Return a Plotly spec: one series an amount, or one a value of `split`."""
    xs = [_axis_value(value) for value in table.column(x).to_pylist()]
    series: dict[str, tuple[list[Any], list[Any]]] = {}
    splits = column_text(table.column(split).to_pylist()) if split else [""] * len(xs)
    for amount in amounts:
        values = table.column(amount).to_pylist()
        for at, value, part in zip(xs, values, splits, strict=True):
            name = amount if split is None else part
            if split is not None and len(amounts) > 1:
                name = f"{name} · {amount}"
            drawn = series.setdefault(name, ([], []))
            drawn[0].append(at)
            drawn[1].append(None if value is None else float(value))
    mode = {"Line": "lines+markers", "Points": "markers"}
    data = [
        {"type": "bar", "x": at, "y": values, "name": inert(name)}
        if kind == "Bar"
        else {"type": "scatter", "mode": mode[kind], "x": at, "y": values, "name": inert(name),
              "marker": {"size": 5}, "line": {"width": 1.8}}
        for name, (at, values) in list(series.items())[:MAX_SERIES]
    ]  # fmt: skip
    layout = {
        "barmode": "stack", "colorway": list(CATEGORIES), "height": 420,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": len(data) > 1, "xaxis": {"title": {"text": inert(x)}, "automargin": True},
        "yaxis": {"automargin": True, "rangemode": "tozero",
                  "title": {"text": inert(", ".join(amounts))}},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def inert(text: str) -> str:
    """Return text in which Plotly finds no tag: it draws <a> and <b> of a label as such.

    >>> inert('<a href="javascript:1">x</a>')
    '&lt;a href="javascript:1"&gt;x&lt;/a&gt;'
    """
    return html.escape(_cut(text, 60), quote=False)


def _axis_value(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return inert(UNKNOWN if value is None else _plain(value))


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _cut(text: str, length: int = SHOWN_CHARS) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
