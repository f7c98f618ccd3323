"""A proof in, blocks for the sheet component out: the same steps that `taximeter explain` prints. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from taximeter_collector.explain.proof import Check, Fact, Proof, Step, Table, Verdict, shown
from taximeter_dashboard import blocks
from taximeter_dashboard.blocks import Block, Tone

Address = Callable[[str, str], str]
"""Trace id and span id in, the address of the span's page out."""
_TONE: Final[dict[Verdict, Tone]] = {"ok": "good", "note": "warn", "failed": "bad", "none": ""}
_BADGE: Final[dict[Verdict, str]] = {"note": "note", "failed": "does not hold"}
_ALWAYS_OPEN: Final = frozenset({"arithmetic", "bounds", "loop", "repeats", "below"})
_MOST_ROWS: Final = 100
"""Of a table: a run of thousands of calls has a row for each."""


def proof_blocks(proof: Proof, address: Address) -> list[Block]:
    """Return one foldable block a step; those that a person should look at are open."""
    return [_step(step, proof.trace_id, address) for step in proof.steps]


def _step(step: Step, trace_id: str, address: Address) -> Block:
    inside: list[Block] = []
    if step.facts:
        inside.append(blocks.key_values([_fact(fact) for fact in step.facts]))
    for table in step.tables:
        inside.append(_table(table, trace_id, address))
        if more := table.rows[_MOST_ROWS:]:
            text = f"{len(more):,} more rows: taximeter explain prints them all."
            inside.append(blocks.note(text))
    if step.checks:
        inside.append(blocks.listing([_check(check) for check in step.checks]))
    if step.links:
        inside.append(
            blocks.listing(
                [
                    blocks.item(link.label, link.span_id, href=address(link.trace_id, link.span_id))
                    for link in step.links
                ]
            )
        )
    if step.verbatim:
        inside.append(blocks.verbatim(step.verbatim))
    return blocks.step(
        step.name,
        step.title,
        step.says,
        tone=_TONE[step.verdict],
        badge=_BADGE.get(step.verdict, ""),
        is_open=step.name in _ALWAYS_OPEN or step.verdict == "failed",
        inside=inside,
    )


def _fact(fact: Fact) -> blocks.Fact:
    tone = _TONE[fact.verdict] if fact.verdict in ("note", "failed") else ""
    return (fact.label, shown(fact.value, fact.unit), tone)


def _check(check: Check) -> Block:
    return blocks.item(check.claim, check.numbers, tone=_TONE[check.verdict])


def _table(table: Table, trace_id: str, address: Address) -> Block:
    names = [column.name for column in table.columns]
    rows = [_texts(table, row) for row in table.rows[:_MOST_ROWS]]
    if names[:2] == ["Column", "Read from"]:
        return blocks.listing([_source(*row) for row in rows])
    if names[:2] == ["Span", "Call"]:
        return blocks.listing(
            [
                blocks.item(name, loop, meta=cost, tone="good" if loop == "counted" else "",
                            href=address(trace_id, span_id))
                for span_id, name, loop, cost in rows
            ]
        )  # fmt: skip
    heads = [("" if column.unit == "text" else ">") + column.name for column in table.columns]
    return blocks.grid(heads, [[row[0].replace("_", " "), *row[1:]] for row in rows])


def _texts(table: Table, row: Sequence[str | int | None]) -> list[str]:
    pairs = zip(row, table.columns, strict=True)
    return ["" if value is None else shown(value, column.unit) for value, column in pairs]


def _source(column: str, source: str, value: str, ignored: str) -> Block:
    text = f"{source}; ignored: {ignored}" if ignored else source
    tone: Tone = "warn" if "(disagrees)" in ignored else ""
    return blocks.item(column, text, meta=value, tone=tone)
