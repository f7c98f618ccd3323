"""What limits would have done to past runs of each agent: runs stopped, money saved, successes lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from taximeter_alerts.amounts import say_amount
from taximeter_alerts.judge.windows import Reader

ENOUGH_COMPLETED: Final = 50
"""With fewer completed runs nobody knows what a limit may be."""
_SQL: Final = files("taximeter_alerts") / "sql" / "guards.sql"
_MOST_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class GuardEffect:
    """One limit of one agent, named as in `taximeter.Limits`."""

    agent_name: str
    limit_name: str
    limit_value: float
    """The least that stops at most one completed run in a thousand."""
    runs: int
    completed: int
    stopped: int
    stopped_completed: int
    """Runs that would have ended well without it."""
    saved_usd: float
    """What the stopped runs cost beyond the limit, their cost spread evenly over them."""
    spent_usd: float

    @property
    def written(self) -> str:
        """The limit as people write it."""
        return f"{self.limit_name}={self.limit_value:g}"


def read_guards(reader: Reader, start: datetime, end: datetime) -> list[GuardEffect]:
    """Return what a limit of each kind would have done, the most saved first. Raises QueryError."""
    params = {"start": start, "end": end, "least": ENOUGH_COMPLETED}
    rows = reader.query(_SQL.read_text(encoding="utf-8"), params).to_pylist()
    return [GuardEffect(**row) for row in rows]


def guards_text(guards: Sequence[GuardEffect]) -> list[str]:
    """Return the lines for people: only limits that would have stopped something."""
    told = [guard for guard in guards if guard.stopped][:_MOST_TOLD]
    if not told:
        return []
    agent = max(len("limits (guards)"), *(len(guard.agent_name) for guard in told))
    limit = max(len(guard.written) for guard in told)
    head = f"{'limits (guards)':{agent}}  {'':{limit}}  stopped   of runs  completed   saved"
    return [
        head,
        *(
            f"{g.agent_name:{agent}}  {g.written:{limit}}  {g.stopped:7,d}  {g.runs:8,d}"
            f"  {g.stopped_completed:9,d}  {say_amount(g.saved_usd, 'USD'):>6}"
            for g in told
        ),
    ]


def guards_json(guards: Sequence[GuardEffect]) -> list[dict[str, Any]]:
    """Return the answer for programs."""
    return [asdict(guard) for guard in guards]
