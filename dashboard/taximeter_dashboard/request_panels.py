"""Beside a request's waterfall: its conversation, and its cost over its time."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_dashboard import (
    blocks,
    conversation,
    format,
    frame,
    queries,
    request_cost,
    session,
)
from taximeter_dashboard.components import sheet

TURNS: Final = 100
"""On one page: what a browser draws at once."""
CHART_HEIGHT: Final = 320


@st.cache_data(max_entries=8, show_spinner="Reading what was said")
def _said(
    request_id: str, window: queries.Received, data_version: int
) -> tuple[list[conversation.Turn], str, bool]:
    said = queries.said_in(session.reader(), request_id, window)
    turns = conversation.turns_of(said.rows)
    return turns, conversation.missing_note(said.spans, len(turns)), said.is_cut


def conversation_card(request_id: str, window: queries.Received) -> None:
    """Draw what was asked, said and done in order, a hundred turns a page."""
    if not session.may_see_content():
        text = "What agents were told and said is not shown to you (dashboard.content)."
        with frame.card("Conversation", key="conversation"):
            sheet([blocks.note(text)], key="no-conversation")
        return
    turns, missing, is_cut = _said(request_id, window, session.reader().data_version())
    sub = "each message once, with the span that tells it" if turns else ""
    with frame.card("Conversation", sub, key="conversation"):
        if missing:
            sheet([blocks.note(missing, "warn" if turns else "")], key="conversation-missing")
        if not turns:
            return
        pages = -(-len(turns) // TURNS)
        page = 1
        if pages > 1:
            page = st.pagination(pages, key="turns", bind="query-params", max_visible_pages=5)
        shown = turns[(page - 1) * TURNS : page * TURNS]
        sheet([_block(request_id, turn) for turn in shown], key="conversation-turns")
        if is_cut and page == pages:
            text = "This request said more than is shown here; the rest is in its spans' Input and Output."
            sheet([blocks.note(text, "warn")], key="conversation-cut")


def _block(request_id: str, turn: conversation.Turn) -> blocks.Block:
    href = session.url("request", id=request_id, span=turn.span_id)
    return conversation.turn_block(turn, href, format.moment(turn.at, session.zone()))


def cost_card(spans: list[queries.Row]) -> None:
    """Draw the request's money as it was spent, with tools and failed calls marked."""
    spent = request_cost.spent_over_time(spans)
    with frame.card("Cost over time", request_cost.summary(spent), key="spent"):
        if not spent.steps:
            text = "No call of this request has a price." if spent.unpriced else "It made no call."
            sheet([blocks.note(text)], key="nothing-spent")
            return
        alt = f"Cumulative cost over the request's time: {request_cost.summary(spent)}"
        st.echarts_chart(
            request_cost.spent_chart(spent), height=CHART_HEIGHT, key="chart-spent", alt=alt
        )
        if text := request_cost.left_out(spent):
            sheet([blocks.note(text)], key="spent-left-out")
