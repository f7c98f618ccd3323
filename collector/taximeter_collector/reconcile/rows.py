"""What every export is read into: one row a line of usage or of cost, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from taximeter.pricing import FIELDS

COMPLETIONS, EMBEDDINGS, SEARCHES = "completions", "embeddings", "searches"
CLASSES: Final = FIELDS
"""The kinds of billed unit: disjoint, named as the price list names them."""
PROMPT: Final = tuple(name for name in CLASSES if "output" not in name and name != "web_search")
OUTPUT: Final = ("output", "audio_output", "image_output")
WEB_SEARCH: Final = "web search"
"""The item that stands for searches: providers bill them beside the models."""


class ExportError(Exception):
    """A file that can't be used at all; the message is ready for the user."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One result of a usage or cost report."""

    provider: str
    kind: str
    """``usage`` or ``cost``."""
    start: datetime
    end: datetime
    where: str
    """File and line, or file and path inside the JSON."""
    model: str | None = None
    """As the export spells it; None = the export is not grouped by model."""
    tier: str | None = None
    """``standard``, ``batch``, ``flex`` …; None = not grouped by tier."""
    item: str | None = None
    """What is billed when it is no model: searches, storage, sessions."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    requests: int | None = None
    cost_pico: int | None = None
    cost_class: str | None = None
    """The kind of unit that the cost is for; None = all together."""
    rounding_pico: int = 0
    """By how much the amount may have been rounded in the file."""
    endpoint: str = "completions"
    """What a usage row counts: an export that tells one tells nothing of the others."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A row that takes no part, and why."""

    where: str
    reason: str
    is_harmless: bool = False
    """Nothing is missing without it: another file tells it, or it counts no tokens at all."""


@dataclass(slots=True)
class Export:
    """What the files said."""

    rows: list[ExportRow] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    covered: dict[tuple[str, str], list[tuple[datetime, datetime]]] = field(default_factory=dict)
    """(provider, kind) → time buckets, those without usage too."""
    endpoints: set[tuple[str, str]] = field(default_factory=set)
    """(provider, what its usage rows count): ``completions``, ``embeddings``, ``searches``."""
    cut: dict[datetime, datetime] = field(default_factory=dict)
    """Bucket end → when the file was written, where that was before the bucket's end."""
    files: int = 0

    def cover(self, provider: str, kind: str, start: datetime, end: datetime) -> None:
        """Say that a file tells everything of a bucket."""
        self.covered.setdefault((provider, kind), []).append((start, end))


@dataclass(frozen=True, slots=True)
class Value:
    """One result before its fields are read: a JSON object or a CSV line, flattened."""

    fields: Mapping[str, object]
    where: str
    start: datetime
    end: datetime
