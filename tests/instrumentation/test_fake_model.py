"""`taximeter.testing.FakeModel`: the real SDKs are answered as scripted, whole or streamed, without a network."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from tests.instrumentation.models import ASK, CLAUDE, GPT

from taximeter.testing import Answer, FakeModel, SpanList, ToolCall

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"
SCRIPT = Answer("It is paid.", input_tokens=30, output_tokens=8, cache_read_tokens=900)


def claude(model: FakeModel, stream: bool) -> str:
    asked: Any = {"model": CLAUDE, "max_tokens": 9, "messages": ASK}
    if not stream:
        return str(model.anthropic().messages.create(**asked).content[0].text)
    with model.anthropic().messages.stream(**asked) as events:
        return "".join(events.text_stream)


def chat(model: FakeModel, stream: bool) -> str:
    asked: Any = {"model": GPT, "messages": ASK, "stream": stream}
    said = model.openai().chat.completions.create(**asked)
    if not stream:
        return str(said.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in said if chunk.choices)


def responses(model: FakeModel, stream: bool) -> str:
    said: Any = model.openai().responses.create(model=GPT, input="next?", stream=stream)
    if not stream:
        return str(said.output_text)
    return "".join(event.delta for event in said if event.type == "response.output_text.delta")


async def async_claude(model: FakeModel, stream: bool) -> str:
    asked: Any = {"model": CLAUDE, "max_tokens": 9, "messages": ASK}
    if not stream:
        return str((await model.async_anthropic().messages.create(**asked)).content[0].text)
    async with model.async_anthropic().messages.stream(**asked) as events:
        return str(await events.get_final_text())


async def async_chat(model: FakeModel, stream: bool) -> str:
    asked: Any = {"model": GPT, "messages": ASK, "stream": stream}
    said = await model.async_openai().chat.completions.create(**asked)
    if not stream:
        return str(said.choices[0].message.content)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in said if chunk.choices])


WAYS: list[Callable[[FakeModel, bool], Any]] = [claude, chat, responses, async_claude, async_chat]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("ask", WAYS)
def test_a_scripted_answer_reaches_the_program_and_its_tokens_the_span(
    ask: Callable[[FakeModel, bool], Any], stream: bool, spans: SpanList
) -> None:
    said = ask(FakeModel(SCRIPT), stream)
    assert (asyncio.run(said) if asyncio.iscoroutine(said) else said) == "It is paid."
    (span,) = spans.spans
    found = span.attributes or {}
    assert [found[f"gen_ai.usage.{name}"] for name in
            ("input_tokens", "output_tokens", "cache_read.input_tokens")] == [930, 8, 900]  # fmt: skip


def test_answers_come_in_turn_and_the_last_for_ever() -> None:
    model = FakeModel([Answer("one"), Answer("two")])
    assert [chat(model, False) for _ in range(3)] == ["one", "two", "two"]
    assert [body["model"] for body in model.bodies] == [GPT] * 3


def test_a_function_decides_by_the_request() -> None:
    model = FakeModel(lambda body: Answer(text=body["model"]))
    assert (claude(model, False), chat(model, True)) == (CLAUDE, GPT)


def test_tool_calls_are_the_sdks_own() -> None:
    model = FakeModel(Answer(tool_calls=[ToolCall("look", {"order": "A-17"})]))
    said = model.anthropic().messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
    assert said.stop_reason == "tool_use"
    (call,) = said.content
    assert call.type == "tool_use" and call.input == {"order": "A-17"}
    choice = model.openai().chat.completions.create(model=GPT, messages=ASK).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls


def test_a_server_that_tells_no_usage_leaves_the_call_without_a_cost(spans: SpanList) -> None:
    for stream in (False, True):
        assert chat(FakeModel(Answer(says_usage=False)), stream) == "go on"
    assert all("taximeter.usage" not in (span.attributes or {}) for span in spans.spans)


def test_failures_are_the_sdks_own_errors_and_retried_when_told() -> None:
    with pytest.raises(openai.RateLimitError):
        chat(FakeModel(Answer(status=429)), False)
    model = FakeModel([Answer(status=503, retry_after_s=0.001), Answer("here")])
    client = model.openai(max_retries=1)
    assert client.chat.completions.create(model=GPT, messages=ASK).choices[0].message.content
    assert len(model.bodies) == 2


def test_what_it_does_not_play_is_said() -> None:
    with pytest.raises(openai.NotFoundError, match="FakeModel answers .*messages.*/moderations"):
        FakeModel().openai().moderations.create(input="x")


def test_it_loads_no_sdk_before_a_client_is_asked_for() -> None:
    program = "import sys, taximeter.testing as t; t.FakeModel(); print({'openai', 'anthropic'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_the_examples_of_the_document_pass_as_tests(tmp_path: Path) -> None:
    """A process of its own, as a reader would run them: about three seconds."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    files = [tmp_path / f"test_example_{number}.py" for number in range(len(blocks))]
    for file, block in zip(files, blocks, strict=True):
        file.write_text(block, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout


def test_what_it_has_no_answer_to_is_said() -> None:
    with pytest.raises(ValueError, match="has no answer"):
        FakeModel([])
    with pytest.raises(anthropic.NotFoundError, match="FakeModel answers /v1/messages"):
        FakeModel().anthropic().models.list()
