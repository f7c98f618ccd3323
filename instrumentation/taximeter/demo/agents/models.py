"""The SDK clients that the demo's agents share, connected to the fake model API."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

import anthropic
import httpx2
import openai

from taximeter.demo.stage import AsyncScriptedTransport, ScriptedTransport

_models: ContextVar[Models] = ContextVar("taximeter_demo_models")


@dataclass(frozen=True, slots=True)
class Models:
    """One client of each kind."""

    claude: anthropic.Anthropic
    claude_async: anthropic.AsyncAnthropic
    gpt: openai.OpenAI
    gpt_async: openai.AsyncOpenAI
    gpt_once: openai.OpenAI
    """Without the SDK's own retries."""


def connect(base_url: str) -> None:
    """Give this context clients of the fake API at `base_url` (without `/v1`)."""
    wire = httpx2.Client(transport=ScriptedTransport())
    async_wire = httpx2.AsyncClient(transport=AsyncScriptedTransport())
    openai_url = f"{base_url}/v1"
    _models.set(
        Models(
            anthropic.Anthropic(base_url=base_url, api_key="demo", http_client=wire),
            anthropic.AsyncAnthropic(base_url=base_url, api_key="demo", http_client=async_wire),
            openai.OpenAI(base_url=openai_url, api_key="demo", http_client=wire),
            openai.AsyncOpenAI(base_url=openai_url, api_key="demo", http_client=async_wire),
            openai.OpenAI(base_url=openai_url, api_key="demo", http_client=wire, max_retries=0),
        )
    )


def models() -> Models:
    """Return this context's clients."""
    return _models.get()
