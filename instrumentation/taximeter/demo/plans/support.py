"""What the support desk will do with one ticket: triage, look things up, act, answer."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from taximeter.demo.incidents import Conditions
from taximeter.demo.plans.plan import ClaudeContext, Plan, ScriptBuilder
from taximeter.demo.replies import Tokens, ToolCall
from taximeter.demo.world import EMBEDDING, HAIKU, SONNET, TICKETS, Caller, pick_caller

PLAYBOOK_TOKENS: Final = 8_420
"""Tools and system prompt, cached for five minutes."""
CHAT_SHARE: Final = 0.3
TOOL_ERRORS: Final = {
    "lookup_order": "order service answered 504",
    "list_payments": "payment provider did not answer in time",
    "track_parcel": "carrier API: unknown parcel",
}


def plan_ticket(rng: Random, at: datetime, conditions: Conditions, *, is_warm: bool) -> Plan:
    """Return the plan of one ticket; `is_warm` says whether the playbook is in the cache."""
    caller = pick_caller(rng)
    ticket = rng.choices(TICKETS, weights=[kind.weight for kind in TICKETS])[0]
    order = f"A-{rng.randrange(10_000, 99_999)}"
    builder = ScriptBuilder(rng, conditions)
    _write_triage(builder, ticket.subject)
    context = ClaudeContext(
        PLAYBOOK_TOKENS, is_warm, is_broken=conditions.is_cache_broken, is_growing=False
    )
    asked = rng.randrange(90, 420)
    tools = list(ticket.tools)
    if rng.random() < 0.2:
        tools.insert(0, "lookup_customer")
    for name in tools:
        call = ToolCall(name, _arguments(name, caller, order, ticket.subject))
        builder.say(SONNET, context.turn(asked, rng.randrange(45, 120)), calls=(call,))
        asked = rng.randrange(120, 620)
        _write_tool(builder, name, asked)
    _write_answer(builder, context, asked, ticket.subject)
    return Plan(
        service="support-desk",
        version=conditions.version,
        environment="production",
        at=at,
        name=f"Answer ticket: {ticket.subject}",
        prompt=ticket.question,
        caller=caller,
        tags=("beta",) if rng.random() < 0.08 else (),
        script=builder.script(),
        settings={"channel": "chat" if rng.random() < CHAT_SHARE else "mail"},
    )


def _write_triage(builder: ScriptBuilder, subject: str) -> None:
    rng = builder.rng
    usage = Tokens(uncached_input=rng.randrange(520, 900), output=rng.randrange(14, 32))
    builder.say(HAIKU, usage, f"topic: {subject}")


def _write_tool(builder: ScriptBuilder, name: str, size: int) -> None:
    rng = builder.rng
    if name == "search_help_center":
        builder.embed(EMBEDDING, rng.randrange(8, 30))
    fails = name in TOOL_ERRORS and rng.random() < 0.03
    error = TOOL_ERRORS[name] if fails else None
    builder.tool(f"{name}: {size} tokens of records", 0.45, error=error)


def _write_answer(builder: ScriptBuilder, context: ClaudeContext, asked: int, subject: str) -> None:
    rng = builder.rng
    ending = rng.choices(("end_turn", "max_tokens", "refusal"), (985, 10, 5))[0]
    output = 600 if ending == "max_tokens" else rng.randrange(120, 340)
    text = f"Here is what I did about your {subject}."
    builder.say(SONNET, context.turn(asked, output), text, stop=ending)


def _arguments(name: str, caller: Caller, order: str, subject: str) -> dict[str, str]:
    if name == "search_help_center":
        return {"query": subject}
    if name in ("lookup_customer", "cancel_plan", "list_payments", "send_invoice"):
        return {"customer": caller.user}
    if name == "open_bug":
        return {"title": subject, "customer": caller.user}
    return {"order": order}
