"""Agents: a row each; with one agent in the filter, that agent: versions, loops, endings, tools."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, category_charts, charts, format, frame, queries, session
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.panels import headline_row
from taximeter_dashboard.version_rows import comparison_rows

HEIGHT: Final = 226
SINGLE_LENGTHS: Final = 12
ENDING_INK: Final = {
    "completed": INK["cache"],
    "error": INK["error"],
    "iteration_cap": INK["latency"],
    "tool_call_cap": "#F2A541",
    "truncated": "#9AA35A",
    "refused": "#C2557F",
    "thrashing": INK["loop"],
    "deadline": "#57B4E9",
    "unknown": INK["muted"],
}
OTHER_ENDING: Final = "#7B8494"
OF_REQUESTS: Final = (
    Headline("Spend", "cost_usd", format.usd, INK["cost"], "lower", 0.1, is_money=True,
             link={"sort": "-cost"}),
    Headline("Cost per request", "cost_per_request_usd", format.usd, INK["cost"], "lower", 0.05,
             is_money=True, link={"sort": "-cost"}),
    Headline("Loop length", "loop_length_mean", format.decimal, INK["loop"], "lower", 0.05,
             link={"sort": "-loops"}),
    Headline("Error rate", "error_rate", format.percent, INK["error"], "lower", 0.005,
             is_ratio=True, link={"status": "Errors"}),
    Headline("Cache-hit ratio", "cache_hit_ratio", format.percent, INK["cache"], "higher", 0.02,
             is_ratio=True, link={"sort": "cache"}),
)  # fmt: skip
OF_CALLS: Final = (
    OF_REQUESTS[0],
    Headline("Tokens", "tokens", format.count, INK["latency"], "neutral", 0.1),
    Headline("Call errors", "call_error_rate", format.percent, INK["error"], "lower", 0.005,
             is_ratio=True),
    OF_REQUESTS[4],
)  # fmt: skip


def draw() -> None:
    chosen = session.scope().where.get("agent_name", [])
    if len(chosen) == 1:
        _one_agent(chosen[0])
        return
    ranked = queries.by_agent(session.reader(), session.scope(), limit=200)
    if not ranked:
        frame.nothing_yet("No agent in this window", "Widen the time range or clear a filter.")
        return
    _all_agents(ranked)


COLUMNS: Final = (
    {"label": "Agent", "type": "main", "prio": "p1"},
    {"label": "Spend", "align": "r", "width": "92px", "prio": "p2"},
    {"label": "Spend over time", "type": "trend", "width": "15%", "hide": "h2"},
    {"label": "Requests", "type": "link", "align": "r", "width": "88px"},
    {"label": "$ / request", "align": "r", "width": "96px"},
    {"label": "Loop length", "type": "meter", "color": "loop", "align": "r", "width": "100px"},
    {"label": "Error rate", "type": "meter", "color": "error", "align": "r", "width": "92px"},
    {"label": "Cache hit", "type": "meter", "color": "cache", "align": "r", "width": "92px",
     "hide": "h1"},
    {"label": "How runs ended", "type": "parts", "width": "15%", "hide": "h1"},
)  # fmt: skip


def _all_agents(ranked: list[queries.Row]) -> None:
    endings = queries.endings_by_agent(session.reader(), session.scope())
    of_runs = queries.run_lengths(session.reader(), session.scope())
    loops = {
        # A sub-agent starts no request: its loop is that of its runs.
        r["agent_name"]: r["loop_length_mean"] if r["requests"] else of_runs.get(r["agent_name"])
        for r in ranked
    }
    longest = max((loop or 0 for loop in loops.values()), default=0) or 1
    rows = []
    for r in ranked:
        name, ended = r["agent_name"], endings.get(r["agent_name"], {})
        runs = sum(ended.values())
        started = format.count(r["requests"]) if r["requests"] else "sub-agent"
        href = session.requests_with("agent_name", name) if r["requests"] else _found_in(name)
        coverage = format.coverage(r["priced_ratio"])
        rows.append({
            "id": name,
            "sub": f"{format.count(runs)} runs · {format.usd(r['cost_per_request_usd'])} each ·"
            f" {format.percent(r['error_rate'])} failed",
            "c": [
                [name, session.url("agents", agent=[name]), None, coverage],
                format.usd(r["cost_usd"]),
                r["trend"],
                [started, href],
                format.usd(r["cost_per_request_usd"]),
                [format.decimal(loops[name]), (loops[name] or 0) / longest],
                [format.percent(r["error_rate"]), r["error_rate"]],
                [format.percent(r["cache_hit_ratio"]), r["cache_hit_ratio"]],
                [[format.words(reason), n / runs, ENDING_INK.get(reason, OTHER_ENDING),
                  format.percent(n / runs)] for reason, n in ended.items()],
            ],
        })  # fmt: skip
    with frame.card("Agents", f"{len(rows)}, ranked by spend", key="agents"):
        table(COLUMNS, rows, key="agents-table", empty=("No agent", "Name agents."))


def _found_in(agent: str) -> str:
    """Return the requests in which a sub-agent worked; it started none of them."""
    return session.url("requests", agent=None, q=agent)


def _one_agent(agent: str) -> None:
    reader, scope = session.reader(), session.scope()
    names = sorted({h.metric for h in (*OF_REQUESTS, *OF_CALLS)} | {"requests"})
    now = queries.totals(reader, scope, names)
    badges = [] if now["requests"] else [blocks.badge("sub-agent")]
    back = ("Agents", session.url("agents", agent=None))
    sheet([blocks.heading(agent, back=back, badges=badges)], key="agent-head")
    if not now["sample_requests"] and not now["tokens"]:
        frame.nothing_yet("Nothing of this agent in this window", "Widen the time range.")
        return
    headline_row(
        OF_REQUESTS if now["requests"] else OF_CALLS, now, key="agent-kpis",
        units={"cost_per_request_usd": f"{format.count(now['requests'])} requests"},
        href=None if now["requests"] else _found_in(agent),
    )  # fmt: skip
    _versions(agent)
    with st.grid(2, min_column_width=380, gap="small"):
        _loops()
        _endings()
    _tools(agent)
    _thrash(agent)


def _versions(agent: str) -> None:
    counts_requests, found = queries.versions(session.reader(), session.scope())
    unit = "requests" if counts_requests else "runs"
    with frame.card("Versions side by side", f"over {unit} in this window", key="versions"):
        if not found:
            sheet([blocks.note("No run of this agent ended in this window.")], key="no-versions")
            return
        named = {version.name or "no version": version for version in found}
        if len(named) > 1:
            with st.container(horizontal=True, gap="small", key="version-choice"):
                before = _choice("Before", "before", list(named), 1)
                after = _choice("After", "after", list(named), 0)
            head = ("", f">{before}", f">{after}", ">Difference", "Certainty")
            rows = comparison_rows(named[before], named[after], unit)
            sheet([blocks.grid(head, rows)], key="version-grid")
        zone = session.zone()
        items = [
            blocks.item(
                name,
                f"first seen {format.moment(version.first_seen, zone, seconds=False)} ·"
                f" last {format.moment(version.last_seen, zone, seconds=False)}",
                meta=f"{format.count(version.units)} {unit}",
                href=_of_version(agent, version.name, counts_requests),
            )
            for name, version in list(named.items())[:8]
        ]
        sheet([blocks.listing(items)], key="version-list")
        if len(named) == 1:
            text = "One version ran in this window. Widen it over a deploy to compare."
            sheet([blocks.note(text)], key="one-version")


def _choice(label: str, key: str, names: list[str], default: int) -> str:
    chosen = st.selectbox(label, names, index=default, key=key, bind="query-params", width=170)
    return str(chosen or names[default])


def _of_version(agent: str, version: str | None, counts_requests: bool) -> str:
    if not counts_requests:
        return _found_in(agent)
    return session.url("requests", agent=[agent], version=[version] if version else None)


def _loops() -> None:
    reader, scope = session.reader(), session.scope()
    now, before = queries.loop_lengths(reader, scope), queries.loop_lengths(reader, scope.previous)
    sub = f"model calls per run · {format.count(sum(now.values()))} runs"
    with frame.card("Loop length", sub, key="agent-loops"):
        if not now:
            sheet([blocks.note("No run of this window tells its length.")], key="no-loops")
            return
        periods = {"This period": now} | ({"Previous period": before} if before else {})
        names, series = loop_classes(periods)
        inks = (INK["loop"], INK["muted"])
        spec = category_charts.histogram(names, series, colors=inks, tip="%.1f%%")
        alt = "Share of runs by loop length, in percent"
        st.echarts_chart(spec, height=HEIGHT, key="chart-agent-loops", alt=alt)


def loop_classes(
    periods: dict[str, dict[int, int]],
) -> tuple[list[str], dict[str, list[float]]]:
    """Return class names and the share of runs in each, in percent; long loops by doubling.

    >>> loop_classes({"now": {1: 3, 14: 1}})
    (['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13–24'], {'now': [75.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25.0]})
    """
    longest = max((length for lengths in periods.values() for length in lengths), default=0)
    first = min((length for lengths in periods.values() for length in lengths), default=1)
    classes = [(n, n) for n in range(min(first, 1), min(longest, SINGLE_LENGTHS) + 1)]
    while classes and classes[-1][1] < longest:
        start = classes[-1][1] + 1
        classes.append((start, 2 * (start - 1)))
    shares = {
        name: [
            100 * sum(n for length, n in lengths.items() if low <= length <= high)
            / max(sum(lengths.values()), 1)
            for low, high in classes
        ]
        for name, lengths in periods.items()
    }  # fmt: skip
    return [str(a) if a == b else f"{a}–{b}" for a, b in classes], shares


def _endings() -> None:
    series = queries.endings_over_time(session.reader(), session.scope())
    runs = sum(v or 0 for values in series.values.values() for v in values)
    done = sum(v or 0 for v in series.values.get("completed", []))
    sub = f"{format.percent(done / runs if runs else None)} of runs completed"
    with frame.card("How runs ended", sub, key="endings"):
        if not series.values:
            sheet([blocks.note("No run ended in this window.")], key="no-endings")
            return
        inks = {format.words(name): ink for name, ink in ENDING_INK.items()}
        named = {format.words(name): values for name, values in series.values.items()}
        spec = charts.stacked(
            series.times, named, y_format="{value}", tip="%.0f", colors=inks, is_count=True
        )
        alt = f"Runs by how they ended: {sub}"
        st.echarts_chart(spec, height=HEIGHT, key="chart-endings", alt=alt)


TOOL_COLUMNS: Final = (
    {"label": "Tool", "type": "main", "prio": "p1"},
    {"label": "Calls", "align": "r", "width": "92px", "prio": "p2"},
    {"label": "Errors", "type": "meter", "color": "error", "align": "r", "width": "100px"},
    {"label": "Repeats", "type": "meter", "color": "loop", "align": "r", "width": "100px"},
    {"label": "p50", "align": "r", "width": "92px", "hide": "h1"},
    {"label": "p95", "align": "r", "width": "92px"},
    {"label": "Time in all", "align": "r", "cls": "mute", "width": "104px", "hide": "h1"},
)  # fmt: skip


def _tools(agent: str) -> None:
    rows = [
        {
            "id": r["tool_name"],
            "sub": f"{format.percent(r['tool_error_rate'])} failed ·"
            f" {format.percent(r['tool_repeat_ratio'])} repeats · p95 {format.duration(r['p95_ms'])}",
            "c": [
                [
                    r["tool_name"],
                    session.url("requests", agent=None, q=r["tool_name"], sort="-cost"),
                    None,
                ],
                format.count(r["tool_error_rate__den"]),
                [format.percent(r["tool_error_rate"]), r["tool_error_rate"]],
                [format.percent(r["tool_repeat_ratio"]), r["tool_repeat_ratio"]],
                format.duration(r["p50_ms"]),
                format.duration(r["p95_ms"]),
                format.duration(r["total_ms"]),
            ],
        }
        for r in queries.tools(session.reader(), session.scope())
    ]
    with frame.card("Tools", "of this agent's own runs; a name leads to its requests", key="tools"):
        table(TOOL_COLUMNS, rows, key="tool-table", empty=("No tool", "This agent ran no tool."))


def _thrash(agent: str) -> None:
    row = queries.thrash(session.reader(), session.scope())
    ratio = queries.totals(session.reader(), session.scope(), ["tool_repeat_ratio"])
    with frame.card("Thrash", "tool calls that only repeated an earlier one", key="thrash"):
        if not row["thrashing_runs"]:
            text = "No run of this window repeated a tool call."
            sheet([blocks.note(text, "good" if row["runs"] else "")], key="no-thrash")
            return
        both = f"{format.exact(row['thrashing_runs'])} of {format.exact(row['runs'])}"
        facts: list[blocks.Fact] = [
            ("Spent on repeats", format.usd(row["cost_usd"]), "bad"),
            ("Repeats of tool calls", format.percent(ratio["tool_repeat_ratio"])),
            ("Runs with a repeat", both),
            ("Longest in a row", format.exact(row["longest"])),
        ]
        items = [blocks.item("The longest loops", "requests in which this agent worked",
                             href=session.url("requests", agent=None, q=agent, sort="-loops"))]  # fmt: skip
        notes = []
        if row["unpriced_runs"]:
            text = f"{format.exact(row['unpriced_runs'])} runs with repeats have no price."
            notes.append(blocks.note(text, "warn"))
        sheet([blocks.facts(facts), *notes, blocks.listing(items)], key="thrash-facts")


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
