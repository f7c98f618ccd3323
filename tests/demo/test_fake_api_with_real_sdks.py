"""The fake model API answers the real anthropic and openai SDKs as the providers do."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest

from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import STALL, Fault, Reply, Tokens, ToolCall

CLAUDE = "claude-sonnet-5-5"
GPT = "gpt-5.4"
TOKENS = Tokens(
    uncached_input=120,
    cache_read=9000,
    cache_write_5m=300,
    cache_write_1h=40,
    output=77,
    reasoning=30,
)
SEARCH: dict[str, object] = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as running:
        yield running


@pytest.fixture
def claude(api: FakeApi) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo") as client:
        yield client


@pytest.fixture
def gpt(api: FakeApi) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=api.openai_url, api_key="demo") as client:
        yield client


def ask(claude: anthropic.Anthropic) -> anthropic.types.Message:
    return claude.messages.create(
        model=CLAUDE, max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    )


def test_a_message_carries_the_scripted_usage_text_and_tool_call(
    api: FakeApi, claude: anthropic.Anthropic
) -> None:
    api.say(Reply(text="Let me look.", tool_calls=(ToolCall("s", {"q": "x"}),), tokens=TOKENS))
    said = ask(claude)
    assert said.stop_reason == "tool_use"
    assert [block.type for block in said.content] == ["thinking", "text", "tool_use"]
    assert said.usage.input_tokens == 120
    assert said.usage.cache_read_input_tokens == 9000
    assert said.usage.cache_creation_input_tokens == 340
    assert said.usage.cache_creation is not None
    assert said.usage.cache_creation.ephemeral_1h_input_tokens == 40
    assert said.usage.output_tokens == 77
    assert said.id.startswith("msg_")


def test_a_streamed_message_adds_up_to_the_same_usage(
    api: FakeApi, claude: anthropic.Anthropic
) -> None:
    call = ToolCall("search", {"query": "invoice"})
    api.say(Reply(text="Let me look.", tool_calls=(call,), tokens=TOKENS))
    with claude.messages.stream(
        model=CLAUDE, max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        text = "".join(stream.text_stream)
        said = stream.get_final_message()
    assert text == "Let me look."
    assert said.usage.output_tokens == 77
    assert said.usage.cache_read_input_tokens == 9000
    assert said.stop_reason == "tool_use"
    tool = said.content[-1]
    assert tool.type == "tool_use" and tool.input == {"query": "invoice"}


def test_a_batch_returns_each_result_at_the_batch_tier(claude: anthropic.Anthropic) -> None:
    batch = claude.messages.batches.create(
        requests=[
            {
                "custom_id": f"note-{n}",
                "params": {
                    "model": CLAUDE,
                    "max_tokens": 50,
                    "messages": [{"role": "user", "content": "sum up"}],
                },
            }
            for n in range(3)
        ]
    )
    assert claude.messages.batches.retrieve(batch.id).processing_status == "ended"
    results = list(claude.messages.batches.results(batch.id))
    assert [row.custom_id for row in results] == ["note-0", "note-1", "note-2"]
    assert all(
        row.result.type == "succeeded" and row.result.message.usage.service_tier == "batch"
        for row in results
    )


def test_chat_completions_count_cached_tokens_inside_the_prompt(
    api: FakeApi, gpt: openai.OpenAI
) -> None:
    api.say(Reply(text="ok", tokens=TOKENS))
    said = gpt.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "hi"}])
    assert said.usage is not None
    assert said.usage.prompt_tokens == TOKENS.prompt
    assert said.usage.prompt_tokens_details is not None
    assert said.usage.prompt_tokens_details.cached_tokens == 9000
    assert said.usage.completion_tokens_details is not None
    assert said.usage.completion_tokens_details.reasoning_tokens == 30
    assert said.choices[0].message.content == "ok"


@pytest.mark.parametrize("is_usage_asked", [True, False], ids=["asked", "not asked"])
def test_a_chat_stream_reports_usage_only_when_asked(
    gpt: openai.OpenAI, is_usage_asked: bool
) -> None:
    stream = gpt.chat.completions.create(
        model=GPT,
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": is_usage_asked},
    )
    usages = [chunk.usage for chunk in stream if chunk.usage]
    assert len(usages) == int(is_usage_asked)


def test_a_chat_stream_carries_tool_calls(api: FakeApi, gpt: openai.OpenAI) -> None:
    api.say(Reply(text="", tool_calls=(ToolCall("search", {"query": "x"}),)))
    with gpt.chat.completions.stream(
        model=GPT, messages=[{"role": "user", "content": "hi"}]
    ) as stream:
        said = stream.get_final_completion()
    calls = said.choices[0].message.tool_calls
    assert calls and calls[0].function.arguments == '{"query": "x"}'
    assert said.choices[0].finish_reason == "tool_calls"


def test_the_responses_api_answers_whole_and_streamed_alike(
    api: FakeApi, gpt: openai.OpenAI
) -> None:
    reply = Reply(text="fine", tool_calls=(ToolCall("search", {"query": "x"}),), tokens=TOKENS)
    api.say(reply, reply)
    whole = gpt.responses.create(model=GPT, input="hi")
    with gpt.responses.stream(model=GPT, input="hi") as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response()
    assert whole.output_text == streamed.output_text == "fine"
    assert whole.usage == streamed.usage
    assert whole.usage is not None and whole.usage.input_tokens_details.cached_tokens == 9000
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call"]


def test_embeddings_give_one_vector_for_each_text(gpt: openai.OpenAI) -> None:
    said = gpt.embeddings.create(model="text-embedding-3-small", input=["one", "two two"])
    assert len(said.data) == 2 and len(said.data[0].embedding) == 256
    assert said.usage.prompt_tokens == said.usage.total_tokens > 0


def test_a_tool_is_called_once_and_then_answered(claude: anthropic.Anthropic) -> None:
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "look it up"}]
    tools: list[anthropic.types.ToolParam] = [{"name": "search", "input_schema": SEARCH}]
    first = claude.messages.create(model=CLAUDE, max_tokens=50, messages=messages, tools=tools)
    call = first.content[-1]
    assert call.type == "tool_use" and call.input == {"query": "example"}
    messages.append({"role": "assistant", "content": first.content})
    result: anthropic.types.ToolResultBlockParam = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": "found",
    }
    messages.append({"role": "user", "content": [result]})
    second = claude.messages.create(model=CLAUDE, max_tokens=50, messages=messages, tools=tools)
    assert second.stop_reason == "end_turn"


def test_a_marked_prompt_is_written_to_the_cache_and_then_read(
    claude: anthropic.Anthropic,
) -> None:
    def usage(question: str) -> anthropic.types.Usage:
        return claude.messages.create(
            model=CLAUDE,
            max_tokens=50,
            system=[
                {
                    "type": "text",
                    "text": "Policy. " * 1000,
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                }
            ],
            messages=[{"role": "user", "content": question}],
        ).usage

    first, second = usage("one"), usage("two")
    assert first.cache_creation is not None
    written = first.cache_creation.ephemeral_1h_input_tokens
    assert written >= 1024 and first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == written
    assert second.cache_creation_input_tokens == 0


def test_the_sdk_retries_an_overload_and_then_gets_the_answer(
    api: FakeApi, claude: anthropic.Anthropic
) -> None:
    fault = Fault(529, retry_after_s=2)
    api.say(Reply(text="at last", faults=(fault, fault)))
    said = ask(claude)
    assert said.content[0].type == "text" and said.content[0].text == "at last"
    assert api.ledger.as_json()["failures"] == {"529": 2}
    assert api.ledger.calls() == 1


def test_faults_past_the_retries_reach_the_caller_as_the_sdks_own_errors(
    api: FakeApi, claude: anthropic.Anthropic, gpt: openai.OpenAI
) -> None:
    api.say(
        Reply(faults=(Fault(529, 1),) * 3),
        Reply(faults=(Fault(429, 1),) * 3),
        Reply(faults=(Fault(STALL),)),
    )
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        ask(claude)
    assert overloaded.value.status_code == 529
    with pytest.raises(openai.RateLimitError):
        gpt.embeddings.create(model="text-embedding-3-small", input="x")
    with pytest.raises(anthropic.APITimeoutError):
        ask(claude.with_options(timeout=0.05, max_retries=0))


def test_an_unknown_path_and_a_missing_model_are_refused(api: FakeApi, gpt: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        gpt.images.generate(prompt="a cat")
    with pytest.raises(openai.BadRequestError, match="model"):
        gpt.post("/chat/completions", body={"messages": []}, cast_to=object)
