"""Call each SDK method that the agents use once, so that forked deployments find it ready.

The SDKs build their types at the first use, which costs a fresh process some 0.2 s of work.
"""

from __future__ import annotations

import asyncio
from typing import Final

from anthropic.types import TextBlockParam

from taximeter.demo.agents.coding import INSTRUCTIONS, TOOL_PARAMS
from taximeter.demo.agents.models import connect, models
from taximeter.demo.world import EMBEDDING, GPT, GPT_MINI, HAIKU

HELLO: Final[list[TextBlockParam]] = [{"type": "text", "text": "hello"}]


def warm_up(api_url: str) -> None:
    """Make one call of each kind; nothing of it is measured."""
    connect(api_url)
    _warm_up_sync()
    asyncio.run(_warm_up_async())


def _warm_up_sync() -> None:
    claude, gpt = models().claude, models().gpt
    claude.messages.create(
        model=HAIKU, max_tokens=9, system=HELLO, messages=[{"role": "user", "content": "hello"}]
    )
    with claude.messages.stream(
        model=HAIKU, max_tokens=9, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        stream.get_final_message()
    gpt.embeddings.create(model=EMBEDDING, input="hello")
    gpt.chat.completions.create(model=GPT_MINI, messages=[{"role": "user", "content": "hello"}])
    chunks = gpt.chat.completions.create(
        model=GPT_MINI, messages=[{"role": "user", "content": "hello"}], stream=True
    )
    for _ in chunks:
        pass
    gpt.responses.create(
        model=GPT,
        instructions=INSTRUCTIONS,
        input=[{"role": "user", "content": "hello"}],
        tools=TOOL_PARAMS,
    )


async def _warm_up_async() -> None:
    await models().claude_async.messages.create(
        model=HAIKU, max_tokens=9, system=HELLO, messages=[{"role": "user", "content": "hello"}]
    )
    await models().gpt_async.responses.create(model=GPT_MINI, input="hello")
