"""Sessions and users: who spends, how often it fails, when they were last seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, format, frame, queries, session
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import kpis, sheet, table
from taximeter_dashboard.headlines import Headline, headline_item
from taximeter_dashboard.ordering import first_page, sorter, wanted_order
from taximeter_dashboard.queries import PeopleFilter, Who

SIZE: Final = 50
KINDS: Final[dict[str, Who]] = {"Sessions": "session", "Users": "user"}
HOW: Final[dict[Who, str]] = {
    "session": "Say it with taximeter.request(session=…), or set session.id on the spans.",
    "user": "Say it with taximeter.request(user=…), or set user.id on the spans.",
}


def headlines(who: Who) -> tuple[Headline, ...]:
    """Return the headline numbers of sessions or of users."""
    return (
        Headline(f"{who.capitalize()}s", "people", format.count, INK["muted"], "neutral", 0.05),
        Headline(f"Spend per {who}", "cost_each_usd", format.usd, INK["cost"], "lower", 0.05,
                 is_money=True, link={"sort": "-cost"}),
        Headline(f"Requests per {who}", "requests_each", format.decimal, INK["loop"], "neutral",
                 0.05),
        Headline(f"Without a {who}", "unnamed_ratio", format.percent, INK["latency"],
                 "lower", 0.05, is_ratio=True),
    )  # fmt: skip


def draw() -> None:
    chosen = st.segmented_control(
        "Who", list(KINDS), default="Sessions", required=True, key="who", bind="query-params",
        label_visibility="collapsed", on_change=first_page,
    )  # fmt: skip
    who = KINDS[chosen or "Sessions"]
    now = queries.people_totals(session.reader(), session.scope(), who)
    if not now["sample_requests"]:
        frame.nothing_yet("No requests in this window", "Widen the time range or clear a filter.")
        return
    if not now["people"]:
        text = f"No request of this window names its {who}. {HOW[who]}"
        sheet([blocks.title(f"No {who}s"), blocks.note(text)], key="nobody")
        return
    _headlines(who, now)
    _list(who)


def _headlines(who: Who, now: queries.Row) -> None:
    scope, reader = session.scope(), session.reader()
    before = queries.people_totals(session.settled(), scope.previous, who)
    series = queries.people_over_time(reader, scope, who)
    earlier = queries.people_over_time(session.settled(), scope.previous, who)
    covered = queries.totals(reader, scope, ["cost_usd"])["priced_ratio"]
    items = [
        headline_item(
            h, {**now, "priced_ratio": covered}, before, unit="", values=series.values[h.metric],
            earlier=earlier.values[h.metric], href=session.url(h.page, **h.link),
        )
        for h in headlines(who)
    ]  # fmt: skip
    zone = session.zone()
    kpis(items, [format.moment(t, zone, seconds=False) for t in series.times], key="people-kpis")


def columns(who: Who) -> list[dict[str, object]]:
    """Return the columns of the table of sessions or users."""
    return [
        {"label": who.capitalize(), "type": "main", "prio": "p1"},
        {"label": "Users" if who == "session" else "Sessions", "cls": "mute", "width": "16%",
         "hide": "h1"},
        {"label": "Agents", "cls": "mute", "width": "20%", "hide": "h1"},
        {"label": "Last seen", "cls": "mute", "sort": "seen", "width": "112px"},
        {"label": "Requests", "align": "r", "sort": "requests", "width": "98px"},
        {"label": "Error rate", "type": "meter", "color": "error", "align": "r", "sort": "errors",
         "width": "100px"},
        {"label": "$ / request", "align": "r", "sort": "each", "width": "106px", "hide": "h1"},
        {"label": "Spend", "type": "meter", "color": "cost", "align": "r", "sort": "cost",
         "width": "96px", "prio": "p2"},
    ]  # fmt: skip


@st.fragment(key="people-fragment")
@frame.guarded
def _list(who: Who) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="search-row"):
        text = st.text_input(
            "Search", type="search", placeholder=f"Part of a {who}'s name", key="q",
            bind="query-params", live=True, label_visibility="collapsed", width=300,
            on_change=first_page, icon=":material/search:",
        )  # fmt: skip
        st.space("stretch")
        counted = st.empty()
    sort, is_descending = wanted_order(queries.PEOPLE_SORTS, "cost")
    wanted = PeopleFilter((text or "").strip(), sort, is_descending)
    page = int(st.session_state.get("page") or 1)
    number, rows = queries.people_page(
        session.reader(), session.scope(), who, wanted, page, SIZE
    )  # fmt: skip
    counted.caption(
        f"**{format.exact(number)}** {who}{'' if number == 1 else 's'}", width="content"
    )
    dearest = max((row["cost_usd"] or 0 for row in rows), default=0) or 1
    table(
        columns(who), [as_row(row, who, dearest) for row in rows], key="people-table",
        sort=sort, is_descending=is_descending,
        on_sort=sorter("people-table", sort, is_descending),
        empty=(f"No {who} matches", "Clear the search or widen the time range."),
    )  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.pagination(
            max(1, -(-number // SIZE)), key="page", bind="query-params", max_visible_pages=5
        )


def as_row(row: queries.Row, who: Who, dearest: float) -> dict[str, object]:
    """Return one session or user as the table component draws it."""
    name, unpriced = row["name"], row["unpriced_requests"]
    narrowed = {"session": name} if who == "session" else {"user": [name]}
    seen, others = format.ago(datetime.now(UTC) - row["last_seen"]), row["others"] or []
    agents = row["agents"] or []
    badge = f"{format.exact(unpriced)} without a price" if unpriced else None
    return {
        "id": name,
        "sub": f"{format.exact(row['requests'])} request{'' if row['requests'] == 1 else 's'} · {format.percent(row['error_rate'])}"
        f" failed · {seen}",
        "c": [
            [name, session.url("requests", **narrowed), None, badge],
            [format.listing(others, 1), ", ".join(others[:20])],
            [format.listing(agents, 2), ", ".join(agents[:20])],
            [seen, format.moment(row["last_seen"], session.zone())],
            format.exact(row["requests"]),
            [format.percent(row["error_rate"]), row["error_rate"]],
            format.usd(row["cost_per_request_usd"]),
            [format.usd(row["cost_usd"]), (row["cost_usd"] or 0) / dearest],
        ],
    }


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
