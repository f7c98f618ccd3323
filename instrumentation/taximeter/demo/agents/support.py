"""The support desk: sorts a ticket with a small model, then works on it with tools until answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from anthropic.types import Message, MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam

import taximeter
from taximeter.demo.agents.models import models
from taximeter.demo.stage import ToolError, act
from taximeter.demo.world import EMBEDDING, HAIKU, SONNET

PLAYBOOK: Final[list[TextBlockParam]] = [
    {
        "type": "text",
        "text": "You are the support desk of Acme. Follow the playbook; be brief and kind.",
        "cache_control": {"type": "ephemeral"},
    }
]


@taximeter.tool
def lookup_customer(customer: str) -> str:
    """Look up a customer's plan and contacts."""
    return act()


@taximeter.tool
def lookup_order(order: str) -> str:
    """Look up an order."""
    return act()


@taximeter.tool
def track_parcel(order: str) -> str:
    """Ask the carrier where a parcel is."""
    return act()


@taximeter.tool
def list_payments(customer: str) -> str:
    """List a customer's payments."""
    return act()


@taximeter.tool
def issue_refund(order: str) -> str:
    """Refund an order."""
    return act()


@taximeter.tool
def create_return(order: str) -> str:
    """Create a return label."""
    return act()


@taximeter.tool
def cancel_plan(customer: str) -> str:
    """Cancel a customer's plan."""
    return act()


@taximeter.tool
def send_invoice(customer: str) -> str:
    """Mail the last invoice."""
    return act()


@taximeter.tool
def open_bug(title: str, customer: str) -> str:
    """Open a bug for the product team."""
    return act()


@taximeter.tool
def search_help_center(query: str) -> str:
    """Search the help centre by meaning."""
    models().gpt.embeddings.create(model=EMBEDDING, input=query)
    return act()


TOOLS: Final[Mapping[str, Callable[..., str]]] = {
    "lookup_customer": lookup_customer,
    "lookup_order": lookup_order,
    "track_parcel": track_parcel,
    "list_payments": list_payments,
    "issue_refund": issue_refund,
    "create_return": create_return,
    "cancel_plan": cancel_plan,
    "send_invoice": send_invoice,
    "open_bug": open_bug,
    "search_help_center": search_help_center,
}
TOOL_PARAMS: Final[list[ToolParam]] = [
    {"name": name, "input_schema": {"type": "object"}} for name in TOOLS
]


@taximeter.agent("support-desk", limits=taximeter.Limits(iterations=15))
def answer_ticket(question: str, *, is_chat: bool) -> str:
    """Return the answer to a ticket; a chat is answered as a stream."""
    _sort(question)
    turns: list[MessageParam] = [{"role": "user", "content": question}]
    while True:
        said = _ask(turns, is_chat=is_chat)
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
        results = [_use(call.id, call.name, call.input) for call in calls]
        turns.append({"role": "user", "content": results})


def _sort(question: str) -> None:
    models().claude.messages.create(
        model=HAIKU,
        max_tokens=40,
        system="Name the topic of this ticket.",
        messages=[{"role": "user", "content": question}],
    )


def _ask(turns: list[MessageParam], *, is_chat: bool) -> Message:
    if not is_chat:
        return models().claude.messages.create(
            model=SONNET, max_tokens=600, system=PLAYBOOK, tools=TOOL_PARAMS, messages=turns
        )
    with models().claude.messages.stream(
        model=SONNET, max_tokens=600, system=PLAYBOOK, tools=TOOL_PARAMS, messages=turns
    ) as stream:
        return stream.get_final_message()


def _use(call_id: str, name: str, arguments: Mapping[str, Any]) -> ToolResultBlockParam:
    """Return a tool's result; its failure is a result too, for the model to deal with."""
    try:
        content, is_error = TOOLS[name](**arguments), False
    except ToolError as error:
        content, is_error = str(error), True
    return {
        "type": "tool_result",
        "tool_use_id": call_id,
        "content": content,
        "is_error": is_error,
    }
