"""Alerts: what is firing, what was, and the rules that watch. Shown without any receiver too."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from taximeter_dashboard import blocks, format, frame, session
from taximeter_dashboard.alerting import Alert, alert_item, as_alert, rule_row, scope_parameters
from taximeter_dashboard.components import sheet, table

HISTORY: Final = 50
RULE_COLUMNS: Final = (
    {"label": "Rule", "type": "main", "prio": "p1", "width": "24%"},
    {"label": "State", "width": "90px", "prio": "p2"},
    {"label": "Severity", "cls": "mute", "width": "92px", "hide": "h1"},
    {"label": "Fires when", "cls": "mute"},
    {"label": "By", "cls": "mute", "width": "150px", "hide": "h2"},
    {"label": "To", "cls": "mute", "width": "120px", "hide": "h2"},
)


@st.fragment(run_every=5, key="alerts-fragment")
def draw() -> None:
    api = session.alerts()
    firing, incidents, rules = api.alerts(), api.incidents(), api.rules()
    if not (firing.is_reachable or rules.is_reachable):
        _unreachable()
        return
    current = [as_alert(row) for row in firing.rows]
    active = [a for a in current if a.state == "firing"]
    pending = [a for a in current if a.state == "pending"]
    with frame.card("Firing now", _count(active, pending), key="firing"):
        if active or pending:
            sheet([blocks.listing([_entry(a) for a in (*active, *pending)])], key="firing-list")
        else:
            sheet([blocks.note("All quiet: no rule is firing.", "good")], key="firing-none")
    past = [as_alert(row) for row in incidents.rows]
    past.sort(key=lambda a: a.started.timestamp() if a.started else 0, reverse=True)
    with frame.card("History", "incidents, the newest first", key="history"):
        if past:
            sheet([blocks.listing([_entry(a) for a in past[:HISTORY]])], key="history-list")
        else:
            sheet([blocks.note("There has been no incident yet.")], key="history-none")
    with frame.card("Rules", f"{format.exact(len(rules.rows))} watch your agents", key="rules"):
        firing_names = {a.name for a in active}
        rows = [_rule(row, firing_names) for row in rules.rows]
        table(RULE_COLUMNS, rows, key="rules-table", empty=("No rules", "The service runs none."))


def _entry(alert: Alert) -> blocks.Block:
    around: dict[str, Any] = dict(scope_parameters(alert))
    if alert.started:
        around |= {"range": "24h"}
    return alert_item(alert, session.zone(), session.url("requests", **around))


def _count(active: list[Alert], pending: list[Alert]) -> str:
    text = f"{format.exact(len(active))} firing"
    return text + (f" · {format.exact(len(pending))} pending" if pending else "")


def _rule(row: dict[str, Any], firing_names: set[str]) -> dict[str, Any]:
    name, severity, when, by, receivers = rule_row(row)
    state = "firing" if name in firing_names else "ok"
    return {
        "id": name,
        "sub": when,
        "c": [[name, "", None], state, severity, when, by or format.UNKNOWN,
              receivers or "this page"],
    }  # fmt: skip


def _unreachable() -> None:
    with st.container(border=True, key="card-alerts-down", gap="small"):
        text = "The alerts service does not answer: start it with the rest, or alone."
        sheet([blocks.title("No alerts to show"), blocks.note(text, "warn")], key="alerts-down")
        st.code("taximeter alerts", language=None)
        st.button("Retry", icon=":material/refresh:", key="retry-alerts")


draw()
