"""What a deep-research request will do: a lead plans, sub-agents search, a checker reads, a report."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from taximeter.demo.incidents import Conditions
from taximeter.demo.plans.plan import ClaudeContext, GptContext, Plan, ScriptBuilder
from taximeter.demo.replies import ToolCall
from taximeter.demo.stage import Script
from taximeter.demo.world import GPT_MINI, OPUS, QUESTIONS, SONNET, pick_caller

LEAD_TOKENS: Final = 6_150
RESEARCHER_TOKENS: Final = 3_380
RUNAWAY_ROUNDS: Final = (14, 30)
"""How often a researcher that loops repeats its search before its cap or its patience ends it."""


def plan_research(rng: Random, at: datetime, conditions: Conditions, *, is_warm: bool) -> Plan:
    """Return the plan of one research question."""
    question = rng.choice(QUESTIONS)
    builder = ScriptBuilder(rng, conditions)
    lead = ClaudeContext(LEAD_TOKENS, is_warm, is_long_lived=True)
    threads = question.threads[: rng.choices((1, 2, 3), (4, 5, 1))[0]]
    calls = tuple(ToolCall("delegate", {"topic": topic}) for topic in threads)
    thinking = rng.randrange(600, 2200)
    builder.say(
        OPUS,
        lead.turn(rng.randrange(80, 300), rng.randrange(60, 160), reasoning=thinking),
        calls=calls,
    )
    builder.branches += [
        _researcher(rng, conditions, topic, is_warm=is_warm or place > 0)
        for place, topic in enumerate(threads)
    ]
    found = sum(rng.randrange(350, 800) for _ in threads)
    builder.say(
        OPUS, lead.turn(found, rng.randrange(60, 120)), calls=(ToolCall("check_facts", {}),)
    )
    checker = GptContext(found + 900)
    builder.say(
        GPT_MINI, checker.turn(0, rng.randrange(80, 200), reasoning=192), "Two claims hold."
    )
    report = rng.randrange(1200, 2600)
    builder.say(OPUS, lead.turn(260, report), f"Report on {question.subject}.")
    return Plan(
        service="deep-research",
        version=conditions.version,
        environment="production",
        at=at,
        name=f"Research: {question.subject}",
        prompt=f"Write a sourced report on {question.subject}.",
        caller=pick_caller(rng),
        tags=("deep",) if len(threads) == 3 else (),
        script=builder.script(),
    )


def _researcher(rng: Random, conditions: Conditions, topic: str, *, is_warm: bool) -> Script:
    """Return the script of one sub-agent: searches and pages, then notes."""
    builder = ScriptBuilder(rng, conditions)
    context = ClaudeContext(RESEARCHER_TOKENS, is_warm)
    added = rng.randrange(60, 160)
    rounds = rng.choices((1, 2, 3), (4, 4, 1))[0]
    is_looping = conditions.is_looping and rng.random() < 0.85
    if is_looping:
        rounds = rng.randrange(*RUNAWAY_ROUNDS)
    for number in range(rounds):
        call = _next_call(rng, topic, 0 if is_looping else number)
        searches = int(call.name == "web_search")
        usage = context.turn(added, rng.randrange(50, 150), searches=searches)
        builder.say(SONNET, usage, calls=(call,))
        added = rng.randrange(2200, 7200)
        fails = call.name == "read_page" and rng.random() < 0.06
        builder.tool(
            "no new results" if is_looping else f"{added} tokens about {topic}",
            0.8 if searches else 1.6,
            error="page answered 403" if fails else None,
        )
    builder.say(SONNET, context.turn(added, rng.randrange(260, 620)), f"Notes on {topic}.")
    return builder.script()


def _next_call(rng: Random, topic: str, number: int) -> ToolCall:
    if number % 2 == 0:
        suffix = "" if number == 0 else f" {2024 + number // 2}"
        return ToolCall("web_search", {"query": topic + suffix})
    return ToolCall("read_page", {"url": f"https://example.org/{rng.getrandbits(24):06x}"})
