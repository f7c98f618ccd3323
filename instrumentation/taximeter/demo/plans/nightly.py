"""What the nightly digest will do for one customer: embed the day, summarise it in a batch, polish."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from taximeter.demo.incidents import Conditions
from taximeter.demo.plans.plan import Plan, ScriptBuilder
from taximeter.demo.replies import Tokens
from taximeter.demo.world import EMBEDDING, SELF_HOSTED, Caller

DIGEST_PROMPT_TOKENS: Final = 1_900


def plan_digest(rng: Random, at: datetime, conditions: Conditions, tenant: str) -> Plan:
    """Return the plan of one customer's digest."""
    builder = ScriptBuilder(rng, conditions)
    chunks = rng.randrange(1, 4)
    for _ in range(chunks):
        builder.embed(EMBEDDING, rng.randrange(2_000, 7_500))
    notes = rng.randrange(3, 7)
    for number in range(notes):
        usage = Tokens(
            uncached_input=rng.randrange(2_500, 9_000),
            cache_read=DIGEST_PROMPT_TOKENS if number else 0,
            cache_write_5m=0 if number else DIGEST_PROMPT_TOKENS,
            output=rng.randrange(180, 420),
        )
        builder.batched(usage, f"Note {number + 1} for {tenant}.")
    builder.tool("collected", rng.uniform(120, 900))
    polish = Tokens(uncached_input=rng.randrange(900, 2_200), output=rng.randrange(200, 380))
    builder.say(SELF_HOSTED, polish, f"Good morning, {tenant}: here is yesterday.")
    builder.tool("sent", 0.6)
    return Plan(
        service="nightly-digest",
        version=conditions.version,
        environment="production",
        at=at,
        name="Nightly digest",
        prompt=f"Sum up yesterday for {tenant}.",
        caller=Caller(tenant, "scheduler", f"nightly-{at:%Y%m%d}"),
        tags=("batch",),
        script=builder.script(),
        settings={"chunks": str(chunks), "notes": str(notes)},
    )
