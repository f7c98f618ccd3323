"""Costs: where spend goes, what changed it against the previous period, and where the month will end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from taximeter_collector.decompose import FACTOR_NAMES, FACTORS, Decomposition
from taximeter_dashboard import blocks, category_charts, format, frame, queries, session
from taximeter_dashboard.budget_rows import touching
from taximeter_dashboard.category_charts import Stage
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.cost_panels import forecast_card, unpriced_card
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.panels import budgets_card, happened, headline_row, spend_over_time

HEIGHT: Final = 250
NOTE_HEIGHT: Final = 44
"""So that the card beside the one with notes is filled."""
GROUPS: Final = 12
PICO: Final = 1e12
HEADLINES: Final = (
    Headline("Spend", "cost_usd", format.usd, INK["cost"], "lower", 0.1, is_money=True,
             link={"sort": "-cost"}),
    Headline("Requests", "requests", format.count, INK["muted"], "neutral", 0.1),
    Headline("Cost per request", "cost_per_request_usd", format.usd, INK["cost"], "lower", 0.05,
             is_money=True, link={"sort": "-cost"}),
    Headline("Tokens", "tokens", format.count, INK["latency"], "neutral", 0.1,
             link={"sort": "-tokens"}),
)  # fmt: skip
_NAMES: Final = {"agent_name": "Agent", "agent_version": "Agent version", "service_name": "Service",
                 "user_id": "User"}  # fmt: skip


def dimension_name(dimension: str) -> str:
    return _NAMES.get(dimension) or format.words(dimension)


def draw() -> None:
    scope, reader = session.scope(), session.reader()
    names = [headline.metric for headline in HEADLINES]
    now = queries.totals(reader, scope, names)
    if not now["sample_requests"] and not now["tokens"]:
        frame.nothing_yet("No spend in this window", "Widen the time range or clear a filter.")
        return
    headline_row(HEADLINES, now, key="cost-kpis")
    happened()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="split"):
        by = _dimension("Split by", "by", "agent_name")
        across = _dimension("and by", "and", "model")
    total, groups = queries.change_of_spend(reader, scope, by)
    with st.grid(2, min_column_width=350, gap="small"):
        notes = _change_notes(total) if total.before.calls else []
        _change(total, notes)
        spend_over_time(
            now, by, f"Spend by {dimension_name(by).lower()}", format.usd(now["cost_usd"]),
            key="spend-by", height=HEIGHT + NOTE_HEIGHT * len(notes),
        )  # fmt: skip
    _groups(by, groups)
    budgets = session.alerts().budgets()
    budgets_card(
        touching(budgets.rows, scope.where), budgets.evaluated_to, alerts=session.url("alerts")
    )
    with st.grid(2, min_column_width=350, gap="small"):
        forecast_card(budgets)
        unpriced_card(now)
    _shares(by)
    _matrix(by, across)


def _dimension(label: str, key: str, default: str) -> str:
    options = list(queries.SPEND_DIMENSIONS)
    chosen = st.selectbox(
        label, options, index=options.index(default), key=key, bind="query-params",
        format_func=dimension_name, width=164,
    )  # fmt: skip
    return str(chosen or default)


def _change(total: Decomposition, notes: Sequence[blocks.Block]) -> None:
    before, after = total.before.cost_pico / PICO, total.after.cost_pico / PICO
    change = format.change_relative(after, before)
    sub = f"{format.usd(before)} → {format.usd(after)}" + (f" · {change}" if change else "")
    with frame.card("What changed", f"{sub} against the previous period", key="change"):
        if not total.before.calls:
            text = "The previous period has no priced call to compare with."
            sheet([blocks.note(text)], key="no-change")
            return
        spec = category_charts.waterfall(stages(total))
        alt = "Change of spend by factor: " + ", ".join(
            f"{stage.name} {stage.text}" for stage in stages(total)
        )
        st.echarts_chart(spec, height=HEIGHT, key="chart-change", alt=alt)
        if notes:
            sheet(notes, key="change-notes")


def stages(total: Decomposition) -> list[Stage]:
    """Return the bars from the previous period's spend to this one's."""
    before, after = total.before.cost_pico / PICO, total.after.cost_pico / PICO
    names = {factor: name.capitalize() for factor, name in FACTOR_NAMES.items()}
    names |= {"requests": "Calls"} if total.counts_calls else {}
    steps = [
        Stage(names[factor], usd, signed_usd(usd))
        for factor in FACTORS
        if (usd := total.parts[factor] / PICO) or factor not in ("other_charges", "price")
    ]
    return [
        Stage("Before", before, format.usd(before), is_total=True),
        *steps,
        Stage("Now", after, format.usd(after), is_total=True),
    ]


def signed_usd(usd: float | None) -> str:
    """Return money with its sign, +$3.20."""
    return f"+{format.usd(usd)}" if usd is not None and usd > 0 else format.usd(usd)


def _change_notes(total: Decomposition) -> list[blocks.Block]:
    notes = []
    unpriced = total.before.unpriced_calls + total.after.unpriced_calls
    if unpriced:
        text = (
            f"Not in it: calls without a price, {format.exact(total.before.unpriced_calls)} before"
            f" and {format.exact(total.after.unpriced_calls)} now"
            f" ({format.count(total.after.unpriced_tokens)} tokens)."
        )
        notes.append(blocks.note(text, "warn"))
    for verb, models in (("New", total.models_added), ("No longer used", total.models_gone)):
        if models:
            notes.append(blocks.note(f"{verb}: {format.listing(models, 3)}. Counts as model mix."))
    return notes


CHANGE_COLUMNS: Final = (
    {"label": "Before", "align": "r", "cls": "mute", "width": "96px", "hide": "h1"},
    {"label": "Now", "align": "r", "width": "96px", "hide": "h1"},
    {"label": "Change", "type": "meter", "color": "cost", "align": "r", "width": "110px",
     "prio": "p2"},
    {"label": "Mostly", "width": "32%", "hide": "h1"},
    {"label": "Requests", "type": "link", "align": "r", "width": "92px"},
)  # fmt: skip


def _groups(by: str, groups: Mapping[str | None, Decomposition]) -> None:
    largest = max((abs(g.change_pico) for g in groups.values()), default=0) or 1
    rows = [
        {
            "id": name or "",
            "sub": _why(group),
            "c": [
                [name or "unknown", _target(by, name), None],
                format.usd(group.before.cost_pico / PICO),
                format.usd(group.after.cost_pico / PICO),
                [signed_usd(group.change_pico / PICO), abs(group.change_pico) / largest],
                _why(group),
                ["show", session.requests_with(by, name)],
            ],
        }
        for name, group in list(groups.items())[:GROUPS]
        if group.change_pico
    ]
    sub = f"change by {dimension_name(by).lower()}, each decomposed by itself"
    with frame.card("Who made the change", sub, key="who"):
        table(
            (_named(by), *CHANGE_COLUMNS), rows, key="who-table",
            empty=("Nothing changed", "Spend is what it was in the previous period."),
        )  # fmt: skip


def _why(group: Decomposition) -> str:
    if not group.before.calls:
        return "new in this period"
    if not group.after.calls:
        return "gone in this period"
    if group.main_factor is None:
        return format.UNKNOWN
    name = FACTOR_NAMES[group.main_factor].capitalize()
    if group.counts_calls and group.main_factor == "requests":
        name = "Calls"
    return f"{name} {signed_usd(group.parts[group.main_factor] / PICO)}"


SHARE_COLUMNS: Final = (
    {"label": "Spend", "align": "r", "width": "104px", "prio": "p2"},
    {"label": "Change", "align": "r", "cls": "mute", "width": "84px", "hide": "h1"},
    {"label": "Of spend", "type": "meter", "color": "cost", "align": "r", "width": "100px"},
    {"label": "Of use", "type": "meter", "color": "", "align": "r", "width": "100px"},
    {"label": "Weight", "align": "r", "width": "84px", "hide": "h1"},
    {"label": "$ / request", "align": "r", "width": "104px"},
    {"label": "Priced", "align": "r", "cls": "mute", "width": "84px", "hide": "h1"},
)  # fmt: skip


def _shares(by: str) -> None:
    found = queries.spend_by(session.reader(), session.scope(), by)
    rows = [
        {
            "id": r["name"] or "",
            "sub": f"{format.percent(r['spend_share'])} of spend ·"
            f" {format.percent(r['use_share'])} of use",
            "c": [
                [r["name"] or "unknown", session.requests_with(by, r["name"]), None],
                format.usd(r["cost_usd"]),
                format.change_relative(r["cost_usd"], r["before_usd"]) or format.UNKNOWN,
                [format.percent(r["spend_share"]), r["spend_share"]],
                [format.percent(r["use_share"]), r["use_share"]],
                _weight(r),
                format.usd(r["cost_per_request_usd"]),
                format.percent(r["priced_ratio"]),
            ],
        }
        for r in found[: 2 * GROUPS]
    ]
    use = "tokens" if by in ("provider", "model") else "requests"
    sub = f"share of spend against share of {use} · weight: the first ÷ the second"
    if len(found) > len(rows):
        sub += f" · the {len(rows)} dearest of {format.exact(len(found))}"
    with frame.card("Spend against use", sub, key="shares"):
        columns = (_named(by), *SHARE_COLUMNS)
        table(columns, rows, key="share-table", empty=("No spend", "Widen the range."))


def _target(by: str, name: str | None) -> str:
    """Return the agent's own page, else the requests."""
    if by == "agent_name" and name is not None:
        return session.url("agents", agent=[name])
    return session.requests_with(by, name)


def _named(by: str) -> dict[str, str]:
    return {"label": dimension_name(by), "type": "main", "prio": "p1"}


def _weight(row: queries.Row) -> str:
    if not row["use_share"] or row["spend_share"] is None:
        return format.UNKNOWN
    return f"×{format.decimal(row['spend_share'] / row['use_share'])}"


def _matrix(down: str, across: str) -> None:
    title = f"{dimension_name(down)} by {dimension_name(across).lower()}"
    if down == across:
        return
    matrix = queries.spend_matrix(session.reader(), session.scope(), down, across)
    if not matrix.cells:
        return
    head = (dimension_name(down), *(f">{name or 'unknown'}" for name in matrix.columns), ">Sum")
    cells = [
        [
            row or "unknown",
            *(format.usd(matrix.cells.get((row, column))) for column in matrix.columns),
            format.usd(sum(usd for key, usd in matrix.cells.items() if key[0] == row)),
        ]
        for row in matrix.rows
    ]
    with frame.card(title, "spend in this window", key="matrix"):
        sheet([blocks.grid(head, cells)], key="matrix-grid")


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
