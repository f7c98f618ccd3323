"""The shape of a proof: ordered steps, each a verdict, a sentence, facts and a table. Pure.

Values stay numbers; `shown` writes them for people, so command, page and JSON say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

Verdict = Literal["ok", "note", "failed", "none"]
"""``none``: there is nothing to check."""
Unit = Literal["text", "count", "pico_usd", "pico_usd_per_token", "pico_usd_per_search"]
Value = str | int | None
PICO: Final = Decimal(10) ** 12
UNKNOWN: Final = "—"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a step's table."""

    name: str
    unit: Unit = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values; money is in integer pico-USD."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value."""

    label: str
    value: Value
    unit: Unit = "text"
    verdict: Verdict = "none"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, with the numbers that decide it."""

    claim: str
    verdict: Verdict
    """``none`` where it does not apply."""
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Another span that the step speaks of."""

    trace_id: str
    span_id: str
    label: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a proof."""

    name: str
    """Stable, for programs."""
    title: str
    says: str
    verdict: Verdict = "ok"
    facts: Sequence[Fact] = ()
    tables: Sequence[Table] = ()
    checks: Sequence[Check] = ()
    links: Sequence[Link] = ()
    verbatim: str = ""
    """Text as the emitter sent it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a span's numbers stand on."""

    trace_id: str
    span_id: str
    name: str
    kind: str
    summary: str
    verdict: Verdict
    steps: Sequence[Step] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return the proof for programs; money in integer pico-USD."""
        head = ("trace_id", "span_id", "name", "kind", "summary", "verdict")
        return {name: getattr(self, name) for name in head} | {
            "steps": [_step_json(step) for step in self.steps]
        }


def _step_json(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: getattr(step, name) for name in ("name", "title", "verdict", "says")
    }
    if step.facts:
        found["facts"] = [
            {"label": fact.label, "value": fact.value}
            | ({"unit": fact.unit} if fact.unit != "text" else {})
            for fact in step.facts
        ]
    if step.tables:
        found["tables"] = [
            {
                "columns": [{"name": c.name, "unit": c.unit} for c in table.columns],
                "rows": [list(row) for row in table.rows],
            }
            for table in step.tables
        ]
    if step.checks:
        found["checks"] = [
            {"claim": c.claim, "verdict": c.verdict, "numbers": c.numbers} for c in step.checks
        ]
    if step.links:
        found["spans"] = [{"trace_id": x.trace_id, "span_id": x.span_id, "label": x.label}
                          for x in step.links]  # fmt: skip
    if step.verbatim:
        found["verbatim"] = step.verbatim
    return found


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the gravest verdict.

    >>> worst(["ok", "none", "note"]), worst([])
    ('note', 'none')
    """
    order: tuple[Verdict, ...] = ("failed", "note", "ok")
    return next((one for one in order if one in verdicts), "none")


def shown(value: Value, unit: Unit = "text") -> str:
    """Return a value as people read it; money exactly, without rounding.

    >>> shown(40_200_000_000, "pico_usd"), shown(3_000_000, "pico_usd_per_token")
    ('$0.0402', '$3')
    >>> shown(None), shown(102_000, "count"), shown(10_000_000_000, "pico_usd_per_search")
    ('—', '102,000', '$10')
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    if unit == "pico_usd":
        return usd(value)
    if unit == "pico_usd_per_token":
        return usd(value * 10**6)
    if unit == "pico_usd_per_search":
        return usd(value * 10**3)
    return f"{value:,}"


def usd(pico: int) -> str:
    """Return pico-USD as an exact decimal.

    >>> usd(0), usd(-378_000_000_000), usd(1)
    ('$0', '-$0.378', '$0.000000000001')
    """
    text = f"{abs(Decimal(pico)) / PICO:,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'-' if pico < 0 else ''}${text}"


def count(value: int | None, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "call"), count(1200, "token")
    ('1 call', '1,200 tokens')
    """
    return f"{shown(value, 'count')} {noun}{'' if value == 1 else 's'}"
