"""A proof as lines for a terminal; what a terminal would obey is shown and not sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from taximeter_collector.explain.proof import Check, Fact, Proof, Step, Table, Verdict, shown

_MARKS: Final[dict[Verdict, str]] = {"ok": "ok", "note": "note", "failed": "FAIL", "none": "-"}
_INDENT: Final = "   "


def as_text(proof: Proof) -> str:
    """Return the proof, step by step."""
    lines = [
        f"{proof.kind} {proof.name}: {proof.summary}",
        f"span {proof.span_id} in trace {proof.trace_id}",
    ]
    for number, step in enumerate(proof.steps, start=1):
        lines += ["", f"{number}. {step.title} [{_MARKS[step.verdict]}]  {step.says}"]
        lines += [_INDENT + line for line in _step_lines(step)]
    return "\n".join(printable(line) for line in lines) + "\n"


def printable(text: str) -> str:
    """Return a line with its control characters spelled out.

    >>> printable("a\x1b[2J")
    'a\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _step_lines(step: Step) -> Iterator[str]:
    yield from _fact_lines(step.facts)
    for table in step.tables:
        yield from _table_lines(table)
    yield from map(_check_line, step.checks)
    for link in step.links:
        yield f"span {link.span_id} in trace {link.trace_id}: {link.label}"
    yield from step.verbatim.splitlines()


def _fact_lines(facts: Sequence[Fact]) -> Iterator[str]:
    width = max((len(fact.label) for fact in facts), default=0)
    for fact in facts:
        yield f"{fact.label:<{width}}  {shown(fact.value, fact.unit)}"


def _check_line(check: Check) -> str:
    numbers = f": {check.numbers}" if check.numbers else ""
    return f"{_MARKS[check.verdict]:<4}  {check.claim}{numbers}"


def _table_lines(table: Table) -> Iterator[str]:
    cells = [[column.name for column in table.columns]]
    for row in table.rows:
        values = zip(row, table.columns, strict=True)
        cells.append([printable(shown(v, c.unit)) if v is not None else "" for v, c in values])
    widths = [max(len(row[at]) for row in cells) for at in range(len(table.columns))]
    for row in cells:
        padded = [
            text.ljust(width) if column.unit == "text" else text.rjust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  ".join(padded).rstrip()
