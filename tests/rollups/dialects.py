"""Spans of any dialect, made from the rule files: what a client could say, true or not."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from tests.telemetry import Span, Value

from taximeter_collector.dialects import read_rules

_COUNTS: Final = (
    "stated_input", "stated_output", "cache_read", "cache_write", "cache_write_short",
    "cache_write_long", "reasoning", "reported_total", "audio_input", "audio_output", "image_input",
    "image_output", "web_searches", "compaction_input", "compaction_output", "stated_uncached",
)  # fmt: skip
_MODELS: Final = (
    ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"), ("gcp.gemini", "gemini-2.5-pro"),
    ("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"), ("nobody", "unheard-of"),
)  # fmt: skip
_RULES: Final = read_rules("attributes.csv")
KEYS: Final = {
    column: [str(row["key"]) for row in _RULES if row["column"] == column and not row["path"]]
    for column in _COUNTS
}
"""The attribute keys of each count, those inside JSON left out."""
SCOPES: Final = sorted(
    {str(row["pattern"]).replace("*", "x") for row in read_rules("detect.csv") if row["place"] == "scope"}
    | {str(row["scope"]).replace("*", "x") for row in read_rules("exclusive.csv")}
)  # fmt: skip
_KIND_RULES: Final = [row for row in read_rules("kinds.csv") if row["key"] != "span.name"]
_KINDS: Final = [(str(row["key"]), str(row["value"])) for row in _KIND_RULES]
_LLM: Final = [(str(row["key"]), str(row["value"])) for row in _KIND_RULES if row["kind"] == "llm"]

counts: Final[st.SearchStrategy[Value]] = st.one_of(
    st.integers(0, 50), st.sampled_from([100, 1000, 1024, 100_000, 10**9]), st.sampled_from([100])
)
odd_counts: Final[st.SearchStrategy[Value]] = st.one_of(
    counts, st.sampled_from([-1, -(10**6), 2**31, 2**53, 2**62, 2**63 - 1, "12", "1e3", "many", "", 3.0, 0.5])
)  # fmt: skip


@st.composite
def said(draw: st.DrawFn, values: st.SearchStrategy[Value], likely: bool) -> dict[str, Value]:
    """Return attributes of a model call of any dialect with any of its counts."""
    provider, model = draw(st.sampled_from(_MODELS))
    key, value = draw(st.sampled_from(_LLM if likely else _KINDS))
    attributes: dict[str, Value] = {key: value}
    attributes["gen_ai.provider.name"] = provider
    attributes["gen_ai.request.model"] = model
    for column, keys in KEYS.items():
        wanted = likely and column in ("stated_input", "stated_output")
        if keys and (wanted or draw(st.integers(0, 3)) == 0):
            attributes[draw(st.sampled_from(keys))] = draw(values)
    return attributes


@st.composite
def model_calls(draw: st.DrawFn, number: int) -> Span:
    """Return a root call with odd counts, in a trace of its own."""
    attributes = draw(said(odd_counts, likely=True))
    scope = draw(st.sampled_from(SCOPES))
    return Span(number, number, attributes=tuple(attributes.items()), scope=scope)


_USUAL_KINDS: Final = (
    (("gen_ai.operation.name", "chat"),) * 3
    + (("gen_ai.operation.name", "invoke_agent"), ("gen_ai.operation.name", "execute_tool"))
    + (("openinference.span.kind", "CHAIN"), ("gen_ai.operation.name", "embeddings"))
)


@st.composite
def tree_spans(draw: st.DrawFn, trace: int, number: int, parents: list[int]) -> Span:
    """Return one span of a tree: a call, an agent, a tool or a chain, often with usage."""
    key, value = draw(st.sampled_from(_USUAL_KINDS))
    attributes: dict[str, Value] = {key: value}
    if value == "execute_tool":
        attributes["gen_ai.tool.name"] = draw(st.sampled_from(["search", "read"]))
        attributes["gen_ai.tool.call.arguments"] = draw(st.sampled_from(["{}", '{"a": 1}']))
    else:
        provider, model = draw(st.sampled_from(_MODELS[:2]))
        attributes |= {"gen_ai.provider.name": provider, "gen_ai.request.model": model}
    if value != "execute_tool" and draw(st.booleans()):
        attributes["gen_ai.usage.input_tokens"] = draw(st.sampled_from([100, 200]))
        attributes["gen_ai.usage.output_tokens"] = draw(st.sampled_from([10, 20]))
        if draw(st.booleans()):
            attributes["gen_ai.response.id"] = draw(st.sampled_from(["a", "b", "c"]))
    if value == "chat" and draw(st.booleans()):
        attributes["gen_ai.input.messages"] = draw(st.sampled_from(["[1]", "[2]"]))
    if value == "invoke_agent":
        attributes["gen_ai.agent.name"] = draw(st.sampled_from(["x", "y"]))
    for name in ("session.id", "user.id"):
        if draw(st.integers(0, 4)) == 0:
            attributes[name] = draw(st.sampled_from(["s", "t"]))
    start = draw(st.sampled_from([0, 0, 5, 500, 59_000, 61_000]))
    return Span(
        trace,
        number,
        draw(st.sampled_from([*parents, 0])),
        start,
        start + draw(st.sampled_from([0, 10, 1000, 5000])),
        tuple(attributes.items()),
        draw(st.sampled_from(SCOPES)),
        draw(st.sampled_from(["desk", "gate"])),
        draw(st.integers(0, 5)) == 0,
    )


@st.composite
def trees(draw: st.DrawFn, traces: int = 5) -> list[Span]:
    """Return the spans of some traces; calls share response ids and times also across traces."""
    spans = []
    for trace in range(1, traces + 1):
        numbers = [100 * trace + at for at in range(draw(st.integers(1, 6)))]
        for at, number in enumerate(numbers):
            spans.append(draw(tree_spans(trace, number, numbers[:at] or [0])))
    return spans
