"""Provider and model as emitters spell them → the entry of the list, its region, its price."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taximeter.pricing import Catalog, load_catalog
from taximeter.usage import Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(uncached_input=10_000, output=0)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def usd(catalog: Catalog, provider: str | None, model: str, **asked: str) -> float | None:
    """The price of a million prompt tokens."""
    entry = catalog.resolve(provider, model, **asked)  # type: ignore[arg-type]
    cost = catalog.price(USAGE, entry, NOW) if entry else None
    return cost.total_pico / 10**10 if cost else None


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", 3), ("openai", "gpt-5-2025-08-07", 1.25),
        ("anthropic", "claude-opus-5-5@20260922", 4), ("anthropic", "claude-opus-5-5[1m]", 4),
        (None, "anthropic/claude-opus-5-5", 4), ("anthropic", "anthropic/claude-opus-5-5", 4),
        (None, "openai/gpt-5", 1.25), ("openai", "openai/gpt-5", 1.25),
        ("openrouter", "anthropic/claude-opus-5.5", 4), (None, "openrouter/anthropic/claude-opus-5.5", 4),
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        (None, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        ("aws.bedrock", "us.anthropic.claude-opus-5-5-20260922-v1:0", 4.4),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-5-5", 4.4),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", None),
        ("litellm", "bedrock/us.anthropic.claude-opus-5-5", 4.4), ("litellm", "azure/gpt-5", 1.25),
        ("gcp.gemini", "models/gemini-2.5-pro", 1.25), ("litellm", "vertex_ai/gemini-2.5-pro", 1.25),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro", 1.25),
        ("gcp.vertex_ai", "projects/p/locations/global/publishers/google/models/gemini-2.5-pro", 1.25),
        ("azure.ai.openai", "my-gpt5", None), ("azure.ai.openai", "gpt-5-2025-08-07", 1.25),
        ("openai", "gpt-5.6", 4), ("gcp.gemini", "gemini-flash-latest", 0.75), ("x_ai", "grok-latest", 2),
        ("openai", "gpt-oss-120b", None), (None, "gpt-oss-120b", None), ("vllm", "gpt-oss-120b", None),
        ("ollama", "gpt-oss:120b", None), ("groq", "openai/gpt-oss-120b", 0.15),
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc", 3.75), ("openai", "no-such-model", None),
    ],
)  # fmt: skip
def test_a_models_name_in_every_spelling(
    catalog: Catalog, provider: str | None, model: str, expected: float | None
) -> None:
    assert usd(catalog, provider, model) == expected


@pytest.mark.parametrize(
    ("provider", "model", "listed"),
    [
        ("gcp.gen_ai", "gemini-2.5-pro", "google"), ("gcp.gemini", "gemini-2.5-pro", "google"),
        ("gcp.vertex_ai", "gemini-2.5-pro", "google"), ("vertex_ai", "gemini-2.5-pro", "google"),
        ("google.vertex.chat", "gemini-2.5-pro", "google"), ("gcp.vertex.agent", "gemini-2.5-pro", "google"),
        ("google.generative-ai", "gemini-2.5-pro", "google"), ("google-vertex", "gemini-2.5-pro", "google"),
        ("vertex.anthropic.messages", "claude-opus-5-5", "google"),
        ("aws.bedrock", "amazon.nova-pro-v1:0", "aws"), ("amazon-bedrock", "amazon.nova-pro-v1:0", "aws"),
        ("bedrock_converse", "amazon.nova-pro-v1:0", "aws"),
        ("azure.ai.openai", "gpt-5", "azure"), ("azure.ai.inference", "gpt-5", "azure"),
        ("azure-openai.responses", "gpt-5", "azure"), ("az.ai.openai", "gpt-5", "azure"),
        ("x_ai", "grok-4.3", "x-ai"), ("xai.chat", "grok-4.3", "x-ai"),
        ("mistral_ai", "mistral-large-4", "mistral"), ("mistralai", "mistral-large-4", "mistral"),
        ("openai.responses", "gpt-5", "openai"), ("anthropic.messages", "claude-opus-5-5", "anthropic"),
        ("strands-agents", "gpt-5", "openai"), ("crewai", "claude-opus-5-5", "anthropic"),
        ("langchain", "gemini-2.5-pro", "google"), (None, "claude-opus-5-5", "anthropic"),
        ("AwsBedrock", "amazon.nova-pro-v1:0", "aws"), ("anthropic", "us.anthropic.claude-opus-5-5", "aws"),
        ("VertexAI", "claude-opus-5-5", "google"), ("GoogleAI", "gemini-2.5-pro", "google"),
        ("googleVertex.anthropic.messages", "claude-opus-5-5", "google"), (None, "googleai/gemini-2.5-pro", "google"),
        ("AzureOpenAI", "gpt-5", "azure"), ("AzureFoundry", "claude-opus-5-5", "azure"),
        ("azure_openai_llm", "gpt-5", "azure"), ("Anthropic_LLM", "claude-opus-5-5", "anthropic"), ("xAI", "grok-4.3", "x-ai"),
        ("litellm_proxy", "gpt-5", "openai"), ("genkit", "anthropic/claude-opus-5-5", "anthropic"),
    ],
)  # fmt: skip
def test_a_provider_under_every_name(
    catalog: Catalog, provider: str | None, model: str, listed: str
) -> None:
    entry = catalog.resolve(provider, model)
    assert entry is not None
    assert entry.provider.partition(">")[0] == listed


@pytest.mark.parametrize("prefix", ["us", "eu", "jp", "au"])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-4-5-20250929-v1:0"])
def test_bedrock_in_a_region_costs_a_tenth_more_than_global(
    catalog: Catalog, prefix: str, model: str
) -> None:
    world = usd(catalog, "aws.bedrock", f"global.anthropic.{model}")
    assert world
    assert usd(catalog, "aws.bedrock", f"{prefix}.anthropic.{model}") == pytest.approx(1.1 * world)
    assert usd(catalog, "aws.bedrock", f"anthropic.{model}") == pytest.approx(1.1 * world)


@pytest.mark.parametrize(
    ("provider", "model", "address", "expected"),
    [
        ("gcp.vertex_ai", "claude-opus-5-5", "us-east5-aiplatform.googleapis.com", 4.4),
        ("gcp.vertex_ai", "claude-opus-5-5", "europe-west1-aiplatform.googleapis.com:443", 4.4),
        ("gcp.vertex_ai", "claude-opus-5-5", "aiplatform.eu.rep.googleapis.com", 4.4),
        ("gcp.vertex_ai", "claude-opus-5-5", "aiplatform.googleapis.com", 4),
        ("gcp.vertex_ai", "projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-5-5", None, 4.4),
        ("gcp.vertex_ai", "projects/p/locations/global/publishers/anthropic/models/claude-opus-5-5", None, 4),
        ("openai", "gpt-6.1-sol", "eu.api.openai.com", 2.2), ("openai", "gpt-6.1-sol", "us.api.openai.com:443", 2.2),
        ("openai", "gpt-6.1-sol", "api.openai.com", 2), ("openai", "gpt-5", "eu.api.openai.com", 1.25),
    ],
)  # fmt: skip
def test_an_endpoint_tells_its_region(
    catalog: Catalog, provider: str, model: str, address: str | None, expected: float
) -> None:
    asked = {"server_address": address} if address else {}
    assert usd(catalog, provider, model, **asked) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("provider", "model", "tier", "expected"),
    [
        ("openai", "gpt-6.1-sol", "default", 2), ("openai", "gpt-6.1-sol", "flex", 1),
        ("openai", "gpt-6.1-sol", "priority", 4), ("openai", "gpt-5.5", "priority", 12.5),
        ("openai", "gpt-5-mini", "priority", 0.45), ("openai", "gpt-4.1", "priority", 3.5),
        ("openai", "gpt-6.1-sol", "ultrafast", 12), ("openai", "gpt-6-luna", "ultrafast", None),
        ("openai", "gpt-5", "scale", None), ("openai", "gpt-5", "hyperspeed", None),
        ("anthropic", "claude-opus-5-5", "fast", 8), ("anthropic", "claude-opus-4-6", "fast", 30),
        ("anthropic", "claude-opus-5-5", "priority", None), ("anthropic", "claude-opus-5-5", "batch", 2),
        ("gcp.gemini", "gemini-3.8-flash", "ON_DEMAND_PRIORITY", 1.35), ("xai", "grok-4.3", "batch", 1),
    ],
)  # fmt: skip
def test_a_tier_is_its_own_card_or_unknown_never_standard(
    catalog: Catalog, provider: str, model: str, tier: str, expected: float | None
) -> None:
    assert usd(catalog, provider, model, tier=tier) == expected


@pytest.mark.parametrize(("length", "expected"), [(199_999, 1.25), (200_000, 2.5)])
def test_xais_border_belongs_to_the_dearer_side(
    catalog: Catalog, length: int, expected: float
) -> None:
    entry = catalog.resolve("x_ai", "grok-4.3")
    assert entry is not None
    cost = catalog.price(Usage(uncached_input=length, output=0), entry, NOW)
    assert cost is not None
    assert cost.total_pico / length / 10**6 == expected
