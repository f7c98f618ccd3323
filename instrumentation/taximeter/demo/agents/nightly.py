"""The nightly digest: embeds a day of notes, summarises them in a message batch, polishes at home."""

from __future__ import annotations

from typing import Final

import taximeter
from taximeter.demo.agents.models import models
from taximeter.demo.stage import act
from taximeter.demo.world import EMBEDDING, HAIKU, SELF_HOSTED

DIGEST_PROMPT: Final = "Sum up this note in three sentences."


@taximeter.tool
def wait_for_batch(batch_id: str) -> str:
    """Wait until a message batch has ended."""
    result = act()
    models().claude.messages.batches.retrieve(batch_id)
    return result


@taximeter.tool
def send_digest(tenant: str) -> str:
    """Mail the digest."""
    return act()


@taximeter.agent("nightly-digest")
def write_digest(tenant: str, *, chunks: int, notes: int) -> str:
    """Return one customer's digest of the day."""
    for number in range(chunks):
        models().gpt.embeddings.create(model=EMBEDDING, input=f"chunk {number} of {tenant}")
    draft = _summarise(tenant, notes)
    said = models().gpt.chat.completions.create(
        model=SELF_HOSTED, messages=[{"role": "user", "content": draft}]
    )
    send_digest(tenant)
    return said.choices[0].message.content or ""


def _summarise(tenant: str, notes: int) -> str:
    """Return the notes' summaries, written by a message batch at half the price."""
    batches = models().claude.messages.batches
    batch = batches.create(
        requests=[
            {
                "custom_id": f"{tenant}-{number}",
                "params": {
                    "model": HAIKU,
                    "max_tokens": 500,
                    "system": DIGEST_PROMPT,
                    "messages": [{"role": "user", "content": f"note {number} of {tenant}"}],
                },
            }
            for number in range(notes)
        ]
    )
    wait_for_batch(batch.id)
    texts = []
    for row in batches.results(batch.id):
        if row.result.type == "succeeded":
            texts += [block.text for block in row.result.message.content if block.type == "text"]
    return "\n".join(texts)
