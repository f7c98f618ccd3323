"""Cache: how much of the prompts it serves, what it saves and wastes, why it misses, how long it should live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from taximeter_collector.cache_reuse import CAUSES, LifetimeAdvice
from taximeter_dashboard import blocks, charts, format, frame, queries, session
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.panels import happened, headline_row, priced_badges, time_chart

HEIGHT: Final = 226
ROWS: Final = 20
FOLLOWED: Final = timedelta(days=7)
MOST_FOLLOWED: Final = 100_000
"""Calls; so many take the collector about half a second."""
KEEP: Final = timedelta(minutes=5)
NOTABLE_USD: Final = 0.01
NOTABLE_SHARE: Final = 0.05
HEADLINES: Final = (
    Headline("Cache-hit ratio", "cache_hit_ratio", format.percent, INK["cache"], "higher", 0.02,
             is_ratio=True, link={"sort": "cache"}),
    Headline("Saved", "cache_saved_usd", format.usd, INK["cache"], "higher", 0.1, is_money=True,
             link={"sort": "cache"}),
    Headline("Saved share", "cache_saved_ratio", format.percent, INK["cache"],
             "higher", 0.02, is_ratio=True),
    Headline("Reads per written token", "cache_reuse", format.decimal, INK["cost"], "higher", 0.1),
)  # fmt: skip
UNITS: Final = {
    "cache_hit_ratio": "of prompt tokens",
    "cache_saved_usd": "net",
    "cache_saved_ratio": "of the prompts' price",
    "cache_reuse": "on average",
}
CAUSE_TEXT: Final[Mapping[str, tuple[str, str]]] = {
    "prefix_changed": ("Prefix changed", "in time, yet not read: another text, or evicted early"),
    "expired": ("Expired", "the gap since the call before was longer than the lifetime"),
    "concurrent": ("At the same time", "sent before the call that writes the prefix had answered"),
    "first_call": ("First call", "nothing of this agent in the hour before"),
    "never_written": ("Never cached", "this agent and model neither wrote nor read a cache"),
    "below_minimum": ("Too short", "a prompt below 1,024 tokens, which hardly any provider caches"),
    "new_text": ("New text", "nothing before it is known to be shared"),
    "hit": ("Read", "what was cached before was read"),
}
UNKNOWABLE: Final = {
    "Whose tokens were read": "Providers tell how many, not which. A written token counts as read"
    " again when the next call of the run, or the first call of the next run of the agent, read that"
    " far within the lifetime: an estimate.",
    "Changed or evicted": "A changed prompt and an early eviction look the same. A cause that sets"
    " in with a version is the prompt; one that comes and goes is more likely the provider.",
    "How long it really lived": "Lifetimes are the providers' stated ones: 5 minutes, an hour where"
    " it was asked for, 30 minutes for OpenAI. Storage that is billed by the hour is not told.",
}


def draw() -> None:
    scope, reader = session.scope(), session.reader()
    names = [headline.metric for headline in HEADLINES]
    now = queries.totals(reader, scope, [*names, "tokens"])
    if not now["tokens"]:
        frame.nothing_yet("No model call in this window", "Widen the time range or clear a filter.")
        return
    if now["cache_hit_ratio"] is None:
        text = (
            "No emitter of this window reports what was cached, so the ratio is unknown and not 0."
            " The provider's usage object (taximeter's shim, or its own SDK's spans) tells it."
        )
        sheet([blocks.title("Caching is not reported"), blocks.note(text)], key="not-reported")
        return
    headline_row(HEADLINES, now, units=UNITS, key="cache-kpis")
    happened()
    with st.grid(2, min_column_width=350, gap="small"):
        _ratio()
        _saved(now)
    _followed()


@frame.guarded
def _followed() -> None:
    """Draw what needs each call beside the one before it: dear to ask, so kept for minutes."""
    scope = session.scope()
    start = max(scope.start, scope.end - FOLLOWED)
    asked_at, fates = _fates(start, scope.end, scope.filters)
    part = part_followed(fates, "" if start == scope.start else f"the last {FOLLOWED.days} days")
    as_of = f"as of {format.moment(asked_at, session.zone(), seconds=False)}"
    _by_agent_and_model(fates.rows, f"{part}, {as_of}" if part else as_of)
    _causes(fates.rows, part)
    with st.grid(2, min_column_width=350, gap="small"):
        _worst(fates.rows)
        _lifetimes(fates.rows)
    with frame.card("What cannot be known", key="unknowable"):
        items = [blocks.item(title, text) for title, text in UNKNOWABLE.items()]
        sheet([blocks.listing(items)], key="unknowable-list")


@st.cache_data(ttl=KEEP, max_entries=64, show_spinner="Following each call's prefix")
def _fates(
    start: datetime, end: datetime, filters: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[datetime, queries.Fates]:
    asked_at = datetime.now(UTC)
    scope = replace(session.scope(), start=start, end=end, filters=filters)
    return asked_at, queries.prefix_fates(session.reader(), scope, asked_at, MOST_FOLLOWED)


def part_followed(fates: queries.Fates, days: str) -> str:
    """Return which calls of the window were followed, "" for all; `days` is what was asked for, "" for all of it.

    >>> part_followed(queries.Fates(datetime.now(UTC), 100_000, 1_240_000, []), "the last 7 days")
    'the newest 100k of 1.24M calls of the last 7 days'
    """
    if fates.followed >= fates.calls:
        return days
    text = f"the newest {format.count(fates.followed)} of {format.count(fates.calls)} calls"
    return f"{text} of {days}" if days else text


def _ratio() -> None:
    series = queries.hit_ratio_by_agent(session.reader(), session.scope())
    drawn = [
        charts.Line(name, [None if v is None else v * 100 for v in values],
                    charts.CATEGORIES[i % len(charts.CATEGORIES)])
        for i, (name, values) in enumerate(series.values.items())
    ]  # fmt: skip
    sub = "cached prompt tokens ÷ prompt tokens, the agents with most"
    with frame.card("Hit ratio by agent", sub, key="ratio"):
        spec = charts.lines(series.times, drawn, y_format="{value}%", tip="%.1f%%", y_max=100)
        time_chart(
            spec, series.times, height=HEIGHT, key="ratio", alt="Hit ratio by agent over time"
        )


def _saved(now: queries.Row) -> None:
    scope, reader = session.scope(), session.reader()
    series = queries.over_time_by(reader, scope, "cache_saved_usd", "agent_name")
    sub = f"{format.usd(now['cache_saved_usd'])}, net of what writing costs more"
    with frame.card("Saved by agent", sub, key="saved", badges=priced_badges(now)):
        spec = charts.stacked(series.times, series.values, is_money=True)
        time_chart(spec, series.times, height=HEIGHT, key="saved", alt=f"Saved by agent: {sub}")


MODEL_COLUMNS: Final = (
    {"label": "Agent", "type": "main", "prio": "p1"},
    {"label": "Model", "cls": "mute", "width": "18%", "hide": "h1"},
    {"label": "Hit ratio", "type": "meter", "color": "cache", "align": "r", "width": "100px",
     "prio": "p2"},
    {"label": "Written", "align": "r", "width": "84px", "hide": "h1"},
    {"label": "Reads / write", "align": "r", "width": "108px", "hide": "h1"},
    {"label": "Saved", "align": "r", "width": "92px"},
    {"label": "Wasted", "align": "r", "width": "92px"},
    {"label": "Missed", "align": "r", "width": "92px"},
)  # fmt: skip


def _by_agent_and_model(fates: list[queries.Row], as_of: str) -> None:
    rows = []
    found = queries.cache_by_agent_and_model(session.reader(), session.scope())
    for r in sorted(found, key=lambda r: -(r["cache_saved_usd"] or 0))[:ROWS]:
        own = [f for f in fates if all(f[k] == r[k] for k in ("agent_name", "provider", "model"))]
        wasted, missed = queries.added(own, "unread_usd"), queries.added(own, "missed_usd")
        name = r["agent_name"]
        rows.append({
            "id": f"{name}/{r['model']}",
            "sub": f"{r['model']} · saved {format.usd(r['cache_saved_usd'])} ·"
            f" wasted {format.usd(wasted)} · missed {format.usd(missed)}",
            "c": [
                [name or "unknown", session.url("agents", agent=[name]) if name else "", None],
                r["model"],
                [format.percent(r["cache_hit_ratio"]), r["cache_hit_ratio"]],
                format.percent(r["cache_write_share"]),
                format.decimal(r["cache_reuse"], 1),
                format.usd(r["cache_saved_usd"]),
                format.usd(wasted),
                format.usd(missed),
            ],
        })  # fmt: skip
    wasted, judged = queries.added(fates, "unread_usd"), queries.added(fates, "judged_tokens")
    unread = queries.added(fates, "unread_tokens")
    sub = (
        f"wasted: {format.count(unread)} of {format.count(judged)} written tokens were never read,"
        f" {format.usd(wasted)} · wasted and missed {as_of}"
    )
    with frame.card("By agent and model", sub, key="by-model"):
        table(MODEL_COLUMNS, rows, key="cache-table", empty=("No cache", "Nothing is reported."))


CAUSE_COLUMNS: Final = (
    {"label": "Cause", "type": "main", "prio": "p1", "width": "150px"},
    {"label": "Means", "cls": "mute", "hide": "h1"},
    {"label": "Calls", "align": "r", "width": "84px"},
    {"label": "Of calls", "type": "meter", "color": "", "align": "r", "width": "92px"},
    {"label": "Missed tokens", "align": "r", "width": "116px"},
    {"label": "Cost more", "align": "r", "width": "100px", "prio": "p2"},
)  # fmt: skip


def _causes(fates: list[queries.Row], part: str) -> None:
    calls = queries.added(fates, "calls") or 0
    by_cause = {cause: [f for f in fates if f["cause"] == cause] for cause in CAUSES}
    dear = {cause: queries.added(own, "missed_usd") or 0 for cause, own in by_cause.items()}
    rows = []
    for cause in sorted(CAUSES, key=lambda cause: -dear[cause]):
        own = by_cause[cause]
        if not own:
            continue
        name, text = CAUSE_TEXT[cause]
        number = queries.added(own, "calls") or 0
        missed = queries.added(own, "missed_tokens")
        rows.append({
            "id": cause,
            "sub": f"{format.percent(number / calls)} of calls: {text}",
            "c": [
                [name, "", None],
                text,
                format.count(number),
                [format.percent(number / calls), number / calls],
                format.count(missed) if missed else format.UNKNOWN,
                format.usd(queries.added(own, "missed_usd")),
            ],
        })  # fmt: skip
    sub = "what calls could have read, and what it cost to send it again"
    if part:
        sub += f" · {part}"
    with frame.card("Why the cache missed", sub, key="causes"):
        table(CAUSE_COLUMNS, rows, key="cause-table", empty=("No call", "Nothing is reported."))


def _worst(fates: list[queries.Row]) -> None:
    dear = sorted(
        (f for f in fates if (f["missed_usd"] or 0) >= NOTABLE_USD),
        key=lambda f: -(f["missed_usd"] or 0),
    )
    items = [
        blocks.item(
            " ".join(part for part in (f["agent_name"], f["agent_version"]) if part) or "unknown",
            f"{CAUSE_TEXT[f['cause']][0].lower()} in {format.count(f['calls'])} calls of {f['model']}",
            tone="bad" if f["cause"] == "prefix_changed" else "warn",
            meta=format.usd(f["missed_usd"]),
            href=_requests_of(f),
        )
        for f in dear[:6]
    ]
    with frame.card("Dearest misses", "by agent, version and cause", key="worst"):
        nothing = [blocks.note("No miss cost more than a cent.", "good")]
        sheet([blocks.listing(items)] if items else nothing, key="worst-list")


def _requests_of(fate: queries.Row) -> str:
    """Return the requests a sub-agent is found in, too: they are searched for its name."""
    name = fate["agent_name"]
    return session.url("requests", agent=None, q=name, sort="cache") if name else ""


def _lifetimes(fates: list[queries.Row]) -> None:
    found = queries.advice_of(session.reader(), fates)
    items = [lifetime_item(advice) for advice in found[:8]]
    sub = "5 minutes or an hour, by the gaps between real calls"
    with frame.card("How long should it live?", sub, key="lifetime"):
        if not items:
            text = "No model of this window offers a choice of lifetime in the price book."
            sheet([blocks.note(text)], key="no-lifetime")
            return
        text = (
            "Of the calls followed, at today's standard prices; a prefix that changed counts as written"
            " anew under both."
        )
        sheet([blocks.listing(items), blocks.note(text)], key="lifetime-list")


def lifetime_item(advice: LifetimeAdvice) -> blocks.Block:
    """Return the advice in words: what an hour saves or costs, and where it would break even."""
    wanted = "an hour" if advice.is_longer_better else "5 minutes"
    is_change = advice.saving_usd >= max(NOTABLE_USD, NOTABLE_SHARE * advice.now_usd)
    text = (
        f"5 minutes {format.usd(advice.short_usd)}, an hour {format.usd(advice.long_usd)}, as now"
        f" {format.usd(advice.now_usd)} ({format.percent(advice.long_share)} of writes live an"
        f" hour). {format.percent(advice.late_share)} of what 5 minutes would write anew comes back"
        f" within the hour; an hour pays from {format.percent(advice.break_even_share)} on."
    )
    return blocks.item(
        advice.agent_name or "unknown",
        text,
        tone="warn" if is_change else "",
        badges=[
            blocks.badge(f"take {wanted}" if is_change else "keep it", "warn" if is_change else "")
        ],
        meta=f"{format.usd(advice.saving_usd)} saved" if is_change else "",
    )


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
