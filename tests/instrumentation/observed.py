"""What a list of spans says of tools and guardrails, and a clock for what waits."""

from __future__ import annotations

from typing import Any

from taximeter.testing import SpanList


def attempts(spans: SpanList, name: str) -> list[dict[str, Any]]:
    """Return the attributes of each attempt of a tool."""
    return [dict(span.attributes or {}) for span in spans.named(f"execute_tool {name}")]


def verdicts(spans: SpanList, name: str) -> list[tuple[Any, Any]]:
    """Return verdict and reason of each run of a guardrail."""
    found = [dict(span.attributes or {}) for span in spans.named(f"execute_guardrail {name}")]
    assert all(a["taximeter.guardrail.name"] == name for a in found)
    return [(a["taximeter.guardrail.verdict"], a.get("taximeter.guardrail.reason")) for a in found]


class Time:
    """A monotonic clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
