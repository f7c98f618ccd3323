"""The traps of each provider's usage object, one a case; the golden table has the plain ones."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.pricing import FIELDS, Band
from taximeter.pricing.bands import cost_in, total_in
from taximeter.usage import Usage, normalise_usage, open_usage


def leaves(shape: str, raw: dict[str, Any]) -> dict[str, int]:
    """What is stated and not zero, without the informational part."""
    usage = normalise_usage(shape, raw)
    names = ("uncached_input", "cache_read", "cache_write_short", "cache_write_long", "output",
             "audio_input", "audio_cache_read", "audio_output", "image_input", "image_output",
             "web_searches")  # fmt: skip
    return {name: units for name in names if (units := getattr(usage, name))}


CASES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "a compaction pass may write for an hour": (
        "anthropic",
        {"input_tokens": 10, "output_tokens": 20, "cache_creation_input_tokens": 0,
         "iterations": [{"type": "compaction", "input_tokens": 500, "output_tokens": 40,
                         "cache_creation_input_tokens": 300, "cache_read_input_tokens": 7,
                         "cache_creation": {"ephemeral_5m_input_tokens": 100,
                                            "ephemeral_1h_input_tokens": 200}},
                        {"type": "message", "input_tokens": 10, "output_tokens": 20}]},
        {"uncached_input": 510, "cache_read": 7, "cache_write_short": 100,
         "cache_write_long": 200, "output": 60},
    ),
    "a split of zeros does not hide the total written": (
        "anthropic",
        {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 5_000,
         "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}},
        {"uncached_input": 1, "cache_write_short": 5_000, "output": 1},
    ),
    "chat that caches nothing says nothing": (
        "openai_chat", {"prompt_tokens": 9, "completion_tokens": 3},
        {"uncached_input": 9, "output": 3},
    ),
    "an embedding has no answer": (
        "openai_chat", {"prompt_tokens": 8, "total_tokens": 8}, {"uncached_input": 8},
    ),
    "a compatible server leaves thinking out of the answer": (
        "openai_chat", {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 520},
        {"uncached_input": 100, "output": 420},
    ),
    "a cached prefix reaches into the images": (
        "openai_chat",
        {"prompt_tokens": 1_000, "completion_tokens": 5,
         "prompt_tokens_details": {"cached_tokens": 900, "image_tokens": 400}},
        {"uncached_input": 0, "cache_read": 900, "image_input": 100, "output": 5},
    ),
    "cached audio is told apart where it is stated": (
        "openai_chat",
        {"prompt_tokens": 1_000, "completion_tokens": 5,
         "prompt_tokens_details": {"text_tokens": 200, "audio_tokens": 800, "cached_tokens": 500,
                                   "cached_tokens_details": {"text_tokens": 100,
                                                             "audio_tokens": 400}}},
        {"uncached_input": 100, "cache_read": 100, "audio_input": 400, "audio_cache_read": 400,
         "output": 5},
    ),
    "written tokens without a lifetime are short": (
        "openai_responses",
        {"input_tokens": 100, "output_tokens": 5,
         "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 60}},
        {"uncached_input": 30, "cache_read": 10, "cache_write_short": 60, "output": 5},
    ),
    "an image answer is not text": (
        "openai_responses",
        {"input_tokens": 50, "output_tokens": 1_060,
         "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
         "output_tokens_details": {"text_tokens": 0, "image_tokens": 1_060}},
        {"uncached_input": 50, "image_output": 1_060},
    ),
    "realtime text alone needs no split of what is cached": (
        "openai_realtime",
        {"input_tokens": 100, "output_tokens": 5,
         "input_token_details": {"text_tokens": 100, "cached_tokens": 64},
         "output_token_details": {"text_tokens": 5}},
        {"uncached_input": 36, "cache_read": 64, "output": 5},
    ),
    "tool-use prompts may be audio": (
        "gemini",
        {"promptTokenCount": 100, "toolUsePromptTokenCount": 60, "candidatesTokenCount": 5,
         "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}]},
        {"uncached_input": 100, "audio_input": 60, "output": 5},
    ),
    "cached audio without a list of the prompt": (
        "gemini",
        {"promptTokenCount": 100, "candidatesTokenCount": 5, "cachedContentTokenCount": 50,
         "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}]},
        {"uncached_input": 50, "cache_read": 10, "audio_cache_read": 40, "output": 5},
    ),
    "a blocked prompt has no candidates": (
        "gemini", {"promptTokenCount": 70, "totalTokenCount": 70}, {"uncached_input": 70},
    ),
    "documents and video are text": (
        "gemini",
        {"promptTokenCount": 90, "candidatesTokenCount": 300, "thoughtsTokenCount": 10,
         "promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 50},
                                 {"modality": "VIDEO", "tokenCount": 40}],
         "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}]},
        {"uncached_input": 90, "output": 52, "image_output": 258},
    ),
    "the Python SDK's names": (
        "gemini",
        {"prompt_token_count": 90, "candidates_token_count": 4, "thoughts_token_count": 6,
         "prompt_tokens_details": [{"modality": "MediaModality.AUDIO", "token_count": 80}]},
        {"uncached_input": 10, "audio_input": 80, "output": 10},
    ),
    "Bedrock states lifetimes in a list": (
        "bedrock",
        {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 10,
         "cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 4},
                                                      {"ttl": "5m", "inputTokens": 5}]},
        {"uncached_input": 1, "cache_read": 10, "cache_write_short": 5, "cache_write_long": 4,
         "output": 2},
    ),
    "xAI's total decides whether reasoning is inside": (
        "xai_chat",
        {"prompt_tokens": 10, "completion_tokens": 30, "total_tokens": 40,
         "completion_tokens_details": {"reasoning_tokens": 25}},
        {"uncached_input": 10, "output": 30},
    ),
    "xAI without a total": (
        "xai_chat",
        {"prompt_tokens": 10, "completion_tokens": 30,
         "completion_tokens_details": {"reasoning_tokens": 25}},
        {"uncached_input": 10, "output": 55},
    ),
    "DeepSeek misses alone imply the hits": (
        "deepseek", {"prompt_tokens": 10, "prompt_cache_miss_tokens": 4, "completion_tokens": 1},
        {"uncached_input": 4, "cache_read": 6, "output": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "raw", "expected"), CASES.values(), ids=CASES.keys())
def test_each_trap(shape: str, raw: dict[str, Any], expected: dict[str, int]) -> None:
    assert leaves(shape, raw) == {name: units for name, units in expected.items() if units}


@pytest.mark.parametrize(
    ("shape", "raw"),
    [
        ("openai_chat", {}),
        ("openai_chat", {"prompt_tokens": None, "completion_tokens": None}),
        ("openai_chat", {"prompt_tokens": float("nan"), "completion_tokens": float("inf")}),
        ("anthropic", {"cache_read_input_tokens": 5}),
        ("gemini", {"promptTokenCount": 5}),
        ("bedrock", {}),
        ("openai_realtime", {"total_tokens": 50}),
    ],
)
def test_a_count_that_is_not_stated_is_unknown(shape: str, raw: dict[str, Any]) -> None:
    usage = normalise_usage(shape, raw)
    assert usage.output is None
    assert usage.total_tokens is None


def test_cached_audio_without_a_split_is_not_guessed() -> None:
    details = {"text_tokens": 500, "audio_tokens": 2_000, "cached_tokens": 1_300}
    raw = {"input_tokens": 2_500, "output_tokens": 7, "input_token_details": details}
    usage = normalise_usage("openai_realtime", raw)
    assert usage.prompt_tokens is None
    assert (usage.output, usage.cache_reported) == (7, True)


def test_an_advisors_tokens_are_kept_apart_under_its_model() -> None:
    advisor = {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 800,
               "output_tokens": 60, "cache_read_input_tokens": 0,
               "cache_creation_input_tokens": 0}  # fmt: skip
    raw = {"input_tokens": 50, "output_tokens": 9, "iterations": [advisor]}
    usage = normalise_usage("anthropic", raw)
    assert (usage.uncached_input, usage.output) == (50, 9)
    ((model, tokens),) = usage.other_models
    assert (model, tokens.uncached_input, tokens.output) == ("claude-opus-5-5", 800, 60)


@pytest.mark.parametrize(("stated", "others"), [((110, 7), 0), ((10, 2), 1)])
def test_a_fallback_is_counted_once(stated: tuple[int, int], others: int) -> None:
    """It stands in place of a message; only totals that leave it out put it beside them."""
    passes = [{"type": "message", "input_tokens": 10, "output_tokens": 2},
              {"type": "fallback_message", "model": "claude-opus-5", "input_tokens": 100,
               "output_tokens": 5}]  # fmt: skip
    raw = {"input_tokens": stated[0], "output_tokens": stated[1], "iterations": passes}
    assert len(normalise_usage("anthropic", raw).other_models) == others


@pytest.mark.parametrize(
    ("shape", "raw", "error"),
    [
        ("openai", {}, ValueError),
        ("anthropic", None, TypeError),
        ("openai_chat", {"prompt_tokens": -5}, ValueError),
        (
            "openai_chat",
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
            ValueError,
        ),
    ],
)
def test_what_can_not_be_is_refused(shape: str, raw: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        normalise_usage(shape, raw)


def test_totals_add_every_leaf_once() -> None:
    usage = Usage(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, reasoning=5)
    assert usage.prompt_tokens == 1 + 2 + 4 + 8 + 32 + 64 + 256
    assert usage.total_tokens == 1023


def test_the_total_alone_is_that_of_the_parts() -> None:
    usage = Usage(*(2**place for place in range(len(FIELDS))))._replace(reasoning=5)
    band = Band(prices=tuple(7**place for place in range(len(FIELDS))))
    cost = cost_in(band, usage)
    assert cost is not None and total_in(band, usage) == cost.total_pico


@pytest.mark.parametrize(
    "text",
    [
        "{'prompt_tokens': __import__('os').getpid()}",
        "{'prompt_tokens': 1, 'note': '" + "x" * 9000 + "'}",
        "{'a': " + "[" * 4000 + "]" * 4000 + "}",
        "{'prompt_tokens': 1",
        "prompt_tokens=1",
    ],
)
def test_a_printed_dict_is_read_as_data_and_within_bounds(text: str) -> None:
    with pytest.raises(ValueError):
        open_usage(text)
