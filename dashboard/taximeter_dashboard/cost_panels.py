"""Below the breakdowns of spend: where the month ends, what has no budget, what has no price."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from taximeter_collector.forecast import TooFewDays
from taximeter_dashboard import blocks, format, frame, queries, session
from taximeter_dashboard.alerts_api import Answer
from taximeter_dashboard.components import sheet

A_BUDGET: Final = '- {name: all, watch: cost_usd, when: "budget $500 per week"}'


def forecast_card(budgets: Answer) -> None:
    """Draw where this month ends, and how to set a budget if there is none."""
    now = datetime.now(UTC)
    # By the quarter of an hour: a question that changes with every second could not be kept.
    asked_at = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    found = queries.month_end(session.reader(), session.scope(), asked_at)
    with frame.card("Month end", f"{now:%B}, UTC, these filters", key="forecast"):
        if isinstance(found, TooFewDays):
            text = (
                f"{format.usd(found.spent_usd)} so far. Not enough days for a forecast:"
                f" {found.days} complete of {found.needed} needed."
            )
            sheet([blocks.note(text)], key="forecast-none")
            _no_budget(budgets)
            return
        way = "workdays and weekends apart" if found.knows_weekends else "all days alike"
        facts: list[blocks.Fact] = [
            ("So far", format.usd(found.spent_usd)),
            ("Expected", format.usd(found.expected_usd)),
            ("Four times in five", f"{format.usd(found.low_usd)} – {format.usd(found.high_usd)}"),
        ]
        text = (
            f"The mean of {found.days} complete days, {way}, for the days that are left; the"
            " interval is how much days differed. It knows no trend and no plan."
        )
        sheet([blocks.facts(facts), blocks.note(text)], key="forecast-facts")
        _no_budget(budgets)


def _no_budget(budgets: Answer) -> None:
    """Say how to set a budget where there is none, or that none can be known."""
    if not budgets.is_reachable:
        text = "The alerts service does not answer, so budgets are not known: start it with `taximeter alerts`."
        sheet([blocks.note(text, "warn")], key="budgets-unknown")
    elif not budgets.rows:
        sheet(
            [blocks.title("", "No budget is set. One is a rule in alerts.yaml:")], key="no-budget"
        )
        st.code(A_BUDGET, language=None, wrap_lines=True)


def unpriced_card(now: queries.Row) -> None:
    """Draw the models whose tokens are in no total."""
    found = queries.unpriced_in(session.reader(), session.scope())
    sub = f"{format.percent(now['priced_ratio'])} of the tokens have a price"
    with frame.card("Without a price", sub, key="unpriced"):
        if not found:
            text = "Every call of this window has a price."
            sheet([blocks.note(text, "good")], key="all-priced")
            return
        items = [
            blocks.item(
                row["model"] or "unknown model",
                f"{row['provider'] or 'unknown provider'} · {format.count(row['tokens'])} tokens,"
                f" {format.percent(row['priced_ratio'])} of them priced",
                tone="warn",
                href=session.requests_with("model", row["model"]),
            )
            for row in found[:6]
        ]
        text = "These tokens are in no total. Set-up says how to give a model its price."
        sheet([blocks.listing(items), blocks.note(text)], key="unpriced-list")
