"""A provider's and a model's names as emitters write them → the ids of the price list. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Clause = Mapping[str, Any]

_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())


_ALIASES: Final = {
    "gcp.gen_ai": "google",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.vertex.agent": "google",
    "vertex_ai": "google",
    "vertex": "google",
    "google_vertexai": "google",
    "google-vertex": "google",
    "google.vertex": "google",
    "google-vertex-anthropic": "google",
    "gemini": "google",
    "google_genai": "google",
    "google.generative-ai": "google",
    "google_ai": "google",
    "aws.bedrock": "aws",
    "bedrock": "aws",
    "amazon_bedrock": "aws",
    "amazon-bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock_converse": "aws",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.inference": "azure",
    "az.ai.agents": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azure_ai": "azure",
    "azure_foundry": "azure",
    "azure_ai_foundry": "azure",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "togetherai": "together",
    "fireworks_ai": "fireworks",
    "z_ai": "zai",
    "github_copilot": "github-copilot",
    "ibm.watsonx.ai": "ibm",
}
PROVIDER_ALIASES: Final = _ALIASES | {_plain(name): home for name, home in _ALIASES.items()}
"""Emitters' names in lower case, and the same without punctuation: `AwsBedrock` is `aws_bedrock`."""
_FRAMEWORKS: Final = frozenset(
    {"strandsagents", "microsoftagentframework", "autogen", "crewai", "langchain", "litellm", "litellmproxy",
     "llamaindex", "pydanticai", "taximeter", "genkit", "springai", "portkey", "helicone", "other", "unknown"}
)  # fmt: skip
_HOMES: Final = frozenset(
    {"anthropic", "openai", "mistral", "cohere", "google", "azure", "groq", "deepseek",
     "perplexity", "fireworks", "together", "cerebras", "openrouter", "moonshotai"}
)  # fmt: skip
SELF_HOSTED: Final = frozenset(
    {"ollama", "vllm", "llamacpp", "llama.cpp", "lmstudio", "sglang", "tgi"}
)
PROTOCOLS: Final = frozenset({"openai", "anthropic"})
"""Other providers answer their requests too: the address then tells who bills."""
_GIVEN_AWAY: Final = {"openai": ("gpt-oss",)}
"""Published weights that the provider itself does not serve: who serves them sets the price."""
_DECORATION: Final = re.compile(r"(?:@[\w-]+|-v\d+(?::\d+)?|-latest|-\d{8}|-\d{4}-\d{2}-\d{2})$")
_DATED_VERSION: Final = re.compile(r"-\d{8}-v\d+(?::\d+)?$")
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(\d{2})(\d{2})$")
_BEDROCK_REGION: Final = re.compile(r"^(?:us|eu|apac|jp|au|global|us-gov|regional)\.(?=[a-z])")
_VERTEX_PATH: Final = re.compile(r"projects/[^/]+/locations/([a-z0-9-]+)/")
_VERTEX_HOST: Final = re.compile(
    r"(?:aiplatform\.)?((?:us|eu|europe|asia|australia|northamerica|southamerica|me|africa)[a-z0-9-]*?)"
    r"(?:-aiplatform\.googleapis\.com|\.rep\.googleapis\.com)$"
)
_RESIDENT_HOST: Final = re.compile(r"[a-z]{2}\.api\.openai\.com$")
_BEDROCK_PREFIX: Final = re.compile(
    r"^(?:(?:us|eu|apac|jp|au|global|us-gov)\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|google|nvidia|qwen|writer)\."
)


def provider_id(raw: str | None, model: str) -> str | None:
    """Return the price list's id of a provider; None where the name says nothing.

    >>> provider_id("gcp.vertex_ai", "gemini-2.5-pro"), provider_id("crewai", "gpt-5")
    ('google', None)
    >>> provider_id("anthropic", "us.anthropic.claude-opus-5-5"), provider_id("AwsBedrock", "x")
    ('aws', 'aws')
    >>> provider_id("anthropic.messages", "claude-opus-5-5")
    'anthropic'
    """
    name = (raw or "").strip().lower().removesuffix("_llm")
    is_unnamed = not name or _plain(name) in _FRAMEWORKS
    if (is_unnamed or name in PROTOCOLS) and _BEDROCK_PREFIX.match(model.lower()):
        return "aws"
    if is_unnamed:
        return None
    # `openai.responses`, `google.vertex.chat`: frameworks add which of its interfaces was used.
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        head = _plain("".join(parts[:count]))
        if head in PROVIDER_ALIASES:
            return PROVIDER_ALIASES[head]
    return parts[0] if parts[0] in _HOMES else name


def spellings(model: str, provider: str | None) -> Iterator[str]:
    """Yield ``model`` as the price list may know it, the closest spelling first.

    >>> list(spellings("models/gemini-2.5-pro[1m]", "google"))
    ['models/gemini-2.5-pro', 'gemini-2.5-pro']
    """
    name = model.strip().lower().removesuffix("[1m]")
    seen = set()
    for spelling in _spellings(name, provider):
        if spelling and spelling not in seen:
            seen.add(spelling)
            yield spelling


def _spellings(name: str, provider: str | None) -> Iterator[str]:
    yield name
    if name.startswith("openrouter/"):
        yield name.removeprefix("openrouter/")
    if "/" in name and provider != "openrouter":
        yield name.rsplit("/", 1)[1]
        yield name.split("/", 1)[1]
    if compact := _COMPACT_DATE.search(name):
        yield f"{name[: compact.start()]}-{'-'.join(compact.groups())}"
    yield name.partition("@")[0]
    yield _DATED_VERSION.sub("", name.rsplit("/", 1)[-1])


def bare_name(model: str, provider: str | None) -> str:
    """Return the last, least decorated spelling."""
    return list(spellings(model, provider))[-1]


def region_of(provider: str, model: str, server_address: str | None) -> str | None:
    """Return the region class that a name or an address states; None where neither does.

    Bedrock's prefixes are models of their own in the price list.

    >>> region_of("google", "claude-opus-5-5", "us-east5-aiplatform.googleapis.com:443")
    'regional'
    >>> region_of("openai", "gpt-6.1-sol", "eu.api.openai.com"), region_of("openai", "gpt-5", None)
    ('residency', None)
    """
    address = (server_address or "").lower().partition(":")[0]
    if provider == "google":
        place = _VERTEX_PATH.match(model.lower()) or _VERTEX_HOST.match(address)
        return "regional" if place and place[1] != "global" else None
    if provider == "openai" and _RESIDENT_HOST.match(address):
        return "residency"
    return None


def prefixed_provider(model: str) -> str | None:
    """Return the provider that a name such as ``anthropic/claude-x`` states."""
    head, slash, _ = model.partition("/")
    return (
        head.lower() if slash and head.lower() not in {"models", "projects", "publishers"} else None
    )


def is_given_away(provider: str, text: str) -> bool:
    """Return whether ``provider`` lists the model but serves it to nobody."""
    return text.startswith(_GIVEN_AWAY.get(provider, ()))


def is_named(clause: Clause, model_id: str, text: str) -> bool:
    """Return whether ``text`` is the model's name, not just a longer one that starts like it.

    >>> clause = {"starts_with": "claude-haiku-4-5"}
    >>> is_named(clause, "claude-haiku-4-5", "claude-haiku-4-5-20251001")
    True
    >>> is_named(clause, "claude-haiku-4-5", "claude-haiku-4-5-foo")
    False
    """
    return core_name(text) in (core_name(model_id), *map(core_name, _equals(clause)))


def without_vendor(name: str) -> str:
    """Return a name as its maker spells it: without a cloud's prefixes, dates and versions.

    >>> without_vendor("us.anthropic.claude-opus-5-5-20260922-v1:0")
    'claude-opus-5-5'
    """
    return core_name(_BEDROCK_PREFIX.sub("", name))


def core_name(name: str) -> str:
    """Return a name without dates, versions and region prefixes."""
    name = _BEDROCK_REGION.sub("", name.rsplit("/", 1)[-1].lower())
    while (shorter := _DECORATION.sub("", name)) != name:
        name = shorter
    return name


def _equals(clause: Clause) -> Iterator[str]:
    (kind, value), *_ = clause.items()
    if kind == "equals":
        yield str(value)
    elif kind in ("or", "and"):
        for part in value:
            yield from _equals(part)


def is_match(clause: Clause, text: str) -> bool:
    """Return whether a match clause of the price list holds for ``text`` (lower case)."""
    (kind, value), *_ = clause.items()
    if kind == "equals":
        return bool(text == value)
    if kind == "starts_with":
        return text.startswith(str(value))
    if kind == "ends_with":
        return text.endswith(str(value))
    if kind == "contains":
        return str(value) in text
    if kind == "regex":
        return re.search(value, text) is not None
    return (any if kind == "or" else all)(is_match(part, text) for part in value)
