"""Agents: a row each; with one agent in the filter, that agent: versions, loops, endings, tools."""

from __future__ import annotations

import json
from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, category_charts, charts, format, frame, queries, session
from taximeter_dashboard.agent_rows import COLUMNS, ENDED, agent_rows, found_in
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.panels import headline_row, time_chart
from taximeter_dashboard.tool_rows import COLUMNS as TOOL_COLUMNS
from taximeter_dashboard.tool_rows import MEANING, tool_rows
from taximeter_dashboard.version_rows import comparison_rows

HEIGHT: Final = 226
SINGLE_LENGTHS: Final = 8
ENOUGH_COMPLETED: Final = 50
"""Completed runs without which a limit would be a guess; the backtest of limits takes as many."""
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
    Headline("Call error rate", "call_error_rate", format.percent, INK["error"], "lower", 0.005,
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


def _all_agents(ranked: list[queries.Row]) -> None:
    reader, scope = session.reader(), session.scope()
    rows = agent_rows(
        ranked, queries.run_lengths(reader, scope), queries.endings_by_agent(reader, scope)
    )
    with frame.card("Agents", f"{len(rows)}, ranked by spend", key="agents"):
        table(
            (*COLUMNS, ENDED), rows, key="agents-table",
            empty=("No agent named itself", "Name agents with @taximeter.agent."),
        )  # fmt: skip
    with st.grid(2, min_column_width=350, gap="small"):
        _loops()
        _endings()


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
        href=None if now["requests"] else found_in(agent),
    )  # fmt: skip
    _versions(agent)
    with st.grid(2, min_column_width=350, gap="small"):
        _loops()
        _endings()
    _tools()
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
        return found_in(agent)
    return session.url("requests", agent=[agent], version=[version] if version else None)


def _loops() -> None:
    reader, scope = session.reader(), session.scope()
    now = queries.loop_lengths(reader, scope)
    before = queries.loop_lengths(session.settled(), scope.previous)
    sub = f"model calls per run · {format.count(sum(now.values()))} runs"
    with frame.card("Loop length", sub, key="agent-loops"):
        if not now:
            sheet([blocks.note("No run of this window tells its length.")], key="no-loops")
            return
        periods = {"This period": now} | ({"Previous period": before} if before else {})
        names, series = loop_classes(periods)
        inks = (INK["loop"], INK["muted"])
        spec = category_charts.histogram(
            names, series, colors=inks, y_format="{value}%", tip="%.1f%%", y_max=100
        )
        alt = "Share of runs by loop length, in percent"
        st.echarts_chart(spec, height=HEIGHT, key="chart-agent-loops", alt=alt)


def loop_classes(
    periods: dict[str, dict[int, int]],
) -> tuple[list[str], dict[str, list[float]]]:
    """Return class names and the share of runs in each, in percent; long loops by doubling.

    >>> loop_classes({"now": {1: 3, 14: 1}})
    (['1', '2', '3', '4', '5', '6', '7', '8', '9–16'], {'now': [75.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25.0]})
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
        inks = {format.words(name): ink for name, ink in charts.OUTCOME_INK.items()}
        named = {format.words(name): values for name, values in series.values.items()}
        spec = charts.stacked(series.times, named, colors=inks)
        alt = f"Runs by how they ended: {sub}"
        time_chart(spec, series.times, height=HEIGHT, key="endings", alt=alt)


def _tools() -> None:
    rows = tool_rows(queries.tools(session.reader(), session.scope()), agent=None)
    with frame.card("Tools", f"of this agent's own runs · {MEANING}", key="tools"):
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
        _stop(agent)


def _stop(agent: str) -> None:
    """Say how such runs are stopped: by a limit that the agent kept while it was well."""
    kept = queries.kept_iterations(session.settled(), session.scope().previous)
    if kept["completed"] < ENOUGH_COMPLETED:
        text = (
            "To stop runs like these, give the agent limits: Alerts, What would have fired, says"
            " which of them its completed runs keep."
        )
        sheet([blocks.note(text)], key="stop")
        return
    text = (
        "To stop runs like these, give the agent a limit. Of its"
        f" {format.exact(kept['completed'])} completed runs of the previous period, at most one in"
        " a thousand was longer than this:"
    )
    sheet([blocks.note(text)], key="stop")
    limits = f"taximeter.Limits(iterations={kept['iterations']})"
    st.code(f"@taximeter.agent({json.dumps(agent)}, limits={limits})", wrap_lines=True)


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
