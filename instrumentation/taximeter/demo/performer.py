"""Carry out one plan: open the request, run the agent that its service runs, close the books on it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

import anthropic
import httpx2
import openai

import taximeter
from taximeter.demo.agents.coding import do_task
from taximeter.demo.agents.models import connect
from taximeter.demo.agents.nightly import write_digest
from taximeter.demo.agents.research import research
from taximeter.demo.agents.support import answer_ticket
from taximeter.demo.clock import living_at
from taximeter.demo.plans.plan import Plan
from taximeter.demo.stage import ToolError, on_stage

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EXPECTED: Final = (
    anthropic.AnthropicError,
    openai.OpenAIError,
    httpx2.HTTPError,
    ToolError,
    taximeter.LimitReached,
)
"""What a request may fail with; anything else is a mistake in the demo."""


@dataclass(frozen=True, slots=True)
class Performed:
    """What became of one request."""

    cost_usd: float
    is_error: bool


class Performer:
    """Runs plans one after the other, on clients and an event loop of its own."""

    def __init__(self, api_url: str, *, is_simulated: bool) -> None:
        self._is_simulated = is_simulated
        self._runner = asyncio.Runner()
        connect(api_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.close()

    def perform(self, plan: Plan) -> Performed:
        """Run one request to its end, at its own time or now."""
        start_ns = (plan.at - EPOCH) // timedelta(microseconds=1) * 1000
        time = living_at(start_ns) if self._is_simulated else nullcontext()
        caller, is_error = plan.caller, False
        with time, on_stage(plan.script):
            try:
                with taximeter.request(
                    name=plan.name,
                    user=caller.user,
                    session=caller.session,
                    tenant=caller.tenant,
                    tags=list(plan.tags),
                ) as request:
                    self._run_agent(plan)
            except EXPECTED:
                is_error = True
        return Performed(float(request.cost_usd or 0.0), is_error)

    def _run_agent(self, plan: Plan) -> None:
        settings = plan.settings
        if plan.service == "support-desk":
            answer_ticket(plan.prompt, is_chat=settings["channel"] == "chat")
        elif plan.service == "deep-research":
            self._runner.run(research(plan.prompt), context=copy_context())
        elif plan.service == "code-assistant":
            do_task(plan.prompt, reviewer_model=settings["reviewer_model"], tier=settings["tier"])
        else:
            write_digest(
                plan.caller.tenant,
                chunks=int(settings["chunks"]),
                notes=int(settings["notes"]),
            )
