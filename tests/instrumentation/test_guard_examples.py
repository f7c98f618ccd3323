"""The examples of docs/guards.md run, and its queries read what the shim writes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.testing import FakeModel, SpanList
from taximeter_collector.store.store import Store

TEXT = (Path(__file__).parents[2] / "docs" / "guards.md").read_text("utf-8")
SECTIONS = {part.split("\n")[0]: part for part in TEXT.split("\n## ")[1:]}


LIMITS = "Limits and escape hatches"
"""Its examples follow on each other, with a client that a fake model answers."""


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{title} {number}")
        for title, part in SECTIONS.items()
        if title != LIMITS
        for number, block in enumerate(
            re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL), start=1
        )
    ]


def test_the_limits_end_runs_as_the_page_says(spans: SpanList) -> None:
    examples = re.findall(r"```python\n(.*?)```", SECTIONS[LIMITS], re.DOTALL)
    assert len(examples) >= 7
    names: dict[str, object] = {"client": FakeModel().anthropic()}
    for example in examples:
        exec(compile(example, "docs/guards.md", "exec"), names)  # noqa: S102
    reasons = {(span.attributes or {}).get("taximeter.termination_reason") for span in spans.spans}
    assert {"iteration_cap", "handoff", "low_confidence", "thrashing", "cost_budget"} <= reasons


@pytest.mark.parametrize("block", blocks("python"))
def test_an_example_runs(
    block: str, spans: SpanList, api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.anthropic_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "demo")
    example = tmp_path / "example.py"
    example.write_text(block, "utf-8")
    runpy.run_path(str(example), run_name="__main__")
    taximeter.shutdown()


@pytest.mark.parametrize("block", blocks("sql"))
def test_a_query_runs(block: str, store: Store) -> None:
    with store.read() as cursor:
        cursor.execute(block).fetchall()
