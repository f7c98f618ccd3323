"""What a model said is on its span when content is asked for: whole answers and streams alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import openai
import pytest

from taximeter import lifecycle
from taximeter.testing import Answer, FakeModel, SpanList, ToolCall

ASK: Any = [{"role": "user", "content": "hi"}]
ANSWERS = (
    Answer(text="a first line, and a second one"),
    Answer(tool_calls=(ToolCall("search", {"q": "x" * 40}),)),
)


@pytest.fixture(autouse=True)
def captured(spans: SpanList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "captures_content", lambda: True)


def said(spans: SpanList) -> Any:
    attributes: Mapping[str, Any] = spans.named("chat gpt-5.4")[-1].attributes or {}
    return json.loads(attributes["gen_ai.output.messages"])


@pytest.mark.parametrize("answer", ANSWERS, ids=["text", "tool call"])
def test_a_chat_stream_says_what_the_whole_answer_says(spans: SpanList, answer: Answer) -> None:
    client = FakeModel(answer).openai()
    client.chat.completions.create(model="gpt-5.4", messages=ASK)
    (whole,) = said(spans)
    for _ in client.chat.completions.create(model="gpt-5.4", messages=ASK, stream=True):
        pass
    (streamed,) = said(spans)
    assert streamed["finish_reason"] == whole["finish_reason"]
    assert streamed["message"].get("content") == whole["message"].get("content")
    calls = [message["message"].get("tool_calls") or [] for message in (whole, streamed)]
    functions = [[call["function"] for call in each] for each in calls]
    assert functions[0] == functions[1] and len(functions[0]) == len(answer.tool_calls)


def test_a_stream_that_breaks_off_says_what_came(spans: SpanList) -> None:
    client = FakeModel(Answer(text="a first line, and a second one", breaks_off=True)).openai()
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="gpt-5.4", messages=ASK, stream=True):
            pass
    (streamed,) = said(spans)
    assert streamed["message"]["content"] and "a first line, and a second one".startswith(
        streamed["message"]["content"]
    )


def test_a_response_stream_says_its_output(spans: SpanList) -> None:
    client = FakeModel(ANSWERS[0]).openai()
    for _ in client.responses.create(model="gpt-5.4", input="hi", stream=True):
        pass
    assert "a first line, and a second one" in json.dumps(said(spans))
