"""The text of /metrics, in Prometheus' exposition format. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from taximeter_alerts.evaluator import Health
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.notification_log import read_time
from taximeter_alerts.outbox.outbox import Outbox

_STATUSES: Final = ("queued", "sending", "ambiguous", "sent", "merged", "dead")


def metrics_text(
    board: Board, health: Health, outbox: Outbox, budgets: Iterable[BudgetStatus], now: datetime
) -> str:
    """Return what Prometheus reads."""
    counts, waiting = outbox.counts(), outbox.undelivered()
    firing = sum(current.state.is_firing for current in board.current.values())
    lines = [
        f"taximeter_alerts_evaluations_total {health.evaluations}",
        f"taximeter_alerts_evaluation_failures_total {health.failures}",
        f"taximeter_alerts_evaluation_duration_seconds {health.duration_s:.6f}",
        f"taximeter_alerts_groups {len(board.current)}",
        f"taximeter_alerts_firing {firing}",
    ]
    if board.watermark is not None:
        age_s = (now - board.watermark).total_seconds()
        lines.append(f"taximeter_alerts_watermark_age_seconds {age_s:.3f}")
    oldest = [read_time(row["created_at"]) or now for row in waiting if row["status"] != "dead"]
    age_s = (now - min(oldest, default=now)).total_seconds()
    lines.append(f"taximeter_alerts_oldest_undelivered_seconds {age_s:.3f}")
    lines += [f'taximeter_alerts_notices{{status="{s}"}} {counts.get(s, 0)}' for s in _STATUSES]
    for receiver in outbox.receivers:
        dead = sum(row["receiver"] == receiver and row["status"] == "dead" for row in waiting)
        lines.append(f'taximeter_alerts_dead_notices{{receiver="{_escaped(receiver)}"}} {dead}')
    lines += [f"taximeter_budget_used_ratio{{{_labels(s)}}} {s.used_ratio:.6f}" for s in budgets]
    return "\n".join(lines) + "\n"


def _labels(status: BudgetStatus) -> str:
    pairs = {"budget": status.budget.name, **status.labels}
    return ",".join(f'{name}="{_escaped(value or "")}"' for name, value in pairs.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
