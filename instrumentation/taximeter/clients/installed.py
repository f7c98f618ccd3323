"""What is installed in the host and can be measured: found without importing it, switched on when it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Final

from taximeter import lifecycle
from taximeter.clients import anthropic, google_genai, mcp, openai
from taximeter.clients.late_imports import when_imported
from taximeter.guard import guarded, logger


@dataclass(frozen=True, slots=True)
class _Library:
    """A library, and how it is measured."""

    module: str
    distribution: str
    switch_on: Callable[[], None] | None
    """None: it makes OpenTelemetry spans by itself, wherever a provider is set."""


def _switch_on_pydantic_ai() -> None:
    """Let its agents make spans, unless the application has decided for itself."""
    agent: Any = import_module("pydantic_ai").Agent
    settings: Any = import_module("pydantic_ai.models.instrumented").InstrumentationSettings
    if not getattr(agent, "_instrument_default", False):
        is_told = lifecycle.captures_content()
        agent.instrument_all(settings(include_content=is_told, include_binary_content=is_told))


_LIBRARIES: Final = (
    _Library("anthropic", "anthropic", anthropic.install),
    _Library("openai", "openai", openai.install),
    _Library("google.genai", "google-genai", google_genai.install),
    _Library("pydantic_ai", "pydantic-ai-slim", _switch_on_pydantic_ai),
    _Library("mcp.client.session", "mcp", mcp.install),
)
_FRAMEWORKS: Final = {
    "agno": "agno", "autogen": "autogen_agentchat", "crewai": "crewai", "dspy": "dspy",
    "haystack": "haystack", "langchain": "langchain_core", "llama_index": "llama_index",
    "openai_agents": "agents", "smolagents": "smolagents",
}  # fmt: skip
"""Entry points of instrumentation packages for agent frameworks, and what they instrument.

Those for model SDKs are left alone: the SDKs are measured here.
"""


@guarded(default=None)
def switch_on() -> None:
    """Measure what is installed, each when it is imported, and say so in one line."""
    found = [_switch_on(library) for library in _LIBRARIES]
    names = [name for name in found if name] + _instrumentors()
    logger.info("measuring %s", ", ".join(names) if names else "no model SDK: none is installed")


@guarded(default=None)
def _switch_on(library: _Library) -> str | None:
    top = library.module.partition(".")[0]
    if top not in sys.modules and find_spec(top) is None:
        return None
    try:
        version = metadata.version(library.distribution)
    except metadata.PackageNotFoundError:
        return None
    if library.switch_on is not None:
        when_imported(library.module, library.switch_on)
    return f"{library.distribution} {version}"


@guarded(default=[])
def _instrumentors() -> list[str]:
    """Switch on the instrumentation packages of agent frameworks that are installed."""
    names = []
    for point in metadata.entry_points(group="opentelemetry_instrumentor"):
        module = _FRAMEWORKS.get(point.name)
        if module is not None and (module in sys.modules or find_spec(module) is not None):
            when_imported(module, partial(_instrument, point))
            names.append(f"{point.name} by {point.dist.name if point.dist else point.value}")
    return names


def _instrument(point: metadata.EntryPoint) -> None:
    point.load()().instrument()
