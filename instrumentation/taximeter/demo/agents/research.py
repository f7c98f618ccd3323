"""Deep research: a lead delegates to sub-agents that search at the same time, then has facts checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from anthropic.types import MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam

import taximeter
from taximeter.demo.agents.models import models
from taximeter.demo.stage import ToolError, act_async, together
from taximeter.demo.world import GPT_MINI, OPUS, SONNET

LEAD_PROMPT: Final[list[TextBlockParam]] = [
    {
        "type": "text",
        "text": "You lead a research team. Split the question, delegate, check, write.",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
]
RESEARCHER_PROMPT: Final[list[TextBlockParam]] = [
    {
        "type": "text",
        "text": "You research one topic. Search, read, take notes with sources.",
        "cache_control": {"type": "ephemeral"},
    }
]
LEAD_TOOLS: Final[list[ToolParam]] = [
    {"name": name, "input_schema": {"type": "object"}} for name in ("delegate", "check_facts")
]
RESEARCHER_TOOLS: Final[list[ToolParam]] = [
    {"name": name, "input_schema": {"type": "object"}} for name in ("web_search", "read_page")
]


@taximeter.tool
async def web_search(query: str) -> str:
    """Search the web."""
    return await act_async()


@taximeter.tool
async def read_page(url: str) -> str:
    """Fetch a page and return its text."""
    return await act_async()


@taximeter.agent("web-researcher", limits=taximeter.Limits(iterations=25, on_limit="partial"))
async def research_topic(topic: str) -> str:
    """Return notes on one topic."""
    turns: list[MessageParam] = [{"role": "user", "content": topic}]
    while True:
        said = await models().claude_async.messages.create(
            model=SONNET,
            max_tokens=1_000,
            system=RESEARCHER_PROMPT,
            tools=RESEARCHER_TOOLS,
            messages=turns,
        )
        calls = [block for block in said.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in said.content if block.type == "text")
        turns.append(
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
                    for call in calls
                ],
            }
        )
        results = [await _use(call.id, call.name, call.input) for call in calls]
        turns.append({"role": "user", "content": results})


@taximeter.agent("fact-checker")
async def check_facts(notes: str) -> str:
    """Return which claims hold."""
    said = await models().gpt_async.responses.create(
        model=GPT_MINI, instructions="Check each claim.", input=notes, reasoning={"effort": "low"}
    )
    return said.output_text


@taximeter.agent("research-lead", limits=taximeter.Limits(iterations=12))
async def research(question: str) -> str:
    """Return a report on a question."""
    turns: list[MessageParam] = [{"role": "user", "content": question}]
    while True:
        said = await models().claude_async.messages.create(
            model=OPUS,
            max_tokens=4_000,
            thinking={"type": "enabled", "budget_tokens": 1_024},
            system=LEAD_PROMPT,
            tools=LEAD_TOOLS,
            messages=turns,
        )
        calls = [block for block in said.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in said.content if block.type == "text")
        topics = [str(call.input["topic"]) for call in calls if call.name == "delegate"]
        if topics:
            notes = await together([partial(research_topic, topic) for topic in topics])
        else:
            notes = [await check_facts("The claims of the draft.")]
        turns.append({"role": "assistant", "content": "Delegated."})
        turns.append({"role": "user", "content": "\n".join(str(note) for note in notes)})


async def _use(call_id: str, name: str, arguments: Mapping[str, Any]) -> ToolResultBlockParam:
    tool = web_search if name == "web_search" else read_page
    try:
        content, is_error = await tool(**arguments), False
    except ToolError as error:
        content, is_error = str(error), True
    return {
        "type": "tool_result",
        "tool_use_id": call_id,
        "content": content,
        "is_error": is_error,
    }
