"""Where the cache breakpoints go, and what is said when a prefix changes."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import anthropic
import pytest

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.prompt_cache import PromptCache
from taximeter.testing import SpanList

LONG = "You are a careful travel agent. " * 400
TOOL = {"name": "look", "description": "x" * 8_000, "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def request(**changes: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-5-5",
        "system": LONG,
        "tools": [{**TOOL, "name": "first"}, TOOL],
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 50,
    } | changes


def marks(body: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    system = body["system"] if isinstance(body["system"], list) else []
    return [t.get("cache_control") for t in body["tools"]], [b.get("cache_control") for b in system]


def said_in(*marks: Any) -> list[Any]:
    content = [{"type": "text", "text": "x", "cache_control": mark} for mark in marks]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("changes", "ttl", "tools", "system"),
    [
        ({}, "5m", [None, MARK], [MARK]),
        ({}, "1h", [None, HOUR], [HOUR]),
        ({"system": [{"type": "text", "text": LONG}, {"type": "text", "text": ""}]}, "5m", [None, MARK], [MARK, None]),
        ({"tools": []}, "5m", [], [MARK]),
        ({"tools": [TOOL, {**TOOL, "defer_loading": True}]}, "5m", [MARK, None], [MARK]),
        ({"system": "short", "tools": [{"name": "look"}]}, "5m", [None], []),
        ({"system": "short"}, "5m", [None, MARK], [MARK]),
        ({"model": "claude-haiku-4-5", "system": "short"}, "5m", [None, MARK], [MARK]),
        ({"model": "claude-haiku-4-5", "system": "short", "tools": [{"name": "look", "description": "x" * 5_000}]}, "5m", [None], []),
        ({"model": "claude-opus-5", "system": "x" * 1_200, "tools": []}, "5m", [], [MARK]),
        ({"tools": [{**TOOL, "cache_control": MARK}, TOOL]}, "1h", [MARK, None], [MARK]),
        ({"messages": said_in(MARK, MARK, MARK)}, "5m", [None, None], [MARK]),
        ({"messages": said_in(MARK, MARK, MARK, MARK)}, "5m", [None, None], []),
        ({"messages": said_in(MARK, MARK), "cache_control": MARK}, "5m", [None, None], [MARK]),
        ({"messages": said_in(HOUR)}, "5m", [None, HOUR], [HOUR]),
    ],
    ids=["both", "for an hour", "no empty block", "no tools", "no deferred tool", "too short", "tools make it long",
         "long enough for haiku", "too short for haiku", "short is enough for opus 5", "the caller's own",
         "one left", "none left", "automatic caching takes one", "an hour does not follow five minutes"],
)  # fmt: skip
def test_breakpoints_are_placed_after_tools_and_system(
    changes: dict[str, Any], ttl: Any, tools: list[Any], system: list[Any]
) -> None:
    body = request(**changes)
    before = repr(body)
    placed = PromptCache(ttl=ttl).place(body)
    assert marks(placed) == (tools, system)
    assert repr(body) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"messages": [{"role": "user", "content": "other"}]}, []),
        ({"system": [{"type": "text", "text": LONG, "cache_control": MARK}]}, []),
        ({"system": LONG + "It is 12:31."}, ["system block 1"]),
        ({"system": [{"type": "text", "text": LONG}, {"type": "text", "text": "x"}]}, ["system block 2"]),
        ({"tools": [{**TOOL, "name": "first"}, {**TOOL, "description": "y"}]}, ["tool look"]),
        ({"tools": [TOOL, {**TOOL, "name": "first"}]}, ["tools (order)"]),
        ({"tools": [TOOL]}, ["tool first (gone)"]),
        ({"model": "claude-opus-5-5"}, ["model"]),
        ({"tool_choice": {"type": "any"}}, ["tool_choice"]),
    ],
    ids=["same", "messages", "breakpoint", "time in it", "more", "description", "order", "gone", "model", "choice"],
)  # fmt: skip
def test_what_changed_between_two_calls_is_named(changes: dict[str, Any], named: list[str]) -> None:
    cache = PromptCache()
    assert cache.changes(request()) == []
    assert cache.changes(request(**changes)) == named
    assert cache.changes(request(**changes)) == []


def test_a_change_is_logged_once_and_is_on_the_calls_span(
    spans: SpanList, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")
    cache = PromptCache("desk")
    with caplog.at_level(logging.WARNING, "taximeter"):
        for minute in range(3):
            cache.call(client.messages.create, **request(system=f"{LONG} It is 12:0{minute}."))
    assert [record.getMessage() for record in caplog.records] == [
        "the cached prefix of desk changed between two calls: system block 1"
    ]
    changed = [
        (span.attributes or {}).get("taximeter.prompt_cache.changed") for span in spans.spans
    ]
    assert changed == [None, ("system block 1",), ("system block 1",)]


def test_placed_breakpoints_make_the_second_call_a_hit(spans: SpanList, api: FakeApi) -> None:
    client = anthropic.AsyncAnthropic(base_url=api.anthropic_url, api_key="demo")
    cache = PromptCache()

    async def twice() -> list[int]:
        answers = [
            await cache.call_async(client.messages.create, **request(system=LONG * 4))
            for _ in range(2)
        ]
        return [answer.usage.cache_read_input_tokens or 0 for answer in answers]

    first, second = asyncio.run(twice())
    assert first == 0 < second


def test_the_provider_is_asked_why_it_missed(
    spans: SpanList, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    def create(*, diagnostics: Any = None, **body: Any) -> Any:
        asked.append(diagnostics)
        reason = SimpleNamespace(type="tools_changed") if len(asked) > 1 else None
        return SimpleNamespace(
            id=f"msg_{len(asked)}", diagnostics=SimpleNamespace(cache_miss_reason=reason)
        )

    cache = PromptCache(diagnostics=True)
    with taximeter.request(), caplog.at_level(logging.WARNING, "taximeter"):
        cache.call(create, **request())
        cache.call(create, **request())
    assert asked == [{"previous_message_id": None}, {"previous_message_id": "msg_1"}]
    assert "tools_changed" in caplog.text
    assert (spans.spans[0].attributes or {})[
        "taximeter.prompt_cache.miss_reason"
    ] == "tools_changed"


def test_the_installed_sdk_takes_the_question() -> None:
    from taximeter.prompt_cache import _takes_diagnostics

    assert _takes_diagnostics(anthropic.Anthropic(api_key="demo").messages.create)
    assert not _takes_diagnostics(lambda **body: None)


def test_a_request_that_can_not_be_read_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PromptCache()
    assert cache.call(lambda **body: body["tools"], tools=7, model="m", system=None) == 7
