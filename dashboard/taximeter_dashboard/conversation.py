"""New messages and tool runs of a request in, its conversation out, each turn once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taximeter_dashboard import blocks, format
from taximeter_dashboard.messages import Piece, compact, messages_in, pieces_of, result_text

Row = Mapping[str, Any]
MAX_CHARACTERS: Final = 4_000
_ORDER: Final = {"output": 0, "tool": 1, "system": 2, "input": 3}
"""Of what happened at one moment: an answer, the tools it asked for, the next call."""
_ALIKE: Final = 500
"""A result that a span and a message keep is cut at different lengths: this many characters tell."""
_WHO: Final = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said or done, with the span that tells it."""

    piece: Piece
    span_id: str
    at: datetime | None
    given: str = ""
    """A tool's arguments, where no model was seen to ask for them."""
    is_error: bool = False


def turns_of(rows: Iterable[Row]) -> list[Turn]:
    """Return the turns in order of time.

    A row is a new message of a model call (``way`` system, input or output) or a tool's run (``way`` tool).
    Messages that an earlier answer or a tool's run already shows are history and left out.
    """
    told = _Told()
    turns: list[Turn] = []
    for row in sorted(rows, key=_moment):
        turns += _tool_turns(row, told) if row["way"] == "tool" else _message_turns(row, told)
    return turns


def turn_block(turn: Turn, href: str, when: str) -> blocks.Block:
    """Return what the page shows of a turn: bounded, and saying what it leaves out."""
    piece = turn.piece
    badges = []
    if piece.kind == "call":
        badges.append(blocks.badge(f"calls {piece.name or 'a tool'}"))
    if piece.kind == "thought":
        badges.append(blocks.badge("reasoning"))
    if turn.is_error:
        badges.append(blocks.badge("failed", "bad"))
    who = _WHO.get(piece.role, format.words(piece.role))
    if piece.kind == "result" and piece.name:
        who = piece.name
    return blocks.turn(
        who[:200], _cut(piece.text), role=piece.role, given=_cut(turn.given), badges=badges,
        meta=when, href=href, is_code=piece.kind in ("call", "result"),
    )  # fmt: skip


class _Told:
    """What is known already, so that history is not told again."""

    def __init__(self) -> None:
        self.answers: set[tuple[str, str]] = set()
        self.calls: set[tuple[str, str]] = set()
        self.results: set[str] = set()
        self.call_ids: set[str] = set()
        self.places: dict[tuple[str, str, str], int] = {}

    def knows(self, piece: Piece, place: int) -> bool:
        """Return whether an input's message, the ``place``-th of it, was told before."""
        if piece.kind == "result":
            if piece.call_id and piece.call_id in self.call_ids:
                return True
            if piece.text[:_ALIKE] in self.results:
                return True
        if piece.role == "assistant" and (piece.name, piece.text.strip()) in self.answers:
            return True
        key = (piece.role, piece.name, piece.text)
        # History only grows at its end: the same words further on were said again.
        if place <= self.places.get(key, -1):
            return True
        self.places[key] = place
        return False


def _message_turns(row: Row, told: _Told) -> list[Turn]:
    way, text = row["way"], row["text"]
    role = {"system": "system", "input": "user", "output": "assistant"}[way]
    at = row["end_time"] if way == "output" else row["start_time"]
    turns = []
    for place, message in enumerate(messages_in(text), row["place"]):
        for piece in pieces_of(message, role):
            if way == "output":
                told.answers.add((piece.name, piece.text.strip()))
            elif told.knows(piece, place):
                continue
            if piece.kind == "call":
                told.calls.add((piece.name, piece.text))
            turns.append(Turn(piece, row["span_id"], at))
    return turns


def _tool_turns(row: Row, told: _Told) -> list[Turn]:
    name, given = row["name"] or "", compact(row["given"])
    text = result_text(row["text"])
    if row["text"] is not None:
        told.results.add(text[:_ALIKE])
        if row["call_id"]:
            told.call_ids.add(row["call_id"])
    if (name, given) in told.calls:
        given = ""
    if row["text"] is None and not given and not row["is_error"]:
        return []  # the model's call is shown; what came back was not kept
    piece = Piece("tool", "result", text, name, row["call_id"] or "")
    return [Turn(piece, row["span_id"], row["start_time"], given, bool(row["is_error"]))]


def _moment(row: Row) -> tuple[datetime, int, int]:
    start, end = row["start_time"], row["end_time"]
    if row["way"] != "output":
        return start, _ORDER[row["way"]], row["place"]
    is_instant = end is None or end <= start
    return (start, len(_ORDER), 0) if is_instant else (end, _ORDER["output"], 0)


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    more = format.exact(len(text) - MAX_CHARACTERS)
    return f"{text[:MAX_CHARACTERS]}\n… {more} more characters: open the span to read them."


def missing_note(spans: Sequence[Row], kept: int) -> str:
    """Return what of a request's content is not there and why, "" if nothing is missing."""
    calls = [span for span in spans if span["kind"] == "llm"]
    deleted = sum(bool(span["content_deleted"]) for span in spans)
    size = format.size(sum(s["content_bytes"] or 0 for s in spans if s["content_deleted"]))
    if deleted:
        what = f"What was said in {format.exact(deleted)} spans" if kept else "What was said here"
        return f"{what} ({size}) is deleted: content is kept for store.content_retention_days."
    if not kept:
        return "No content was captured. It is off unless TAXIMETER_CAPTURE_CONTENT=1."
    silent = sum(not span["has_content"] for span in calls)
    if silent:
        return f"{format.exact(silent)} of {format.exact(len(calls))} model calls came without content."
    return ""
