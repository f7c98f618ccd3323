"""What a list of spans says of tools and guardrails, an agent with guardrails, a clock to turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Reply
from taximeter.guardrails import claude_classifier, protect
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList


def attempts(spans: SpanList, name: str) -> list[dict[str, Any]]:
    """Return the attributes of each attempt of a tool."""
    return [dict(span.attributes or {}) for span in spans.named(f"execute_tool {name}")]


def verdicts(spans: SpanList, name: str) -> list[tuple[Any, Any]]:
    """Return verdict and reason of each run of a guardrail."""
    found = [dict(span.attributes or {}) for span in spans.named(f"execute_guardrail {name}")]
    assert all(a["taximeter.guardrail.name"] == name for a in found)
    return [(a["taximeter.guardrail.verdict"], a.get("taximeter.guardrail.reason")) for a in found]


def judged_desk(api: FakeApi, limits: Limits) -> Callable[[str], str]:
    """Return an agent that says hello, whose question and answer a small model lets pass."""
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")
    fine = Reply(text='{"verdict": "allow", "category": ""}')
    api.say(fine, Reply(text="hello"), fine)
    rail = claude_classifier(client, "Be kind.")

    @taximeter.agent("desk", limits=limits)
    @protect(input=rail, output=rail)
    def desk(question: str) -> str:
        answer = client.messages.create(
            model="claude-opus-5-5", max_tokens=50, messages=[{"role": "user", "content": question}]
        )
        return str(answer.content[0].to_dict()["text"])

    return desk


class Time:
    """A monotonic clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
