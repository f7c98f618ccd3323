"""The page's own components: KPI row, table, waterfall, blocks of text, and one that watches the page.

Plain JavaScript and CSS, no build. Whatever comes from data is put in as text nodes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

Block = dict[str, Any]
_HERE = Path(__file__).parent


def _declare(name: str) -> Callable[..., Any]:
    parts = [(_HERE / file).read_text(encoding="utf-8") for file in ("dom.js", f"{name}.js")]
    style = _HERE / f"{name}.css"
    css = style.read_text(encoding="utf-8") if style.exists() else None
    return st.components.v2.component(f"taximeter_{name}", css=css, js="\n".join(parts))


_KPI = _declare("kpi")
_TABLE = _declare("table")
_WATERFALL = _declare("waterfall")
_SHEET = _declare("sheet")
_PAGE = _declare("page")


class PageState(NamedTuple):
    """What the browser tells of its tab."""

    is_hidden: bool
    asks_for_help: bool
    """In the one run after ? was pressed."""


def kpis(items: Sequence[Mapping[str, Any]], times: Sequence[str], *, key: str) -> None:
    """Draw the headline numbers; `times` labels the points of their sparklines."""
    _KPI(key=key, data={"items": list(items), "times": list(times)})


def table(
    columns: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str,
    empty: tuple[str, str],
    sort: str | None = None,
    is_descending: bool = True,
    on_sort: Callable[[], None] | None = None,
) -> None:
    """Draw one page of rows; `on_sort` runs after a click on a sortable heading."""
    data = {"cols": columns, "rows": rows, "sort": sort, "desc": is_descending, "empty": empty}
    _TABLE(key=key, data=data, on_sort_change=on_sort or _nothing)


def waterfall(
    columns: Mapping[str, Sequence[Any]],
    *,
    key: str,
    version: str,
    selected: str | None,
    height: int = 566,
) -> str | None:
    """Draw a trace and return the id of the span the person selected."""
    data = {"v": version, "cols": columns, "selected": selected, "height": height}
    answer = _WATERFALL(
        key=key, data=data, default={"selected": selected}, on_selected_change=_nothing
    )
    chosen: str | None = answer.selected
    return chosen


def sheet(blocks: Sequence[Block], *, key: str) -> None:
    """Draw blocks of text one below the other; their shapes: `blocks.py`."""
    _SHEET(key=key, data={"blocks": list(blocks)})


def page_state(*, key: str) -> PageState:
    """Draw nothing; return what the browser tells, and run again when that changes. / goes to the search."""
    told = _PAGE(
        key=key, default={"hidden": False}, on_hidden_change=_nothing, on_help_change=_nothing
    )
    return PageState(is_hidden=bool(told.hidden), asks_for_help=bool(told.help))


def _nothing() -> None:
    """Streamlit keeps a component's state only if something listens to it."""
