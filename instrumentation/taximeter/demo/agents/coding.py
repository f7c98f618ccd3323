"""The code assistant: reads, edits and tests through the Responses API, then asks for a review."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

import openai
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam

import taximeter
from taximeter.demo import clock
from taximeter.demo.agents.models import models
from taximeter.demo.stage import ToolError, act
from taximeter.demo.world import GPT

INSTRUCTIONS: Final = "You are a careful programmer. Read before you edit; test after you edit."

RETRY_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0)


@taximeter.tool
def read_file(path: str) -> str:
    """Read a file of the working copy."""
    return act()


@taximeter.tool
def search_code(pattern: str) -> str:
    """Search the working copy."""
    return act()


@taximeter.tool
def edit_file(path: str, patch: str) -> str:
    """Apply a patch to a file."""
    return act()


@taximeter.tool
def run_tests(path: str) -> str:
    """Run the tests of a file."""
    return act()


TOOLS: Final[Mapping[str, Callable[..., str]]] = {
    "read_file": read_file,
    "search_code": search_code,
    "edit_file": edit_file,
    "run_tests": run_tests,
}
TOOL_PARAMS: Final[list[FunctionToolParam]] = [
    {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False}
    for name in TOOLS
]


@taximeter.agent("code-assistant", limits=taximeter.Limits(iterations=30))
def do_task(task: str, *, reviewer_model: str, tier: str) -> str:
    """Return what was done about a task, reviewed."""
    said = _ask([{"role": "user", "content": task}], tier, None)
    while calls := [item for item in said.output if item.type == "function_call"]:
        results: ResponseInputParam = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": _use(call.name, json.loads(call.arguments)),
            }
            for call in calls
        ]
        said = _ask(results, tier, said.id)
    review_change(said.output_text, model=reviewer_model)
    return said.output_text


@taximeter.agent("code-reviewer")
def review_change(summary: str, *, model: str) -> str:
    """Return a second model's opinion of a change, read as it is written."""
    stream = models().gpt.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "Review this change."},
            {"role": "user", "content": summary},
        ],
        stream=True,
        stream_options={"include_usage": True},
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def _ask(turns: ResponseInputParam, tier: str, previous: str | None) -> Response:
    """Return the next response, after as many attempts as it takes within reason."""
    for wait_s in RETRY_WAITS_S:
        try:
            return _ask_once(turns, tier, previous)
        except (openai.RateLimitError, openai.InternalServerError):
            clock.spend(wait_s)
    return _ask_once(turns, tier, previous)


def _ask_once(turns: ResponseInputParam, tier: str, previous: str | None) -> Response:
    """Make one attempt; the API keeps the conversation, so only what is new is sent."""
    return models().gpt_once.responses.create(
        model=GPT,
        instructions=INSTRUCTIONS,
        input=turns,
        previous_response_id=previous,
        tools=TOOL_PARAMS,
        reasoning={"effort": "low"},
        service_tier=cast(Literal["default", "priority"], tier),
    )


def _use(name: str, arguments: Mapping[str, Any]) -> str:
    try:
        return TOOLS[name](**arguments)
    except ToolError as error:
        return f"error: {error}"
