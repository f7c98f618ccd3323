"""Real telemetry of real clients: the totals must be what the provider served, each call once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taximeter.pricing import load_catalog
from taximeter.usage import normalise_usage
from taximeter_collector.derive import derive_step
from taximeter_collector.ingest import Ingest
from taximeter_collector.store import Store

CORPUS = Path(__file__).parents[1] / "data" / "otlp-corpus"


@dataclass(frozen=True, slots=True)
class Gap:
    """What a client does not put into its telemetry, so that no collector can know it."""

    no_cache_write: bool = False
    no_cache_read: bool = False
    no_long_write: bool = False
    tools: int = 3
    """Executions with a span of their own."""

    @property
    def is_complete(self) -> bool:
        """Whether every token count is there."""
        return not (self.no_cache_write or self.no_cache_read or self.no_long_write)


EXACT = Gap()
CLIENTS = {
    "anthropic-sdk-native": Gap(tools=0),
    "otel-genai-anthropic": EXACT,
    "otel-genai-anthropic-only": Gap(no_long_write=True),
    "otel-genai-openai": EXACT,
    "openinference-anthropic": EXACT,
    "openinference-openai": EXACT,
    "openinference-js-anthropic": EXACT,
    "openinference-langchain": Gap(no_cache_write=True),
    "openinference-llama-index": Gap(no_cache_write=True),
    "openinference-openai-agents": EXACT,
    "openinference-openai-agents-chat": Gap(no_cache_write=True, no_cache_read=True),
    "openinference-smolagents": Gap(no_cache_write=True, no_cache_read=True),
    "traceloop-sdk-anthropic": EXACT,
    "traceloop-sdk-openai": Gap(no_cache_write=True),
    "traceloop-js-anthropic": Gap(no_long_write=True),
    "openllmetry-anthropic-events": Gap(tools=0),
    "openllmetry-openai-plain": Gap(no_cache_write=True, tools=0),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


SHAPES = {"messages": "anthropic", "chat": "openai_chat", "responses": "openai_responses"}


def billed(client: str) -> int:
    """Return what the provider would bill for the usage that it served, in pico-USD."""
    truth = json.loads((CORPUS / client / "agent_loop" / "truth.json").read_text())
    catalog, total = load_catalog(), 0
    for call in truth["model_calls"]:
        usage = normalise_usage(SHAPES[call["api"].split(".")[0]], call["usage_raw"])
        entry = catalog.resolve(call["provider"], call["model_responded"])
        assert entry is not None
        cost = catalog.price(usage, entry, datetime.fromtimestamp(call["start_unix"], UTC))
        assert cost is not None
        total += cost.total_pico
    return total


def replay(store: Store, client: str) -> dict[str, Any]:
    """Store and derive one client's agent loop; return its truth."""
    folder = CORPUS / client / "agent_loop"
    ingest = Ingest(store)
    for file in sorted(folder.glob("*.pb")):
        signal = file.name.split(".")[1]
        ingest.submit(signal, file.read_bytes()).result(30)  # type: ignore[arg-type]
    ingest.close()
    with store.cursor() as cursor:
        at, following = -1, 0
        while at != following:
            at, following = following, derive_step(cursor, store.prices, following)
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())["expected"]
    return truth


@pytest.mark.parametrize("client", CLIENTS)
def test_tokens_calls_and_cost_are_the_truth_once(store: Store, client: str) -> None:
    """Sums over `calls` equal what the fake provider served; nothing is counted twice."""
    truth, gap = replay(store, client), CLIENTS[client]
    with store.read() as cursor:
        row = cursor.execute(
            "select count(*), sum(uncached_input_tokens), sum(cache_read_tokens),"
            " sum(cache_write_short_tokens), sum(cache_write_long_tokens), sum(output_tokens),"
            " sum(prompt_tokens), count(*) filter (cost_pico is null) from calls where is_billed"
        ).fetchone()
        tools = cursor.execute("select count(*) from tool_calls").fetchone()
    assert row is not None and tools is not None
    calls, uncached, read, short, long, output, prompt, unpriced = row
    tokens = truth["tokens"]
    write = tokens.get("cache_write", 0) + tokens.get("cache_write_5m", 0)
    one_hour = tokens.get("cache_write_1h", 0)
    if gap.no_long_write:
        write, one_hour = write + one_hour, 0
    expected_uncached, expected_read = tokens["uncached_input"], tokens["cache_read"]
    if gap.no_cache_write:
        expected_uncached, write = expected_uncached + write + one_hour, 0
    if gap.no_cache_read:
        expected_uncached, expected_read = expected_uncached + expected_read, 0
    assert calls == truth["model_calls"]
    assert (uncached, read, short, long) == (expected_uncached, expected_read, write, one_hour)
    assert prompt == truth["whole_input"]
    assert output == tokens["output"]
    assert unpriced == 0
    assert tools[0] == gap.tools


@pytest.mark.parametrize("client", [name for name, gap in CLIENTS.items() if gap.is_complete])
def test_the_agent_loop_costs_what_the_bill_would_say(store: Store, client: str) -> None:
    """Where the telemetry has every count, the cost is that of the usage which was served."""
    replay(store, client)
    with store.read() as cursor:
        row = cursor.execute("select sum(cost_pico) from requests").fetchone()
    assert row == (billed(client),)


def test_the_bill_itself_is_right() -> None:
    """3 and 15 USD per million, written at 1.25 and 2 times, read at a tenth, summed by hand."""
    assert billed("anthropic-sdk-native") == 19_222_800_000
