"""An MCP client's tool calls are tool spans that count, fail and repeat as tools do, and tell the server the trace.

The sessions here stand for those of the SDK, whose packages are not among ours: `python
tests/beside/frameworks.py` makes a call with the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from tests.instrumentation.ledger import counted, shown, stored_runs
from tests.instrumentation.observed import attempts

import taximeter
from taximeter.clients.mcp import wrap_call_tool
from taximeter.runs.current import AgentRun, current_agent
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store


@dataclass
class Result:
    """What the SDK's `CallToolResult` is for us."""

    text: str
    is_error: bool = False

    @property
    def content(self) -> list[dict[str, str]]:
        return [{"type": "text", "text": self.text}]


@dataclass
class Session:
    """Before version 2: the context must be put into the request."""

    metas: list[dict[str, Any] | None] = field(default_factory=list)

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        meta: dict[str, Any] | None = None,
    ) -> Result:
        self.metas.append(meta)
        if name == "hang":
            await asyncio.sleep(30)
        if name == "gone":
            raise ConnectionError("the server left")
        return Result(f"{name}: {arguments}", is_error=name == "broken")


class NativeSession(Session):
    """From version 2: the SDK makes a span of the message."""

    async def call_tool(  # type: ignore[override]
        self, name: str, arguments: dict[str, Any] | None = None
    ) -> Result:
        tracer = trace.get_tracer("mcp-python-sdk")
        said = {"mcp.method.name": "tools/call", "jsonrpc.request.id": "2"}
        with tracer.start_as_current_span(
            f"MCP send tools/call {name}", kind=SpanKind.CLIENT, attributes=said
        ):
            return await Session.call_tool(self, name, arguments)


@pytest.fixture(params=[Session, NativeSession])
def session(request: pytest.FixtureRequest) -> Any:
    wrapped = wrap_call_tool(request.param.call_tool, is_native=request.param is NativeSession)
    return type("Wrapped", (request.param,), {"call_tool": wrapped})()


def run(work: Callable[[], Any], limits: Limits) -> AgentRun:
    """Run an agent that ends as it may; return its run."""
    found: list[AgentRun] = []

    @taximeter.agent("a", limits=limits)
    async def agent() -> None:
        if (now := current_agent.get()) is not None:
            found.append(now)
        await work()

    async def ask() -> None:
        with taximeter.request():
            await agent()

    with suppress(taximeter.LimitReached):
        asyncio.run(ask())
    return found[0]


def test_a_call_is_one_tool_call_for_the_limits_and_in_the_store(
    spans: SpanList, store: Store, session: Any
) -> None:
    @taximeter.tool
    async def add_twice(n: int) -> str:
        return str((await session.call_tool("add", {"n": n})).text)

    async def work() -> None:
        assert (await session.call_tool("add", {"n": 1})).text == "add: {'n': 1}"
        assert (await session.call_tool("broken", {"n": 1})).is_error
        await add_twice(2)
        for _ in range(3):
            await session.call_tool("add", {"n": 3})

    done = run(work, Limits(repeats=2))
    assert done.used().tool_calls == 5, "the third identical call is not made"
    (row,) = stored_runs(spans.spans, store).values()
    assert counted(done.used()) == shown(row, [row])
    assert (row["termination_reason"], row["max_consecutive_repeat"]) == ("thrashing", 2)
    assert [a.get("error.type") for a in attempts(spans, "broken")] == ["tool_error"]


def test_errors_count_in_a_row(spans: SpanList, session: Any) -> None:
    async def work() -> None:
        for number in range(4):
            await session.call_tool("broken", {"n": number})

    assert run(work, Limits(tool_errors=1)).used().tool_calls == 2


def test_a_pending_call_ends_at_the_deadline(spans: SpanList, session: Any) -> None:
    async def work() -> None:
        await session.call_tool("hang", {})

    run(work, Limits(deadline_s=0.05))
    (agent,) = spans.named("invoke_agent a")
    assert (agent.attributes or {})["taximeter.termination_reason"] == "deadline"


def test_what_the_session_raises_passes_and_is_recorded(spans: SpanList, session: Any) -> None:
    with pytest.raises(ConnectionError):
        asyncio.run(session.call_tool("gone"))
    assert [a["error.type"] for a in attempts(spans, "gone")] == ["ConnectionError"]


@pytest.mark.parametrize("session", [Session], indirect=True)
def test_the_server_is_told_the_span_that_calls_it(spans: SpanList, session: Any) -> None:
    asyncio.run(session.call_tool("add", {"n": 1}, meta={"progressToken": 7}))
    (span,) = spans.named("execute_tool add")
    (meta,) = session.metas
    assert meta["progressToken"] == 7 and span.context is not None
    assert meta["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


def test_off_it_changes_nothing(spans: SpanList, session: Any) -> None:
    taximeter.shutdown()
    asyncio.run(session.call_tool("add", {"n": 1}))
    assert session.metas == [None] and not spans.spans


def test_a_call_that_the_program_cancels_stays_cancelled_and_is_no_failure(
    spans: SpanList, session: Any
) -> None:
    ended: list[str] = []

    async def work() -> None:
        for number in range(3):
            try:
                await asyncio.wait_for(session.call_tool("hang", {"n": number}), 0.01)
            except Exception as error:
                ended.append(type(error).__name__)
                if not isinstance(error, TimeoutError):
                    raise

    run(work, Limits(tool_errors=1))
    assert ended == ["TimeoutError"] * 3
    assert [a.get("error.type") for a in attempts(spans, "hang")] == ["CancelledError"] * 3
