"""Short ways to write the spans of an agent at work; times are milliseconds."""

from __future__ import annotations

from typing import Any

from tests.telemetry import GENAI, Span, Value


def agent(id: int, parent: int = 0, *, end: int = 60_000, name: str = "desk", trace: int = 1, failed: bool = False, **said: Value) -> Span:  # fmt: skip
    """Return an agent invocation."""
    return _span(trace, id, parent, 0, end, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}, said, failed)  # fmt: skip


def call(id: int, parent: int = 1, *, at: int, finish: str = "", trace: int = 1, failed: bool = False, took: int = 100, **said: Value) -> Span:  # fmt: skip
    """Return a model call: 100 tokens in and 10 out, none when it failed."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
    }
    if not failed:
        attributes |= {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
    if finish:
        attributes["gen_ai.response.finish_reasons"] = finish
    return _span(trace, id, parent, at, at + took, attributes, said, failed)


def tool(id: int, parent: int = 1, *, at: int, name: str = "search", q: str = "x", trace: int = 1, failed: bool = False, took: int = 50, **said: Value) -> Span:  # fmt: skip
    """Return a tool execution."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.arguments": f'{{"q": "{q}"}}',
    }
    return _span(trace, id, parent, at, at + took, attributes, said, failed)


def plain(id: int, parent: int = 0, *, at: int = 0, end: int = 60_000, name: str = "", scope: str = GENAI, trace: int = 1, failed: bool = False, **said: Value) -> Span:  # fmt: skip
    """Return a span with nothing but ``said`` (a dot in a key is written ``__``)."""
    return _span(trace, id, parent, at, end, {}, said, failed, name, scope)


def _span(trace: int, id: int, parent: int, start: int, end: int, attributes: dict[str, Any],
          said: dict[str, Value], failed: bool, name: str = "", scope: str = GENAI) -> Span:  # fmt: skip
    named = {key.replace("__", "."): value for key, value in said.items()}
    return Span(
        trace, id, parent, start, end, tuple((attributes | named).items()), scope, failed=failed, name=name
    )  # fmt: skip
