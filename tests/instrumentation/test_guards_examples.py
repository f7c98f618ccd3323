"""The examples of docs/guards.md do what the page says: its sections from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

from tests.instrumentation.fake_model import FakeModel

from taximeter.testing import SpanList

PAGE = Path(__file__).parents[2] / "docs" / "guards.md"


def test_the_examples_run(spans: SpanList) -> None:
    """In one name space, with a client that a fake model answers."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) >= 7
    names: dict[str, object] = {"client": FakeModel().claude()}
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)  # noqa: S102
    reasons = {(span.attributes or {}).get("taximeter.termination_reason") for span in spans.spans}
    assert {"iteration_cap", "handoff", "low_confidence", "thrashing", "cost_budget"} <= reasons
