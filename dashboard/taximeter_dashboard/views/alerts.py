"""Alerts: what is firing, what was, the rules that watch, silences, and what was not delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from taximeter_dashboard import backtest_rows, blocks, charts, format, frame, rules_editor, session
from taximeter_dashboard.alerting import (
    Alert,
    address,
    alert_item,
    as_alert,
    firing,
    incident_spans,
    incident_title,
    matcher_options,
    moment_in,
    rule_text,
    silence_text,
)
from taximeter_dashboard.alerts_api import AlertsApi, Answer, Done
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.marks import annotation_marks, with_marks
from taximeter_dashboard.panels import BEHIND, budgets_card
from taximeter_dashboard.scope import Scope

HISTORY: Final = 50
BACKTEST_DAYS: Final = (7, 14, 30)
DAYS: Final = 7
DURATIONS: Final = ("1h", "4h", "1d", "7d")
RULE_COLUMNS: Final = (
    {"label": "Rule", "type": "main", "prio": "p1", "width": "20%"},
    {"label": "State", "width": "180px", "prio": "p2"},
    {"label": "Severity", "cls": "mute", "width": "92px", "hide": "h1"},
    {"label": "Fires when", "cls": "mute"},
    {"label": "By", "cls": "mute", "width": "164px", "hide": "h1"},
    {"label": "Tells", "cls": "mute", "width": "130px", "hide": "h1"},
)


_RULES: Final = "_alerts_rules"
"""The rules as they were told last."""


@st.fragment(run_every=5, key="alerts-fragment")
def draw() -> None:
    api = session.alerts()
    alerts, rules = api.alerts(), api.rules()
    is_down = not (alerts.is_reachable or rules.is_reachable)
    with st.container(key="alerts-now"):
        current = [] if is_down else _now(api, alerts)
        if is_down:
            _unreachable()
    # Always at this place on the page: what is being typed there stays when the service goes down.
    if not is_down or rules_editor.is_in_use():
        _rules(api, rules)
    if is_down:
        return
    _backtest(api)
    with st.grid(2, min_column_width=350, gap="small"):
        _silences(api, current)
        _receivers(api)


def _now(api: AlertsApi, alerts: Answer) -> list[Alert]:
    """Draw what fires and what did; return what fires or may soon."""
    _said()
    current = [as_alert(row) for row in alerts.rows]
    every = [as_alert(row) for row in api.incidents().rows]
    every.sort(key=lambda a: a.started.timestamp() if a.started else 0, reverse=True)
    if alerts.is_reachable:
        _judged_to(alerts.evaluated_to)
    _firing(api, current, [alert for alert in every if alert.status == "firing"])
    budgets = api.budgets()
    budgets_card(budgets.rows, budgets.evaluated_to)
    _history(api, every)
    return current


def _rules(api: AlertsApi, rules: Answer) -> None:
    state = st.session_state
    rows = state[_RULES] = rules.rows if rules.is_reachable else state.get(_RULES, [])
    with frame.card("Rules", _watching(rows), key="rules"):
        shown = [_rule(row) for row in rows]
        table(RULE_COLUMNS, shown, key="rules-table", empty=("No rules", "The service runs none."))
        rules_editor.draw(api)


def _judged_to(moment: datetime | None) -> None:
    """Say when what is shown is not of now: "all quiet" would be a guess."""
    if moment is None:
        text = "No minute is judged yet: the first evaluation has not ended."
    elif (age := datetime.now(UTC) - moment) > BEHIND:
        at = format.moment(moment, session.zone(), seconds=False)
        text = f"Judged up to {at} ({format.ago(age)}): what came later is not judged yet. Evaluation is catching up, or can't read the collector."
    else:
        return
    sheet([blocks.note(text, "warn")], key="judged-to")


def _firing(api: AlertsApi, current: list[Alert], incidents: list[Alert]) -> None:
    active = firing(current)
    pending = [a for a in current if a.status == "pending"]
    with frame.card("Firing now", _count(active, pending), key="firing"):
        if active or pending:
            sheet([blocks.listing([_entry(a) for a in (*active, *pending)])], key="firing-list")
        else:
            sheet([blocks.note("All quiet: no rule is firing.", "good")], key="firing-none")
        if not (incidents and session.may_edit()):
            return
        with st.popover("Acknowledge or snooze", icon=":material/done:", key="act"):
            names = {f"{incident_title(a)} ({a.incident[:6]})": a.incident for a in incidents}
            chosen = st.selectbox("Incident", list(names), key="act-incident")
            author = st.text_input("Your name", key="act-author", max_chars=80)
            if st.button("Acknowledge: no more repeats", key="act-ack"):
                _say(api.acknowledge(names[chosen], author), "Acknowledged.")
            duration = st.segmented_control(
                "Snooze for", DURATIONS, default="1h", required=True, key="act-duration"
            )
            if st.button("Snooze: tell me again after that", key="act-snooze"):
                _say(api.snooze(names[chosen], duration, author), f"Snoozed for {duration}.")


def _history(api: AlertsApi, every: list[Alert]) -> None:
    past = [alert for alert in every if alert.status == "resolved"]
    now = datetime.now(UTC)
    since = now - timedelta(days=DAYS)
    recent = [a for a in reversed(every) if (a.ended or now) > since]
    with frame.card("History", f"the last {DAYS} days, and incidents that are over", key="history"):
        spans = incident_spans(recent, now)
        if spans:
            height = 60 + 22 * len({span.row for span in spans})
            zone, scope = session.zone(), Scope(since, now, 3_600, is_live=True)
            rows = api.annotations(since, now).rows
            marks = annotation_marks(rows, scope, zone, session.url)
            st.echarts_chart(
                with_marks(charts.time_line(spans, since, now), marks, (since, now)),
                height=height, key="chart-incidents",
                alt="Incidents of the last days on a time line",
            )  # fmt: skip
        if past:
            sheet([blocks.listing([_entry(a) for a in past[:HISTORY]])], key="history-list")
        else:
            sheet([blocks.note("No incident is over yet.")], key="history-none")


def _backtest(api: AlertsApi) -> None:
    job = api.backtest()
    is_running = job.get("status") == "running"
    with frame.card("What would have fired", backtest_rows.summary(job), key="backtest"):
        if session.may_edit():
            _ask_backtest(api, is_running=is_running)
        result = job.get("result")
        if not result:
            return
        rules, guards = backtest_rows.rule_rows(result), backtest_rows.guard_rows(result)
        shown = [blocks.grid(backtest_rows.RULES_HEAD, rules)]
        if guards:
            shown.append(blocks.grid(backtest_rows.GUARDS_HEAD, guards))
            text = (
                "Each limit is the least that stops at most one completed run in a thousand;"
                " those are stopped wrongly."
            )
            shown.append(blocks.note(text))
        notices = backtest_rows.notice_items(result, session.zone())
        sheet([*shown, blocks.listing(notices)], key="backtest-result")


def _ask_backtest(api: AlertsApi, *, is_running: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="backtest-ask"):
        days = st.segmented_control(
            "Days", BACKTEST_DAYS, default=7, required=True, key="backtest-days"
        )
        if st.button("Judge the past", key="backtest-start", disabled=is_running):
            done = api.start_backtest(days)
            _say(done, f"{days} days are being judged; that can take minutes.")


def _silences(api: AlertsApi, current: list[Alert]) -> None:
    rows, is_editor = api.silences().rows, session.may_edit()
    with frame.card("Silences", f"{format.exact(len(rows))} in force or to come", key="silences"):
        for row in rows:
            id, text = str(row.get("id")), silence_text(row, session.zone())
            with st.container(horizontal=True, vertical_alignment="center", key=f"silence-{id}"):
                sheet([blocks.listing([blocks.item("Silenced", text)])], key=f"silence-text-{id}")
                if (
                    is_editor
                    and not id.startswith("file-")
                    and st.button("End", key=f"silence-end-{id}")
                ):
                    _say(api.end_silence(id), "The silence has ended.")
        if not is_editor:
            return
        with st.popover("Silence alerts", icon=":material/notifications_off:", key="silence"):
            options = matcher_options(current)
            chosen = st.multiselect("That match all of", list(options), key="silence-match")
            duration = st.segmented_control(
                "For", DURATIONS, default="1h", required=True, key="silence-duration"
            )
            author = st.text_input("Your name", key="silence-author", max_chars=80)
            comment = st.text_input("Why", key="silence-comment", max_chars=300)
            if st.button("Silence", type="primary", key="silence-add"):
                matchers = dict(options[name] for name in chosen)
                _say(api.add_silence(matchers, duration, author, comment), "Silenced.")


def _receivers(api: AlertsApi) -> None:
    receivers, dead = api.receivers().rows, api.deliveries().rows
    dead = [row for row in dead if row.get("status") == "dead"]
    is_editor = session.may_edit()
    sub = f"{format.exact(len(dead))} not delivered" if dead else "nothing is undelivered for good"
    with frame.card("Receivers", sub, key="receivers"):
        if not receivers:
            text = "No receiver in alerts.yaml yet, so alerts show here only."
            sheet([blocks.note(text)], key="receivers-none")
        for row in receivers:
            name = str(row.get("name"))
            with st.container(horizontal=True, vertical_alignment="center", key=f"to-{name}"):
                sheet([blocks.listing([_receiver(row)])], key=f"receiver-{name}")
                if is_editor and st.button("Send a test", key=f"test-{name}"):
                    done = api.send_test(name)
                    error = done.error or done.answer.get("error")
                    _say(Done(done.answer, error), f"{name}: the test notice was delivered.")
        for row in dead[:HISTORY]:
            id = str(row.get("id"))
            with st.container(horizontal=True, vertical_alignment="center", key=f"dead-{id}"):
                sheet([blocks.listing([_dead(row)])], key=f"dead-text-{id}")
                if is_editor and st.button("Send again", key=f"retry-{id}"):
                    _say(api.retry(id), "Queued again.")


def _receiver(row: dict[str, Any]) -> blocks.Block:
    error = str(row.get("last_error") or "")
    badges = [blocks.badge(format.words(str(row.get("channel"))).lower())]
    if row.get("waiting"):
        badges.append(blocks.badge(f"{format.exact(row['waiting'])} waiting", "warn"))
    if row.get("dead"):
        badges.append(blocks.badge(f"{format.exact(row['dead'])} not delivered", "bad"))
    return blocks.item(str(row.get("name")), error, badges=badges, tone="bad" if error else "")


def _dead(row: dict[str, Any]) -> blocks.Block:
    when = moment_in(row, "created_at")
    meta = format.moment(when, session.zone(), seconds=False) if when else ""
    kind = format.words(str(row.get("transition")))
    text = f"to {row.get('receiver')}: {row.get('last_error') or 'no reason given'}"
    return blocks.item(f"{kind}, not delivered", text, tone="bad", meta=meta)


def _say(done: Done, text: str) -> None:
    """Keep what became of a change for the next drawing, which shows the change as well."""
    st.session_state["_alerts_said"] = (done.error or text, "bad" if done.error else "good")
    st.rerun()


def _said() -> None:
    said = st.session_state.pop("_alerts_said", None)
    if said is not None:
        text, tone = said
        sheet([blocks.note(text, tone)], key="alerts-said")


def _entry(alert: Alert) -> blocks.Block:
    return alert_item(alert, session.zone(), address(alert, datetime.now(UTC), session.url))


def _watching(rules: list[dict[str, Any]]) -> str:
    text = f"{format.exact(len(rules))} watch your agents"
    if rules and not any(rule.get("receivers") for rule in rules):
        text += " · no receiver in alerts.yaml yet, so alerts show here only"
    return text


def _count(active: list[Alert], pending: list[Alert]) -> str:
    text = f"{format.exact(len(active))} firing"
    return text + (f" · {format.exact(len(pending))} pending" if pending else "")


def _rule(row: dict[str, Any]) -> dict[str, Any]:
    rule = rule_text(row)
    return {
        "id": rule.name,
        "sub": f"{rule.condition} · by {rule.by} · to {rule.receivers}",
        "c": [[format.words(rule.name), "", None], rule.state, rule.severity, rule.condition,
              rule.by, rule.receivers],
    }  # fmt: skip


def _unreachable() -> None:
    with st.container(border=True, key="card-alerts-down", gap="small"):
        text = "The alerts service does not answer: start it with the rest, or alone."
        sheet([blocks.title("No alerts to show"), blocks.note(text, "warn")], key="alerts-down")
        st.code("taximeter alerts", language=None)
        st.button("Retry", icon=":material/refresh:", key="retry-alerts")


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
