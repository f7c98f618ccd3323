"""Alerts: what is firing, what was, and the rules that watch. Shown without any receiver too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from taximeter_dashboard import blocks, format, frame, session
from taximeter_dashboard.alerting import Alert, alert_item, as_alert, rule_text, scope_parameters
from taximeter_dashboard.components import sheet, table

HISTORY: Final = 50
RULE_COLUMNS: Final = (
    {"label": "Rule", "type": "main", "prio": "p1", "width": "20%"},
    {"label": "State", "width": "156px", "prio": "p2"},
    {"label": "Severity", "cls": "mute", "width": "92px", "hide": "h1"},
    {"label": "Fires when", "cls": "mute"},
    {"label": "By", "cls": "mute", "width": "150px", "hide": "h1"},
    {"label": "Tells", "cls": "mute", "width": "130px", "hide": "h1"},
)


@st.fragment(run_every=5, key="alerts-fragment")
def draw() -> None:
    api = session.alerts()
    firing, incidents, rules = api.alerts(), api.incidents(), api.rules()
    if not (firing.is_reachable or rules.is_reachable):
        _unreachable()
        return
    current = [as_alert(row) for row in firing.rows]
    active = [a for a in current if a.status == "firing"]
    pending = [a for a in current if a.status == "pending"]
    with frame.card("Firing now", _count(active, pending), key="firing"):
        if active or pending:
            sheet([blocks.listing([_entry(a) for a in (*active, *pending)])], key="firing-list")
        else:
            sheet([blocks.note("All quiet: no rule is firing.", "good")], key="firing-none")
    past = [a for a in map(as_alert, incidents.rows) if a.status == "resolved"]
    past.sort(key=lambda a: a.started.timestamp() if a.started else 0, reverse=True)
    with frame.card("History", "incidents that are over, the newest first", key="history"):
        if past:
            sheet([blocks.listing([_entry(a) for a in past[:HISTORY]])], key="history-list")
        else:
            sheet([blocks.note("No incident is over yet.")], key="history-none")
    with frame.card("Rules", _watching(rules.rows), key="rules"):
        rows = [_rule(row) for row in rules.rows]
        table(RULE_COLUMNS, rows, key="rules-table", empty=("No rules", "The service runs none."))


def _entry(alert: Alert) -> blocks.Block:
    around = scope_parameters(alert, datetime.now(UTC))
    return alert_item(alert, session.zone(), session.url("requests", **around))


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
