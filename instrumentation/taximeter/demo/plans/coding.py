"""What the code assistant will do with one task: read, edit, test, and have the change reviewed."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from taximeter.demo.incidents import Conditions
from taximeter.demo.plans.plan import GptContext, Plan, ScriptBuilder
from taximeter.demo.replies import ToolCall
from taximeter.demo.world import CODE_TASKS, GPT, pick_caller

INSTRUCTIONS_TOKENS: Final = 5_900
REVIEW_TOKENS: Final = 3_200
RUNAWAY_ROUNDS: Final = (20, 44)


def plan_code_task(
    rng: Random, at: datetime, conditions: Conditions, environment: str, *, is_warm: bool
) -> Plan:
    """Return the plan of one coding task."""
    task, path = rng.choice(CODE_TASKS)
    builder = ScriptBuilder(rng, conditions)
    first = INSTRUCTIONS_TOKENS + rng.randrange(400, 2400)
    context = GptContext(first, INSTRUCTIONS_TOKENS if is_warm else 0)
    tier = "priority" if rng.random() < 0.06 else "default"
    added = 0
    for call in _calls(rng, path, is_looping=conditions.is_looping):
        thinking = 64 * rng.randrange(0, 7)
        usage = context.turn(added, rng.randrange(60, 420), reasoning=thinking)
        builder.say(GPT, usage, calls=(call,), tier=tier, is_retried_by_agent=True)
        added = rng.randrange(300, 3600)
        _write_tool(builder, call.name, path, is_looping=conditions.is_looping)
    usage = context.turn(added, rng.randrange(120, 380), reasoning=64)
    builder.say(GPT, usage, f"{task}: done, tests pass.", tier=tier, is_retried_by_agent=True)
    review = GptContext(REVIEW_TOKENS + rng.randrange(3_000, 16_000))
    verdict = review.turn(0, rng.randrange(350, 1100))
    builder.say(conditions.reviewer_model, verdict, "The change is sound.")
    return Plan(
        service="code-assistant",
        version=conditions.version,
        environment=environment,
        at=at,
        name=task,
        prompt=f"{task} in {path}.",
        caller=pick_caller(rng),
        tags=("ide",) if rng.random() < 0.6 else ("cli",),
        script=builder.script(),
        settings={"reviewer_model": conditions.reviewer_model, "tier": tier},
    )


def _calls(rng: Random, path: str, *, is_looping: bool) -> list[ToolCall]:
    """Return the tools of one task in order; a runaway runs the same tests over and over."""
    tests = f"tests/{path.rsplit('/', 1)[-1]}"
    calls = [ToolCall("read_file", {"path": path})]
    if rng.random() < 0.5:
        calls.append(ToolCall("search_code", {"pattern": path.rsplit("/", 1)[-1].split(".")[0]}))
    if is_looping and rng.random() < 0.8:
        repeats = rng.randrange(*RUNAWAY_ROUNDS)
        return calls + [ToolCall("run_tests", {"path": tests})] * repeats
    for number in range(rng.choices((1, 2, 3), (6, 3, 1))[0]):
        calls.append(ToolCall("edit_file", {"path": path, "patch": f"hunk-{number + 1}"}))
        calls.append(ToolCall("run_tests", {"path": tests}))
    return calls


def _write_tool(builder: ScriptBuilder, name: str, path: str, *, is_looping: bool) -> None:
    rng = builder.rng
    if name != "run_tests":
        fails = name == "edit_file" and rng.random() < 0.05
        error = "patch does not apply" if fails else None
        builder.tool(f"{name} {path}: ok", 0.05, error=error)
        return
    builder.tool("1 failed" if is_looping else "12 passed", 9.0)
